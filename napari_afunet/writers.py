"""Saving a layer: its light in HDR formats, unclipped and with provenance, or the picture as it is displayed.

The panel offers all formats; napari's own saving calls the writers. napari chooses the writer by “Files of type”,
whatever the name ends in: a name without a suffix of ours gets the writer's.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from napari.layers import Image

from afunet_core.errors import AFUNetError
from napari_afunet.display.tone_view import SCREEN_GAMMA, DisplaySettings, render_layer
from napari_afunet.layers.selection import KEY
from napari_afunet.layers.source import Placement

# suffix, or another name of a format → what the user reads
FORMATS = {
    ".exr": "OpenEXR, 32-bit float",
    ".hdr": "Radiance HDR",
    ".tif": "TIFF, 32-bit float",
    ".dng": "Linear DNG, for raw converters",
    ".avif": "AVIF for HDR screens",
    ".png": "PNG, as displayed",
    ".jpg": "JPEG, as displayed",
    "gain map": "JPEG, as displayed, with a gain map for HDR screens",
}
GAIN_MAP = "gain map"
DISPLAYED = (".png", ".jpg")  # formats that hold the picture as it is displayed; the others hold light
_UNITS = {"micrometer": "um", "nanometer": "nm"}
_ALIASES = {".tiff": ".tif", ".jpeg": ".jpg"}
_KEPT = ("rgb", "multiscale", "metadata", "scale", "translate", "units", "axis_labels", "name")


@dataclass(frozen=True)
class Saved:
    """Contents of a file, detached from the layer."""

    pixels: Any  # as the layer holds them
    rgb: bool  # the last axis is colour
    info: Mapping[str, Any] | None  # provenance
    path: str | None  # of the reference frame, whose camera, date and caption the file keeps
    axes: tuple[str, ...]  # names of the plane axes
    pixel_size: tuple[float, float, str] | None = None  # of a microscope's image: height, width and unit
    steps: tuple[float, ...] = ()  # along the plane axes, in their units

    @classmethod
    def of_layer(cls, layer: Image) -> Self:
        """Take what there is to save from a layer."""
        note = layer.metadata.get(KEY, {})
        info, paths = note.get("info"), note.get("paths") or ()
        reference = (info or {}).get("reference")
        path = paths[reference] if reference is not None and reference < len(paths) else None
        data = layer.data[0] if layer.multiscale else layer.data
        place = Placement.of(layer)
        unit = _UNITS.get(place.units[-1], place.units[-1])
        size = (place.scale[-2], place.scale[-1], unit) if unit != "pixel" else None
        return cls(data, layer.rgb, info, path, tuple(layer.axis_labels)[:-2], size, place.scale[:-2])

    @property
    def is_stack(self) -> bool:
        """True for more than one image."""
        return bool(self.pixels.ndim > (3 if self.rgb else 2))


def offered_formats(layer: Image) -> dict[str, str]:
    """Return the formats that a layer can be saved in: suffix → description."""
    from afunet_core.io.formats import WRITABLE

    possible: Collection[str] = {*WRITABLE, GAIN_MAP}
    if (layer.metadata.get(KEY, {}).get("info") or {}).get("output") == "display":
        possible = (*DISPLAYED, ".tif")
    elif layer.ndim > 2:
        possible = (".tif", ".exr", ".hdr")
    return {suffix: text for suffix, text in FORMATS.items() if suffix in possible}


def suffix_of(kind: str) -> str:
    """Return the suffix of a format."""
    return ".jpg" if kind == GAIN_MAP else kind


def with_suffix(path: str, suffix: str) -> str:
    """Return a path that ends in a format's suffix: the one typed where it names a format, else ``suffix``."""
    return path if _suffix(path) in FORMATS else path + suffix


def _suffix(path: str) -> str:
    suffix = Path(path).suffix.lower()
    return _ALIASES.get(suffix, suffix)


def displayed_picture(layer: Image, settings: DisplaySettings) -> np.ndarray:
    """Return an image as it is displayed, 8 bits: exposure, operator, gamma and highlight warning included."""
    info = layer.metadata.get(KEY, {}).get("info") or {}
    if info.get("output") == "display":
        return np.round(np.clip(layer.data, 0, 1) * 255).astype(np.uint8)
    picture = np.asarray(render_layer(layer, settings))
    if settings.gamma == SCREEN_GAMMA:
        return picture
    table = 255 * (np.arange(256) / 255) ** (SCREEN_GAMMA / settings.gamma)  # as the shader does it
    return np.round(table).astype(np.uint8)[picture]


def save(path: str, saved: Saved, picture: np.ndarray | None = None, gain_map: bool = False) -> list[str]:
    """Write a file, or a file for each plane, whole or not at all; return the paths.

    ``picture`` is the result as displayed, for formats that hold it; with ``gain_map`` a JPEG keeps the light, too.
    """
    from afunet_core.io.microscope import PixelSize
    from afunet_core.io.stack import write_stack
    from afunet_core.io.write import write_image

    suffix = _suffix(path)
    metadata = None if saved.info is None else dict(saved.info)
    pixels = picture if picture is not None and suffix in DISPLAYED else saved.pixels
    if pixels.dtype.kind == "u" and suffix not in DISPLAYED:
        pixels = pixels / np.float32(np.iinfo(pixels.dtype).max)
    size = None if saved.pixel_size is None else PixelSize(*saved.pixel_size)
    size = None if size is None or size.per_centimetre is None else size
    if saved.is_stack:
        place: dict[str, Any] = {"axes": saved.axes, "pixel_size": size, "steps": list(saved.steps)}
        return [str(file) for file in write_stack(path, pixels, rgb=saved.rgb, metadata=metadata, **place)]
    if gain_map and picture is not None and suffix == ".jpg":
        from afunet_core.io.gain_map import write_gain_map_jpeg

        light = np.asarray(saved.pixels, np.float32)
        light = light if saved.rgb else np.repeat(light[..., None], 3, axis=-1)
        write_gain_map_jpeg(path, picture / 255.0, light, metadata, photograph=_photograph(saved.path))
        return [path]
    pixels = np.asarray(pixels, np.float32 if pixels.dtype.kind == "f" else None)
    write_image(path, pixels, metadata=metadata, photograph=_photograph(saved.path), pixel_size=size)
    return [path]


def _photograph(path: str | None) -> Any:
    from afunet_core.io.photograph import read_photograph

    try:
        return read_photograph(path) if path and Path(path).is_file() else None
    except (AFUNetError, OSError):
        return None


def write_exr(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write OpenEXR, 32-bit float: exact."""
    return _write(path, ".exr", data, attributes)


def write_hdr(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write Radiance RGBE: small, within one per cent of the largest channel."""
    return _write(path, ".hdr", data, attributes)


def write_tif(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write TIFF, 32-bit float: exact, opened by most scientific software."""
    return _write(path, ".tif", data, attributes)


def _write(path: str, suffix: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    known = {name: value for name, value in attributes.items() if name in _KEPT}
    return save(with_suffix(path, suffix), Saved.of_layer(Image(data, **known)))

"""Writing stacks of images: time series and z-series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from afunet_core.errors import ShapeError
from afunet_core.io.metadata import to_json
from afunet_core.io.microscope import PixelSize
from afunet_core.io.write import replace_file, resolution_tags, to_finite, write_image

_OME_AXES = "TZC"


def write_stack(
    path: str | Path,
    pixels: Any,
    *,
    rgb: bool,
    axes: Sequence[str] = (),
    metadata: Mapping[str, Any] | None = None,
    pixel_size: PixelSize | None = None,
    steps: Sequence[float] = (),
) -> list[Path]:
    """Write a stack: one OME-TIFF, or one numbered file a plane in the other formats. Returns the files.

    Args:
        path: ``.tif`` makes one file, ``.exr`` and ``.hdr`` make ``name_0000.exr``, ``name_0001.exr`` …
        pixels: ``planes…×H×W[×3]`` array, possibly lazy; read plane by plane where files are.
        rgb: whether the last axis is colour.
        axes: names of the plane axes; those that begin with t, z or c are told to OME, others take what is left.
        metadata: anything JSON can hold.
        pixel_size: of a plane.
        steps: along the plane axes, in the unit of ``pixel_size`` for z and in seconds for time.
    """
    path = Path(path)
    planes = tuple(int(size) for size in pixels.shape[: -3 if rgb else -2])
    if not planes or 0 in pixels.shape:
        raise ShapeError("pixels", "a stack of images", tuple(pixels.shape), "Use write_image for a single one.")
    if path.suffix.lower() in (".tif", ".tiff"):
        import tifffile

        order = _ome_axes(axes, len(planes))
        image = to_finite(np.asarray(pixels), float(np.finfo(np.float32).max))
        options: dict[str, Any] = {
            "bigtiff": image.nbytes > 2**31,
            "photometric": "rgb" if rgb else "minisblack",
            "compression": "zlib",
            "metadata": {"axes": order + ("YXS" if rgb else "YX"), **_ome_notes(order, metadata, pixel_size, steps)},
            **resolution_tags(pixel_size),
        }
        replace_file(path, lambda temporary: tifffile.imwrite(temporary, image, ome=True, **options))
        return [path]
    written = []
    for number, index in enumerate(np.ndindex(planes)):
        file = path.with_name(f"{path.stem}_{number:04d}{path.suffix}")
        notes = {**(metadata or {}), "plane": list(index)}
        write_image(file, np.asarray(pixels[index], dtype=np.float32), metadata=notes, pixel_size=pixel_size)
        written.append(file)
    return written


def _ome_axes(names: Sequence[str], count: int) -> str:
    """T, Z and C for the plane axes, by their names where these say so."""
    if count > len(_OME_AXES):
        advice = "Save one of them, or split the stack."
        raise ShapeError("pixels", f"at most {len(_OME_AXES)} axes of planes in a TIFF", count, advice)
    stated = [name[:1].upper() if name else "" for name in names] or [""] * count
    free = [axis for axis in _OME_AXES if axis not in stated]
    chosen = ""
    for name in stated:
        chosen += name if name in _OME_AXES and name and name not in chosen else free.pop(0)
    return chosen


def _ome_notes(
    axes: str, metadata: Mapping[str, Any] | None, pixel_size: PixelSize | None, steps: Sequence[float]
) -> dict[str, Any]:
    """tifffile's words for the OME-XML: provenance, size of a pixel and steps between planes."""
    notes: dict[str, Any] = {"Description": to_json(dict(metadata or {}))} if metadata else {}
    if pixel_size is not None:
        unit = pixel_size.unit.replace("um", "µm")
        notes |= {"PhysicalSizeX": pixel_size.width, "PhysicalSizeY": pixel_size.height}
        notes |= {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
        for axis, step in zip(axes, steps, strict=False):
            if axis == "Z" and step > 0:
                notes |= {"PhysicalSizeZ": float(step), "PhysicalSizeZUnit": unit}
            elif axis == "T" and step > 0:
                notes["TimeIncrement"] = float(step)
    return notes

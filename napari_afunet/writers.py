"""Writers: the numbers of a layer, unclipped, with the provenance the merge left in its metadata; stacks too."""

from __future__ import annotations

from typing import Any

__all__ = ["write_exr", "write_hdr", "write_tif"]


def write_exr(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """OpenEXR, 32-bit float: exact."""
    return _write(path, data, attributes)


def write_hdr(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Radiance RGBE: small, within one per cent of the largest channel."""
    return _write(path, data, attributes)


def write_tif(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """TIFF, 32-bit float: exact, opened by most scientific software."""
    return _write(path, data, attributes)


def _write(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """One image to one file; a stack to one TIFF, or to a numbered file for each plane."""
    import numpy as np

    from afunet_core.io import write_image, write_stack

    pixels = data[0] if attributes.get("multiscale") else data
    colour = attributes.get("rgb", False)
    if pixels.dtype.kind == "u":
        pixels = pixels / np.float32(np.iinfo(pixels.dtype).max)
    metadata = attributes.get("metadata", {}).get("afunet", {}).get("info")
    size = _pixel_size(attributes)
    if pixels.ndim == (3 if colour else 2):
        write_image(path, np.asarray(pixels, np.float32), metadata=metadata, pixel_size=size)
        return [path]
    names = attributes.get("axis_labels") or ()
    planes = pixels.ndim - (3 if colour else 2)
    steps = [float(step) for step in (attributes.get("scale") or ())][:planes]
    files = write_stack(path, pixels, rgb=colour, axes=names[:planes], metadata=metadata, pixel_size=size, steps=steps)
    return [str(file) for file in files]


def _pixel_size(attributes: dict[str, Any]) -> Any:
    """The size of a pixel from the layer's scale; ``None`` where its unit is a pixel."""
    from afunet_core.io import PixelSize

    scale, units = attributes.get("scale"), attributes.get("units")
    if scale is None or units is None or len(scale) < 2:
        return None
    unit = str(units[-1])
    size = PixelSize(float(scale[-2]), float(scale[-1]), {"micrometer": "um", "nanometer": "nm"}.get(unit, unit))
    return size if size.per_centimetre is not None else None

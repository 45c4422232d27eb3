"""Writers: the numbers of a layer, unclipped, with the provenance the merge left in its metadata."""

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
    import numpy as np

    from afunet_core.errors import ShapeError
    from afunet_core.io import write_image

    pixels = np.asarray(data[0] if attributes.get("multiscale") else data)
    colour = attributes.get("rgb", False)
    if pixels.ndim != (3 if colour else 2):
        raise ShapeError(
            "layer",
            "a single image",
            f"a stack of shape {pixels.shape}",
            "Save one plane (right click › Split stack), or keep the stack as .npy.",
        )
    if pixels.dtype.kind == "u":
        pixels = pixels / np.float32(np.iinfo(pixels.dtype).max)
    notes = attributes.get("metadata", {}).get("afunet", {})
    write_image(path, pixels.astype(np.float32), metadata=notes.get("info"))
    return [path]

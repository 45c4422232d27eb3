"""Writers: the numbers of a layer, unclipped, with the provenance the merge left in its metadata; stacks too.

napari chooses the writer by “Files of type”, whatever the name ends in: a name without a suffix of ours gets the
writer's.
"""

from __future__ import annotations

from typing import Any

__all__ = ["write_exr", "write_hdr", "write_tif"]


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
    from napari.layers import Image

    from napari_afunet.saving import Saved, save, with_suffix

    known = {name: value for name, value in attributes.items() if name in _KEPT}
    return save(with_suffix(path, suffix), Saved.of_layer(Image(data, **known)))


_KEPT = ("rgb", "multiscale", "metadata", "scale", "translate", "units", "axis_labels", "name")

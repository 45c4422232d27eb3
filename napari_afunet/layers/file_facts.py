"""Facts of a layer's file: light, colours and orientation, as the core reads them, whoever opened the layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.layers import Layer

    from afunet_core.io.header import Header

NAPARI = "napari"  # the reader that comes with napari: it leaves photographs lying and does not tell their encoding


@dataclass(frozen=True)
class LayerFacts:
    """Statements about the pixels of one layer."""

    encoding: str | None = None  # ``gamma``, ``srgb`` or ``linear``; ``None`` where nothing states it
    colour: dict[str, Any] | None = None  # name and matrix to linear sRGB, ``None`` for sRGB
    file: Header | None = None  # of a layer that napari's own reader opened, what its file says

    def as_core_reads(self, pixels: Any) -> Any:
        """Pixels of the layer as the core would have read its file: upright, and light where the curve has no name."""
        file = self.file
        if file is None or tuple(pixels.shape[:2]) != file.shape:
            return pixels
        from afunet_core.io.colour import decode_pixels
        from afunet_core.io.icc import convert_by_profile
        from afunet_core.io.read import turned

        if file.orientation != 1:
            pixels = turned(np.asarray(pixels), file.orientation)
        if file.table is not None:
            converted = convert_by_profile(np.asarray(pixels), file.table, "the layer")
            pixels = pixels if converted is None else converted
        if file.encoding is None and file.colour is not None and file.colour.decode is not None:
            pixels = decode_pixels(np.asarray(pixels), file.colour)
        return pixels


def layer_facts(layer: Layer) -> LayerFacts:
    """Find what is stated about a layer: by our readers in its metadata, else by the file that napari read."""
    encoding, colour = layer.metadata.get("encoding"), layer.metadata.get("colour")
    if encoding is not None:
        return LayerFacts(encoding, colour if isinstance(colour, dict) else None)
    path = layer_path(layer)
    if path is None or getattr(layer.source, "reader_plugin", None) != NAPARI:
        return LayerFacts()
    file = _read_facts(path, Path(path).stat().st_mtime_ns) if Path(path).exists() else None
    if file is None or file.colour is None:
        return LayerFacts(file=file)
    decoded = file.colour.encoding is None and file.colour.decode is not None
    return LayerFacts("linear" if decoded else file.colour.encoding, file.colour.as_dict(), file)


def common_facts(facts: Sequence[LayerFacts]) -> tuple[str | None, dict[str, Any] | None]:
    """Encoding and colours, where all layers state the same."""
    encodings = {fact.encoding for fact in facts}
    spaces = {None if fact.colour is None else fact.colour["space"] for fact in facts}
    encoding = encodings.pop() if len(encodings) == 1 else None
    return encoding, facts[0].colour if len(spaces) == 1 else None


def layer_path(layer: Layer) -> str | None:
    """The file a layer came from, as napari knows it or as our readers noted it."""
    path = layer.source.path or layer.metadata.get("path")
    return str(path) if path else None


def is_result_file(layer: Layer) -> bool:
    """Return True if the layer shows a file that a merge wrote."""
    path = layer_path(layer)
    return path is not None and Path(path).is_file() and _is_result(path, Path(path).stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _is_result(path: str, changed: int) -> bool:
    from afunet_core.io.read import read_own_metadata

    return "method" in read_own_metadata(path)


@lru_cache(maxsize=256)
def _read_facts(path: str, changed: int) -> Header | None:
    """Read once, until the file changes: the view asks often."""
    from afunet_core.errors import AFUNetError
    from afunet_core.io.header import read_header

    try:
        return read_header(path)
    except (AFUNetError, OSError):
        return None

"""Everything in an EXR: its parts, the layers in their channel names, and channels that are no colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from afunet_core.io.decode import colour_channels, opened, part_pixels

__all__ = ["ImagePart", "read_parts"]


class ImagePart(NamedTuple):
    """One picture of a file: ``name`` says part, layer and channel as far as the file does, ``""`` for plain colours.

    ``pixels`` is H×W×3 or H×W×4 for colours, H×W for a luminance or any other channel, float32.
    """

    name: str
    pixels: np.ndarray


def read_parts(path: str | Path) -> list[ImagePart]:
    """All pictures of an EXR: of each part and each layer the colours, and every other channel by itself.

    Example:
        >>> import tempfile
        >>> from afunet_core.io import write_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_image(f"{folder}/a.exr", np.full((2, 3, 3), 7.5, np.float32))
        ...     [(part.name, part.pixels.shape) for part in read_parts(f"{folder}/a.exr")]
        [('', (2, 3, 3))]
    """
    path = Path(path)
    found: list[ImagePart] = []
    with opened(path) as source:
        part = 0
        while source.seek_subimage(part, 0):
            spec = source.spec()
            found += _pictures(_part_name(spec), list(spec.channelnames), part_pixels(source, part, path, "float"))
            part += 1
    return found


def _part_name(spec: Any) -> str:
    name = spec.get_string_attribute("oiio:subimagename")
    return "" if name.lower() in ("rgb", "rgba") else name


def _pictures(part: str, names: list[str], pixels: np.ndarray) -> list[ImagePart]:
    """The colours of every layer as one picture, what is left over channel by channel."""
    pictures = []
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    for layer in sorted(layers, key=lambda name: name != ""):
        inside = [i for i, name in enumerate(names) if name.rpartition(".")[0] == layer]
        colours = [inside[c] for c in colour_channels([names[i].rpartition(".")[2] for i in inside])]
        title = _join(part, layer)
        if colours:
            pictures.append(ImagePart(title, _squeezed(pixels[..., colours])))
        for i in inside:
            if i not in colours:
                pictures.append(ImagePart(_join(title, names[i].rpartition(".")[2]), _squeezed(pixels[..., [i]])))
    return pictures


def _join(*names: str) -> str:
    return " ".join(name for name in names if name)


def _squeezed(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., 0] if pixels.shape[-1] in (1, 2) else np.ascontiguousarray(pixels)

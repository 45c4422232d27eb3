"""Everything in an EXR: its parts, the layers in their channel names, and channels that are no colours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

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
            name = spec.get_string_attribute("oiio:subimagename")
            title = "" if name.lower() in ("rgb", "rgba") else name
            found += _pictures(title, list(spec.channelnames), part_pixels(source, part, path, "float"))
            part += 1
    return found


def _pictures(part: str, names: list[str], pixels: np.ndarray) -> Iterator[ImagePart]:
    """The colours of every layer as one picture, what is left over channel by channel."""
    for layer in sorted(dict.fromkeys(name.rpartition(".")[0] for name in names), key=bool):
        inside = {i: name.rpartition(".")[2] for i, name in enumerate(names) if name.rpartition(".")[0] == layer}
        places = list(inside)
        colours = [places[channel] for channel in colour_channels(list(inside.values()))]
        for chosen in [colours] * bool(colours) + [[place] for place in places if place not in colours]:
            words = (part, layer, "" if chosen is colours else inside[chosen[0]])
            single = len(chosen) < 3  # a luminance perhaps with alpha, or any other channel
            picture = pixels[..., chosen[0]] if single else np.ascontiguousarray(pixels[..., chosen])
            yield ImagePart(" ".join(filter(None, words)), picture)

"""Everything in an EXR: its parts, the layers in their channel names, and channels that are no colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from afunet_core.errors import ImageFileError
from afunet_core.io.read import _ADVICE, _check_file, _check_size, _colour_channels

__all__ = ["ImagePart", "read_parts"]


class ImagePart(NamedTuple):
    """One picture of a file: ``name`` says part, layer and channel as far as the file does, ``""`` for plain colours.

    ``pixels`` is H×W×3 or H×W×4 for colours, H×W for a luminance or any other channel, float32.
    """

    name: str
    pixels: np.ndarray


def read_parts(path: str | Path) -> list[ImagePart]:
    """All pictures of an EXR: of each part and each layer the colours, and every other channel by itself.

    Args:
        path: of a file that OpenImageIO can read; with one part and plain colours the list has one entry.

    Raises:
        ImageFileError: the file is missing, truncated or damaged.

    Example:
        >>> import tempfile
        >>> from afunet_core.io import write_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_image(f"{folder}/a.exr", np.full((2, 3, 3), 7.5, np.float32))
        ...     [(part.name, part.pixels.shape) for part in read_parts(f"{folder}/a.exr")]
        [('', (2, 3, 3))]
    """
    path = Path(path)
    _check_file(path)
    try:
        return _read_all(path)
    except ImageFileError:
        raise
    except Exception as error:  # codecs raise anything
        raise ImageFileError(f"{path}: is damaged: {type(error).__name__}: {error}. {_ADVICE}") from error


def _read_all(path: Path) -> list[ImagePart]:
    import OpenImageIO as oiio

    hints = oiio.ImageSpec()
    hints.attribute("oiio:UnassociatedAlpha", 1)
    source = oiio.ImageInput.open(str(path), hints)
    if source is None:
        raise ImageFileError(f"{path}: is not an image that can be read: {oiio.geterror()}. {_ADVICE}")
    found: list[ImagePart] = []
    try:
        index = 0
        while source.seek_subimage(index, 0):
            spec = source.spec()
            _check_size(spec, path)
            pixels = source.read_image(index, 0, 0, spec.nchannels, "float")
            if pixels is None:
                raise ImageFileError(f"{path}: part {index} is truncated or damaged: {source.geterror()}. {_ADVICE}")
            pixels = np.asarray(pixels).reshape(spec.height, spec.width, -1)
            found += _pictures(_part_name(spec), list(spec.channelnames), pixels)
            index += 1
    finally:
        source.close()
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
        colours = [inside[c] for c in _colour_channels([names[i].rpartition(".")[2] for i in inside])]
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

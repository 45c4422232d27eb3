"""The files of a bracket: pixels, encoding and exposures, from whatever source states them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from afunet_core.bracket.folders import find_exposure_file, list_bracket_folder, natural_key
from afunet_core.errors import ArgumentError, BracketError, ExposureError
from afunet_core.io import ImageFile, read_exposure_file, read_image, relative_exposures

CHANNELS = ("red", "green", "blue")

_HOW_TO_STATE = (
    "Give ev=(-2, 0, 2), in stops, or times=(1/100, 1/25, 1/6), in seconds, one a file, "
    "or put an exposure.txt with one EV a line beside the files."
)


@dataclass(frozen=True)
class BracketFiles:
    """What the files of a bracket hold, in the order they were named; ``ev`` and ``seconds`` where they state it."""

    pixels: list[np.ndarray]
    names: list[str]
    encoding: str
    ev: list[float] | None
    seconds: list[float] | None
    metadata: dict[str, Any]


def load_bracket_files(
    paths: Sequence[str | Path], *, encoding: str, exposures_given: bool, channel: str | None = None
) -> BracketFiles:
    """Read files and find their exposures: in the list beside them, else in their EXIF.

    Raises:
        ArgumentError: for a channel that is none.
        ImageFileError: a file is missing, damaged or no image.
        ExposureError: no exposures are given, and neither a list nor EXIF states them for all files.
        BracketError: files of different encodings.
    """
    if isinstance(paths, str | Path):
        raise BracketError("paths", "a list of image files", repr(str(paths)), "For a folder use Bracket.from_folder.")
    if channel is not None and channel not in CHANNELS:
        raise ArgumentError("channel", "one of " + ", ".join(CHANNELS), repr(channel))
    files = [Path(path) for path in paths]
    images = [read_image(file) for file in files]
    names = _distinct_names(files)
    ev, seconds, source = None, None, "given"
    if not exposures_given:
        ev, seconds, source = _find_exposures(files, images, names)
    return BracketFiles(
        pixels=[_of_channel(_without_grey_alpha(image.pixels), channel) for image in images],
        names=names,
        encoding=_common_encoding(images, names) if encoding == "auto" else encoding,
        ev=ev,
        seconds=seconds,
        metadata={"files": [str(file) for file in files], "exposure_source": source}
        | ({} if channel is None else {"channel": channel}),
    )


def _distinct_names(files: Sequence[Path]) -> list[str]:
    names = [file.name for file in files]
    return names if len(set(names)) == len(names) else [str(file) for file in files]


def _without_grey_alpha(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 2 else pixels


def _of_channel(pixels: np.ndarray, channel: str | None) -> np.ndarray:
    return pixels if channel is None or pixels.ndim == 2 else pixels[..., CHANNELS.index(channel)]


def channel_of_dark_frame(black_level: Any, channel: str | None) -> Any:
    """A black level as the files' channel needs it: of a dark frame's file, that channel."""
    if channel is None or black_level == "auto" or not isinstance(black_level, str | Path):
        return black_level
    return _of_channel(_without_grey_alpha(read_image(black_level).pixels), channel)


def _common_encoding(images: Sequence[ImageFile], names: Sequence[str]) -> str:
    for image, name in zip(images, names, strict=True):
        if image.encoding is None:
            found = f"{image.pixels.dtype} pixels"
            raise BracketError(name, "8-bit, 16-bit or floating-point pixels", found, "State encoding=.")
        if image.encoding != images[0].encoding:
            expected = f"{images[0].encoding} pixels like {names[0]}"
            raise BracketError(name, expected, image.encoding, "State encoding= if they are alike after all.")
    return str(images[0].encoding)


def _find_exposures(
    files: Sequence[Path], images: Sequence[ImageFile], names: Sequence[str]
) -> tuple[list[float], list[float] | None, str]:
    """Stops, seconds where known, and the source of both."""
    exposures = [image.exposure for image in images]
    known = [exposure for exposure in exposures if exposure is not None]
    seconds = [exposure.seconds for exposure in known] if len(known) == len(files) else None
    listed = _listed_exposures(files)
    if listed is not None:
        return listed[0], None, listed[1]  # where a list overrules EXIF, its seconds are not to be believed either
    if seconds is not None:
        return [math.log2(light) for light in relative_exposures(known)], seconds, "EXIF"
    missing = ", ".join(name for name, exposure in zip(names, exposures, strict=True) if exposure is None)
    raise ExposureError("ev", "the exposure of every frame", f"none in the metadata of {missing}", _HOW_TO_STATE)


def _listed_exposures(files: Sequence[Path]) -> tuple[list[float], str] | None:
    """Exposures from the list in the files' folder: of these files, or of all frames in the folder, in natural
    order."""
    folders = {file.parent for file in files}
    exposure_file = find_exposure_file(folders.pop()) if len(folders) == 1 else None
    if exposure_file is None:
        return None
    values = read_exposure_file(exposure_file)
    for candidates in (list_bracket_folder(exposure_file.parent), sorted(files, key=natural_key)):
        if len(candidates) == len(values) and set(files) <= set(candidates):
            by_file = dict(zip(candidates, values, strict=True))
            return [by_file[file] for file in files], exposure_file.name
    found = f"{len(values)} exposures, neither one for each of these files nor one for each frame in the folder"
    message = f"{exposure_file} is ignored: it lists {found}."
    warnings.warn(message, UserWarning, stacklevel=4)
    return None

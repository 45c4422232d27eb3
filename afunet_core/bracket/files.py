"""The files of a bracket: pixels, encoding, colours and exposures, from whatever source states them."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from afunet_core.bracket.folders import find_exposure_file, list_bracket_folder
from afunet_core.bracket.options import CHANNELS
from afunet_core.camera.levels import check_white_level
from afunet_core.errors import ArgumentError, BracketError, ExposureError
from afunet_core.io.exposure import relative_exposures
from afunet_core.io.exposure_list import read_exposure_list
from afunet_core.io.formats import RAW_SUFFIXES, natural_key
from afunet_core.io.raw import read_camera
from afunet_core.io.read import ImageFile, read_image, read_planes, turned

_HOW_TO_STATE = (
    "Give ev=(-2, 0, 2), in stops, or times=(1/100, 1/25, 1/6), in seconds, one a file, "
    "or put an exposure.txt with one EV a line beside the files."
)
_CELLS = 16
_BACK = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}  # the orientation that undoes each
_SAME_COLOURS = 0.01  # largest difference of matrices of one camera or profile


@dataclass(frozen=True)
class BracketFiles:
    """The contents of a bracket's files, in the order they were named."""

    pixels: list[np.ndarray]  # of each frame; with an alpha channel where a part of a frame shows nothing
    names: list[str]  # of the frames
    encoding: str  # of all of them
    ev: list[float] | None  # where the files state it
    seconds: list[float] | None
    # for the result's provenance; ``colour`` in it takes linear RGB of the files to linear sRGB
    metadata: dict[str, Any]
    is_raw: bool = False  # whether they are raw files, whose levels are taken off


def load_bracket_files(
    paths: Sequence[str | Path],
    *,
    encoding: str,
    exposures_given: bool,
    channel: str | None = None,
    white_level: float | str | None = None,
    plane: int | None = None,
) -> BracketFiles:
    """Read files and find their exposures: in the list beside them, else in their metadata.

    Frames that lie in different places of one canvas (data windows of EXR, positions of TIFF) are laid on it. A single
    file with several pages is the bracket itself, page by page.
    """
    if isinstance(paths, str | Path):
        raise BracketError("paths", "a list of image files", repr(str(paths)), "For a folder use Bracket.from_folder.")
    if channel is not None and channel not in CHANNELS:
        raise ArgumentError("channel", "one of " + ", ".join(CHANNELS), repr(channel))
    files = [Path(path) for path in paths]
    if not files:
        advice = "A bracket needs different exposures."
        raise BracketError("paths", "at least 2 image files of one scene", "none", advice)
    images, is_raw = _read_all(files, check_white_level(white_level), plane or 0)
    if len(files) == 1 and images[0].planes > 1:
        images = read_planes(files[0])
        names = [f"{files[0].name} [{number}]" for number in range(len(images))]
        files = files * len(images)
    else:
        names = [file.name for file in files]
        names = names if len(set(names)) == len(names) else [str(file) for file in files]
        stacks = [name for image, name in zip(images, names, strict=True) if image.planes > 1]
        if plane is None and stacks:
            count = max(image.planes for image in images)
            message = f"{', '.join(stacks)}: only the first of {count} planes is merged. State plane= for another."
            warnings.warn(message, UserWarning, stacklevel=3)
    images = _turned_alike(images, names)
    ev, seconds, source = None, None, "given"
    if not exposures_given:
        ev, seconds, source = _find_exposures(files, images, names)
    if encoding == "auto":
        images = [image.to_light() for image in images]
        encoding = _common_encoding(images, names)
    colour = _common_colour(images, names) if channel is None else None
    metadata: dict[str, Any] = {"files": [str(file) for file in files], "exposure_source": source}
    metadata |= {} if channel is None else {"channel": channel}
    metadata |= {} if colour is None else {"colour": colour}
    if channel is not None and all(image.pixels.ndim == 2 or image.pixels.shape[2] < 3 for image in images):
        warnings.warn(f"channel={channel!r} is ignored: the frames are grey.", UserWarning, stacklevel=4)
    pixels = [_of_channel(each, channel) for each in _on_one_canvas(images)]
    return BracketFiles(pixels, names, encoding, ev, seconds, metadata, is_raw)


def _read_all(files: Sequence[Path], white_level: float | str | None, plane: int) -> tuple[list[ImageFile], bool]:
    """Read the files; whether they are raw: then with one white level and one white balance for all of them."""
    if any(file.suffix.lower() not in RAW_SUFFIXES for file in files):
        return [read_image(file, plane=plane) for file in files], False
    cameras = [read_camera(file) for file in files]
    level = None if isinstance(white_level, str) else white_level
    found = [camera["clips_at"] for camera in cameras if camera["clips_at"] is not None]
    if level is None and found:
        level, stated = min(found), max(camera["white_level"] for camera in cameras)
        if white_level is None:
            message = f"The sensor clips at {level}, below the white level of its files ({stated}): {level} is taken."
            warnings.warn(f"{message} State white_level= to take another.", UserWarning, stacklevel=5)
    # Automatic white balance may change within a bracket.
    gains = next((camera["colours"]["gains"] for camera in cameras if camera["colours"] is not None), None)
    balance: Any = "camera" if gains is None else tuple(gains)
    return [read_image(file, white_level=level, white_balance=balance) for file in files], True


def _turned_alike(images: list[ImageFile], names: Sequence[str]) -> list[ImageFile]:
    """Turn frames whose flag contradicts the others as the pictures fit: a camera that points up or down guesses."""
    flags = Counter(image.orientation for image in images)
    if len(flags) < 2:
        return images
    usual = flags.most_common(1)[0][0]
    model = next(image.pixels for image in images if image.orientation == usual)
    result: list[ImageFile] = []
    odd: list[str] = []
    for image, name in zip(images, names, strict=True):
        pixels = turned(turned(image.pixels, _BACK[image.orientation]), usual)
        if image.orientation != usual and _likeness(pixels, model) > _likeness(image.pixels, model):
            image, odd = replace(image, pixels=pixels), [*odd, name]
        result.append(image)
    if odd:
        message = f"The orientation flag of {', '.join(odd)} is not that of the other frames; it is turned like them."
        warnings.warn(message, UserWarning, stacklevel=4)
    return result


def _likeness(image: np.ndarray, model: np.ndarray) -> float:
    """Correlation of the order of brightness of coarse cells, whatever the exposure; -1 for different shapes."""
    if image.shape[:2] != model.shape[:2]:
        return -1.0
    size = max(1, max(image.shape[:2]) // _CELLS)
    grey = [each if each.ndim == 2 else each[..., :3].mean(-1) for each in (image, model)]
    edges = [np.arange(0, length, size) for length in image.shape[:2]]
    cells = [np.add.reduceat(np.add.reduceat(each.astype(np.float64), edges[0], 0), edges[1], 1) for each in grey]
    return float(np.asarray(np.corrcoef([each.ravel().argsort().argsort() for each in cells]))[0, 1])


def _on_one_canvas(images: Sequence[ImageFile]) -> list[np.ndarray]:
    """Pixels; of frames in different places on the rectangle around all, with alpha 0 where they show nothing."""
    if len({image.offset for image in images}) == 1:
        return [image.pixels for image in images]
    corners = np.array([[*image.offset, *np.add(image.offset, image.pixels.shape[:2])] for image in images])
    start = corners[:, :2].min(0)
    size = corners[:, 2:].max(0) - start
    placed = []
    for image in images:
        pixels = image.pixels if image.pixels.ndim == 3 else image.pixels[..., None]
        if pixels.shape[2] in (1, 3):
            opaque = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "ui" else 1
            pixels = np.concatenate([pixels, np.full_like(pixels[..., :1], opaque)], axis=2)
        top, left = np.subtract(image.offset, start)
        canvas = np.zeros((*size, pixels.shape[2]), pixels.dtype)
        canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        placed.append(canvas)
    return placed


def _of_channel(pixels: np.ndarray, channel: str | None) -> np.ndarray:
    """One channel of colour pixels, with their alpha."""
    if channel is None or pixels.ndim == 2 or pixels.shape[2] < 3:
        return pixels
    index = CHANNELS.index(channel)
    return pixels[..., index] if pixels.shape[2] == 3 else pixels[..., [index, 3]]


def channel_of_dark_frame(black_level: Any, channel: str | None) -> Any:
    """A black level as the files' channel needs it: of a dark frame's file, that channel."""
    if channel is None or black_level == "auto" or not isinstance(black_level, str | Path):
        return black_level
    pixels = _of_channel(read_image(black_level).pixels, channel)
    return pixels if pixels.ndim == 2 else pixels[..., 0]


def _common_encoding(images: Sequence[ImageFile], names: Sequence[str]) -> str:
    first = images[0].encoding
    for image, name in zip(images, names, strict=True):
        if image.encoding is None:
            found = f"{image.pixels.dtype} pixels"
            raise BracketError(name, "8-bit, 16-bit or floating-point pixels", found, "State encoding=.")
        if image.encoding != first:
            by = f" (by {image.colour.source})" if image.colour is not None and image.colour.source else ""
            advice = "Merge frames of one kind; state encoding='gamma' (or srgb, linear) if they are alike after all."
            raise BracketError(name, f"{first} pixels like {names[0]}", f"{image.encoding}{by}", advice)
    return str(first)


def _common_colour(images: Sequence[ImageFile], names: Sequence[str]) -> dict[str, Any] | None:
    """Name and matrix to linear sRGB of the files' colours; ``None`` where they are sRGB."""
    if all(image.pixels.ndim == 2 or image.pixels.shape[2] < 3 for image in images):
        return None
    spaces = ["sRGB" if image.colour is None else image.colour.space for image in images]
    colours = [None if image.colour is None else image.colour.as_dict() for image in images]
    matrices = [np.eye(3) if colour is None else np.array(colour["to_srgb"]) for colour in colours]
    for space, matrix, name in zip(spaces, matrices, names, strict=True):
        if space != spaces[0] or np.abs(matrix - matrices[0]).max() > _SAME_COLOURS:
            expected = f"colours in {spaces[0]} like {names[0]}"
            found = space if space != spaces[0] else f"{space} with another matrix"
            raise BracketError(name, expected, found, "Export all frames with the same colour profile.")
    return colours[0]


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
    biases = [image.attributes.get("Exif:ExposureBiasValue") for image in images]
    if not known and None not in biases and len(set(biases)) > 1:
        message = "No frame states its exposure time: the exposure compensation of the camera is taken instead."
        warnings.warn(message, UserWarning, stacklevel=4)
        return [float(bias) for bias in biases if bias is not None], None, "EXIF exposure compensation"
    missing = ", ".join(name for name, exposure in zip(names, exposures, strict=True) if exposure is None)
    raise ExposureError("ev", "the exposure of every frame", f"none in the metadata of {missing}", _HOW_TO_STATE)


def _listed_exposures(files: Sequence[Path]) -> tuple[list[float], str] | None:
    """Exposures from the list in the files' folder: by name, or of these or all frames in it in natural order."""
    folders = {file.parent for file in files}
    exposure_file = find_exposure_file(folders.pop()) if len(folders) == 1 else None
    if exposure_file is None:
        return None
    listed = read_exposure_list(exposure_file)
    if listed.names is not None:
        by_name = dict(zip((name.casefold() for name in listed.names), listed.ev, strict=True))
        keys = [key for file in files for key in (file.name, file.stem) if key.casefold() in by_name]
        if len(keys) == len(files):
            return [by_name[key.casefold()] for key in keys], exposure_file.name
    if len(set(files)) < len(files) and len(listed.ev) == len(files):  # the pages of one file
        return listed.ev, exposure_file.name
    for candidates in (list_bracket_folder(exposure_file.parent), sorted(files, key=natural_key)):
        if listed.names is None and len(candidates) == len(listed.ev) and set(files) <= set(candidates):
            by_file = dict(zip(candidates, listed.ev, strict=True))
            return [by_file[file] for file in files], exposure_file.name
    found = f"{len(listed.ev)} exposures, neither one for each of these files nor one for each frame in the folder"
    message = f"{exposure_file} is ignored: it lists {found}."
    warnings.warn(message, UserWarning, stacklevel=4)
    return None

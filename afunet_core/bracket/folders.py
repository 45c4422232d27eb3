"""Bracket folders: the files in them that are frames, and the folders that hold one."""

from __future__ import annotations

import os
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path

from afunet_core.errors import ImageFileError
from afunet_core.io.exposure_list import read_exposure_list
from afunet_core.io.formats import RADIANCE, RAW_SUFFIXES, READABLE, natural_key
from afunet_core.io.read import read_own_metadata

EXPOSURE_FILES = ("exposure.txt", "input_exp.txt")
"""Names of the text file that lists the exposures of a folder; case does not count."""

# Folders that network drives and operating systems make for themselves, beside those whose names begin with @ or a full
# stop; their pictures are thumbnails or deleted.
_NOT_BY_PEOPLE = frozenset(
    {"#recycle", "#snapshot", "$recycle.bin", "recycler", "found.000", "__macosx", "lost+found"}
    | {"system volume information", "thumbnails", "thumbs"}
)
_JPEG = frozenset({".jfif", ".jpe", ".jpeg", ".jpg"})


def find_exposure_file(folder: str | Path) -> Path | None:
    """Find the exposure list of a folder, or ``None``."""
    names = {entry.name.casefold(): entry for entry in _entries(Path(folder)) if entry.is_file()}
    return next((names[name] for name in EXPOSURE_FILES if name in names), None)


def list_bracket_folder(folder: str | Path) -> list[Path]:
    """List the frames in a folder in natural order.

    This program's own results and previews are no frames. Radiance files (``.exr``, ``.hdr``) beside ordinary pictures
    are results or ground truth. Of a raw file and the picture of the same name beside it (RAW+JPEG) the raw file is the
    frame. Where an exposure list stands beside more pictures than it names and exactly one file type has the right
    number, those are the frames.
    """
    folder = Path(folder)
    entries = _entries(folder)
    images = [e for e in entries if e.suffix.lower() in READABLE and not e.name.startswith(".") and e.is_file()]
    images = [image for image in images if not is_own_result(image)]
    frames = _without_pairs([image for image in images if image.suffix.lower() not in RADIANCE] or images)
    listed = _number_listed(folder)
    if listed and listed != len(frames):
        by_type: dict[str, list[Path]] = defaultdict(list)
        for image in images:
            by_type[image.suffix.lower()].append(image)
        fitting = [group for group in by_type.values() if len(group) == listed]
        if len(fitting) == 1:
            frames = fitting[0]
    return sorted(frames, key=natural_key)


def find_brackets(root: str | Path) -> list[Path]:
    """Find all bracket folders at or below ``root``: those with an exposure list or at least two pictures.

    Nothing below a bracket folder is searched. A folder that only looks like a bracket is listed too, so that its fault
    is reported when it is opened instead of being passed over.
    """
    found: list[Path] = []
    seen: set[Path] = set()  # a link may lead back to a folder above it
    folders = [Path(root)]
    while folders:
        folder = folders.pop()
        if folder.resolve() in seen:
            continue
        seen.add(folder.resolve())
        if find_exposure_file(folder) is not None or len(list_bracket_folder(folder)) >= 2:
            found.append(folder)
        else:
            folders += sorted(filter(_is_searched, _entries(folder)), key=natural_key, reverse=True)
    return found


def _is_searched(entry: Path) -> bool:
    hidden = entry.name.startswith((".", "@")) or entry.name.casefold() in _NOT_BY_PEOPLE
    return not hidden and entry.is_dir()


def is_own_result(path: str | Path) -> bool:
    """Tell a result or preview of a merge of ours by what it says of itself."""
    try:
        return "method" in read_own_metadata(path)
    except OSError:
        return False  # reported by whoever opens it


def _without_pairs(images: list[Path]) -> list[Path]:
    """Leave out the JPEG of a shot beside its raw file, HEIC, TIFF…; without rawpy it is the raw file that must go."""
    raws = {image.stem.casefold() for image in images if image.suffix.lower() in RAW_SUFFIXES}
    developed = {image.stem.casefold() for image in images if image.suffix.lower() not in RAW_SUFFIXES}
    if raws & developed:
        drop_raw = raws == developed and find_spec("rawpy") is None
        images = [i for i in images if (i.suffix.lower() in RAW_SUFFIXES) != drop_raw or i.stem.casefold() not in raws]
    others = {image.stem.casefold() for image in images if image.suffix.lower() not in _JPEG}
    return [i for i in images if i.suffix.lower() not in _JPEG or i.stem.casefold() not in others]


def _entries(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder)]
    except OSError as error:
        raise ImageFileError(
            f"{folder}: cannot be listed: {error.strerror or error}. Give a folder that holds the frames of a bracket."
        ) from error


def _number_listed(folder: Path) -> int | None:
    exposure_file = find_exposure_file(folder)
    if exposure_file is None:
        return None
    try:
        return len(read_exposure_list(exposure_file).ev)
    except ImageFileError:
        return None  # reported by whoever needs the values

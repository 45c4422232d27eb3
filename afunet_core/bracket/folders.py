"""Which files of a folder make a bracket, and which folders are brackets."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path

from afunet_core.errors import ImageFileError
from afunet_core.io.exposure import read_exposure_file
from afunet_core.io.read import READABLE

EXPOSURE_FILES = ("exposure.txt", "input_exp.txt")
"""Names of the text file that lists the exposures of a folder; case does not count."""

_RADIANCE = frozenset({".exr", ".hdr"})


def natural_key(path: str | Path) -> tuple[tuple[int, int, str], ...]:
    """Sort key that counts as people do.

    Example:
        >>> sorted(["10.tif", "9.tif", "a2.tif", "a10.tif"], key=natural_key)
        ['9.tif', '10.tif', 'a2.tif', 'a10.tif']
    """
    parts = re.split(r"([0-9]+)", Path(path).name.casefold())
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part)


def find_exposure_file(folder: str | Path) -> Path | None:
    """The exposure list of a folder, or ``None``."""
    names = {entry.name.casefold(): entry for entry in _entries(Path(folder)) if entry.is_file()}
    return next((names[name] for name in EXPOSURE_FILES if name in names), None)


def list_bracket_folder(folder: str | Path) -> list[Path]:
    """The frames in a folder in natural order.

    Radiance files (``.exr``, ``.hdr``) beside ordinary pictures are results or ground truth, not frames. Where an
    exposure list stands beside more pictures than it names and exactly one file type has the right number, those are
    the frames.

    Raises:
        ImageFileError: the folder does not exist or cannot be read.
    """
    folder = Path(folder)
    entries = _entries(folder)
    images = [e for e in entries if e.suffix.lower() in READABLE and not e.name.startswith(".") and e.is_file()]
    frames = [image for image in images if image.suffix.lower() not in _RADIANCE] or images
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
    """All bracket folders at or below ``root``: those with an exposure list or at least two pictures.

    Nothing below a bracket folder is searched. A folder that only looks like a bracket is listed too, so that its fault
    is reported when it is opened instead of being passed over.

    Raises:
        ImageFileError: ``root`` does not exist or cannot be read.
    """
    root = Path(root)
    if find_exposure_file(root) is not None or len(list_bracket_folder(root)) >= 2:
        return [root]
    found: list[Path] = []
    for folder in sorted((e for e in _entries(root) if e.is_dir() and not e.name.startswith(".")), key=natural_key):
        if not folder.is_symlink():  # a link to a parent would be searched for ever
            found += find_brackets(folder)
    return found


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
        return len(read_exposure_file(exposure_file))
    except ImageFileError:
        return None  # reported by whoever needs the values

"""Lists of exposures beside the frames of a bracket (``exposure.txt``), as people write them."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from afunet_core.errors import ImageFileError
from afunet_core.io.exposure import Exposure, parse_exposure
from afunet_core.io.formats import READABLE

__all__ = ["ExposureList", "read_exposure_list"]

_LIST_ADVICE = "Write one exposure value (EV) or time (1/100 s) a line, in the order of the file names."
_LONGEST_LIST = 2**20  # bytes; lists are short, and a picture of another name is not
_CAMERA_STEP = 0.3  # stops: the smallest step of a camera's dial is a third
_SUFFIXES = "|".join(sorted(suffix[1:] for suffix in READABLE))
_FILE = rf"(?:\"[^\"]+\"|'[^']+'|[^\"'].*?\.(?:{_SUFFIXES}))"
_NAME_FIRST = re.compile(rf"(?P<name>{_FILE}|(?!iso|ev)[a-z_]{{2,}}[\w-]*\d)[\s,;:=]+(?P<rest>.+)", re.IGNORECASE)
_NAME_LAST = re.compile(rf"(?P<rest>[^\"']*?)[\s,;:=]+(?P<name>{_FILE})", re.IGNORECASE)
_LABEL = re.compile(r"(?:\b(?:ev|t|times?|exposures?)\s*[:=]|^\d+\))\s*", re.IGNORECASE)
_APERTURE = re.compile(r"\bf\s*/?\s*(\d+(?:[.,]\d+)?)(?![\d.]*\w)", re.IGNORECASE)
_SENSITIVITY = re.compile(r"\biso\s*(\d+)\b", re.IGNORECASE)


@dataclass(frozen=True)
class ExposureList:
    """The exposures that a text file lists."""

    ev: list[float]  # in stops, one a line
    names: list[str] | None = None  # the frames' file names, where every line has one, else ``None``


class _Entry(NamedTuple):
    value: float
    kind: str  # ``"time"`` with its unit, ``"fraction"``, ``"stops"`` with theirs, or ``"number"``
    name: str = ""


def read_exposure_list(path: str | Path) -> ExposureList:
    """Read a list of exposures as people write them.

    One EV a line, or all in one line between blanks, commas or semicolons. Times are known by their unit or fraction
    (``1/100``, ``0.01 s``, ``10 ms``) and become stops; a file may hold either. A line may begin or end with the
    frame's file name (``IMG_1.jpg 1/100``), then order does not matter; aperture and sensitivity may follow
    (``1/100 f/8 ISO 200``). Decimal commas, labels (``EV: -2``), remarks in brackets, comments and a line of titles
    are understood; what is no exposure is refused.
    """
    path = Path(path)
    lines = _lines(path)
    if len(lines) > 1 and not re.search(r"\d", lines[0][1]):
        lines = lines[1:]  # titles of columns
    entries = [entry for number, line in lines for entry in _entries(line, f"{path}, line {number}")]
    if not entries:
        raise ImageFileError(f"{path}: holds no exposure values. {_LIST_ADVICE}")
    values = _as_stops(entries, path)
    names = [entry.name for entry in entries]
    named = [name for name in names if name]
    if named and len(named) < len(names):
        raise ImageFileError(f"{path}: only some lines name their frame. {_LIST_ADVICE}")
    return ExposureList(values, named or None)


def _lines(path: Path) -> list[tuple[int, str]]:
    """Numbers and texts of the lines with something in them; what stands behind # or // is a comment."""
    if not path.is_file() and path.exists():
        raise ImageFileError(f"{path}: is no ordinary file. {_LIST_ADVICE}")
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST_LIST)
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be read: {error.strerror or error}. {_LIST_ADVICE}") from error
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        text = data.decode("cp1252", "replace")  # an older editor's
        if not all(c.isprintable() or c.isspace() for c in text.replace("\ufffd", "")):
            raise ImageFileError(f"{path}: is not a text file. {_LIST_ADVICE}") from error
    lines = (re.split(r"#|//", line)[0].replace("\xa0", " ").strip() for line in text.splitlines())
    return [(number, line) for number, line in enumerate(lines, start=1) if line]


def _entries(line: str, where: str) -> list[_Entry]:
    """Read one line: one exposure, perhaps with a name, aperture and sensitivity, or several numbers."""
    name = ""
    named = _NAME_FIRST.fullmatch(line) or _NAME_LAST.fullmatch(line)
    if named:
        name, line = re.split(r"[\\/]", named["name"].strip("\"'"))[-1], named["rest"]
    aperture, iso = _APERTURE.search(line), _SENSITIVITY.search(line)
    line = _SENSITIVITY.sub("", _APERTURE.sub("", _LABEL.sub("", line)))
    line = re.sub(r"(?<=[^\s(\[])\s*\([^)]*\)", "", line).strip("[]() ,;")
    entries = []
    for word in _words(line):
        value = parse_exposure(word)
        if value is None:
            raise ImageFileError(f"{where}: {word!r} is not a number. {_LIST_ADVICE}")
        kind = _kind(word)
        if kind in ("time", "fraction") and value > 0:
            f_number = float(aperture[1].replace(",", ".")) if aperture else None
            value = Exposure(value, f_number, float(iso[1]) if iso else None).value
        entries.append(_Entry(value, kind, name))
    if name and len(entries) > 1:
        raise ImageFileError(f"{where}: {len(entries)} numbers for one frame. {_LIST_ADVICE}")
    return entries


def _kind(word: str) -> str:
    unit = re.search(r"[a-zµμ\"″]+$", word, re.IGNORECASE)
    if unit is None:
        return "fraction" if "/" in word else "number"
    return "stops" if unit[0].lower() in ("ev", "stop", "stops") else "time"


def _words(line: str) -> list[str]:
    """Numbers with their units; a comma separates, unless the line is one number or has semicolons."""
    if re.fullmatch(r"[-+−–]?\d+,\d+\s*\D*", line):
        return [line]
    found = re.sub(r"(?<=\d)\s+(?=(?:seconds?|secs?|s|ms|µs|μs|us|ev|stops?)\b)", "", line, flags=re.IGNORECASE)
    between = r"[;\s]+" if ";" in line else r"[,;\s]+"
    return [word for word in re.split(between, re.sub(r"\s*/\s*", "/", found)) if word]


def _as_stops(entries: Sequence[_Entry], path: Path) -> list[float]:
    """All entries in stops: a list is one of times if something says so and nothing speaks against it."""
    kinds, values = {entry.kind for entry in entries}, [entry.value for entry in entries]
    positive = min(values) > 0
    if "time" in kinds and ("stops" in kinds or not positive):
        raise ImageFileError(f"{path}: lists times and stops together, or times that are not above 0. {_LIST_ADVICE}")
    are_times = "time" in kinds or ("fraction" in kinds and "stops" not in kinds and positive)
    if kinds == {"number"} and positive and 0 < max(values) - min(values) < _CAMERA_STEP:
        are_times, advice = True, "they are taken as times in seconds. Write their unit to be sure: 0.01 s."
        message = f"{path}: numbers that differ by less than {_CAMERA_STEP:g} are no stops; {advice}"
        warnings.warn(message, UserWarning, stacklevel=3)
    return [math.log2(value) for value in values] if are_times else values

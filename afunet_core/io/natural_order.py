"""Order of file names as people count."""

from __future__ import annotations

import re
from pathlib import Path


def natural_key(path: str | Path) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Sort key that counts as people do; names that differ only by case or zeros come in one order everywhere.

    Example:
        >>> sorted(["10.tif", "9.tif", "a2.tif", "a10.tif"], key=natural_key)
        ['9.tif', '10.tif', 'a2.tif', 'a10.tif']
    """
    name = Path(path).name
    parts = re.split(r"([0-9]+)", name.casefold())
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part), name

"""Radiance files as old programs wrote them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from afunet_core.errors import ImageFileError
from afunet_core.io import read_image

HEADER = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n"


@pytest.mark.parametrize("axes", ["-Y 20 +X 30", "+X 30 -Y 20"])
def test_old_runs(tmp_path: Path, axes: str) -> None:
    """A run of 256 and more takes two pixels, and may pass the end of a line."""
    light = np.full((20, 30, 3), 0.25, np.float32)
    light[0, :4] = [[0.5, 0.25, 0.125], [0.5, 0.25, 0.125], [0.0, 0.0, 0.0], [96.0, 1.0, 1.0]]
    if axes.startswith("+X"):
        light = light[:1].repeat(20, axis=0)
    first = bytes([128, 64, 32, 128]), bytes([0, 0, 0, 0]), bytes([192, 2, 2, 135]), bytes([128, 128, 128, 127])
    if axes.startswith("-Y"):
        left = 20 * 30 - 5
        packed = first[0] + bytes([1, 1, 1, 1]) + first[1] + first[2] + first[3]
        packed += bytes([1, 1, 1, left % 256, 1, 1, 1, left // 256])
    else:
        columns = [first[0]] * 2 + [first[1], first[2]] + [first[3]] * 26
        packed = b"".join(column + bytes([1, 1, 1, 19]) for column in columns)
    (tmp_path / "a.hdr").write_bytes(HEADER + axes.encode() + b"\n" + packed)
    np.testing.assert_array_equal(read_image(tmp_path / "a.hdr").pixels, light)
    (tmp_path / "a.hdr").write_bytes(HEADER + axes.encode() + b"\n" + packed[:-4])
    with pytest.raises(ImageFileError, match="truncated or damaged"):
        read_image(tmp_path / "a.hdr")


def test_primaries(tmp_path: Path) -> None:
    """Those of Display P3."""
    values = b"PRIMARIES=0.68 0.32 0.265 0.69 0.15 0.06 0.3127 0.329\n"
    (tmp_path / "a.hdr").write_bytes(
        HEADER.replace(b"\n\n", b"\n" + values + b"\n") + b"-Y 1 +X 1\n" + bytes([128] * 4)
    )
    colour = read_image(tmp_path / "a.hdr").colour
    assert colour is not None
    assert colour.space == "Display P3"
    assert colour.encoding == "linear"

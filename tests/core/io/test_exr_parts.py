"""Every picture of an EXR: parts, layers, and channels that are no colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from afunet_core.errors import ImageFileError
from afunet_core.io import read_image, read_parts, write_image
from scenes import write_oiio


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).random((7, 9, 8), dtype=np.float32)


def test_layers_and_other_channels_of_one_part(tmp_path: Path, values: np.ndarray) -> None:
    names = ("B", "G", "R", "Z", "diffuse.B", "diffuse.G", "diffuse.R", "normal.X")
    write_oiio(tmp_path / "a.exr", ("", names, values))
    found = dict(read_parts(tmp_path / "a.exr"))
    assert list(found) == ["", "Z", "diffuse", "normal X"]
    np.testing.assert_array_equal(found[""], values[..., [2, 1, 0]])
    np.testing.assert_array_equal(found["Z"], values[..., 3])
    np.testing.assert_array_equal(found["diffuse"], values[..., [6, 5, 4]])
    np.testing.assert_array_equal(found["normal X"], values[..., 7])


def test_parts(tmp_path: Path, values: np.ndarray) -> None:
    write_oiio(tmp_path / "a.exr", ("depth", "Z", values[..., :1]), ("beauty", "RGB", values[..., 1:4]))
    found = dict(read_parts(tmp_path / "a.exr"))
    assert list(found) == ["depth Z", "beauty"]
    for beauty in (found["beauty"], read_image(tmp_path / "a.exr").pixels):  # the first part with colours
        np.testing.assert_array_equal(beauty, values[..., 1:4])


def test_an_ordinary_file_has_one_and_a_damaged_one_is_refused(tmp_path: Path, values: np.ndarray) -> None:
    for pixels in (values[..., 0], values[..., :3], values[..., :4]):
        write_image(tmp_path / "a.exr", pixels)
        [(name, found)] = read_parts(tmp_path / "a.exr")
        assert name == ""
        np.testing.assert_array_equal(found, pixels)
    data = (tmp_path / "a.exr").read_bytes()
    for kept in (0, 100, int(0.6 * len(data))):
        (tmp_path / "a.exr").write_bytes(data[:kept])
        with pytest.raises(ImageFileError, match=r"a\.exr"):
            read_parts(tmp_path / "a.exr")

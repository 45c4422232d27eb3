"""Bracket folders: the files in them that are frames, and the folders that hold one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import afunet_core as af
from afunet_core.bracket.folders import find_brackets, list_bracket_folder
from afunet_core.errors import ImageFileError
from afunet_core.io import write_image
from scenes import save_photo


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


@pytest.mark.parametrize(
    ("names", "frames"),
    [
        ("10.tif 9.TIF .hidden.tif ._9.tif notes.md truth.hdr merged.exr exposure.txt", "9.TIF 10.tif"),
        ("2.exr 10.exr 1b.exr 1.exr", "1.exr 1b.exr 2.exr 10.exr"),  # radiance alone, in natural order
        ("1.tif 2.tif 3.tif merged.png", "1.tif 2.tif 3.tif"),
        ("a.DNG a.JPG b.dng b.jpg c.jpg", "a.DNG b.dng c.jpg"),  # raw and JPEG
        ("1.jpg 2.jpg 1.tif 2.tif", "1.tif 2.tif"),  # one shot in two formats
        ("1.jpg 2.jpg 1.png 2.png", "1.png 2.png"),
        ("1.jpg 2.jpg 1.avif 2.avif", "1.avif 2.avif"),
        ("1.webp 2.jfif 3.pfm 4.jxl", "1.webp 2.jfif 3.pfm 4.jxl"),
    ],
)
def test_frames_among_other_files(tmp_path: Path, names: str, frames: str) -> None:
    touch(tmp_path, *names.split())
    if "merged.png" in names:  # the list tells frames from results
        (tmp_path / "exposure.txt").write_text("-2\n0\n2\n")
    assert [path.name for path in list_bracket_folder(tmp_path)] == frames.split()


def test_own_results_are_no_frames(tmp_path: Path) -> None:
    light = np.linspace(0.01, 0.2, 12 * 16 * 3, dtype=np.float32).reshape(12, 16, 3)
    pictures = [np.rint(255 * (light * time) ** (1 / 2.2)).astype(np.uint8) for time in (1, 4)]
    frames = [save_photo(tmp_path / f"{i}.jpg", picture) for i, picture in enumerate(pictures)]
    result = af.merge(af.Bracket.from_files(frames, ev=(0, 2)), method="weighted", align="off")
    for name in ("m.exr", "m.hdr", "m.tif", "m.dng", "p.jpg", "p.png"):
        write_image(tmp_path / name, np.clip(result.radiance, 0, 1), metadata=result.info)
    assert list_bracket_folder(tmp_path) == frames


def test_brackets_below_a_folder(tmp_path: Path) -> None:
    touch(tmp_path / "scene10", "1.tif", "2.tif")
    touch(tmp_path / "scene9" / "deeper", "1.jpg", "2.jpg", "3.jpg")
    touch(tmp_path / "one picture", "1.jpg")
    touch(tmp_path / "broken", "exposure.txt")
    found = [path.relative_to(tmp_path).as_posix() for path in find_brackets(tmp_path)]
    assert found == ["broken", "scene9/deeper", "scene10"]
    assert find_brackets(tmp_path / "scene10") == [tmp_path / "scene10"]


JUNK = "@eaDir #recycle __MACOSX .thumbnails $RECYCLE.BIN @Recycle @tmp .@__thumb Thumbnails RECYCLER FOUND.000"


@pytest.mark.parametrize("junk", JUNK.split())
def test_folders_of_drives_and_programs(tmp_path: Path, junk: str) -> None:
    for name in ("one", junk):
        touch(tmp_path / name, "1.png", "2.png")
    assert find_brackets(tmp_path) == [tmp_path / "one"]
    assert find_brackets(tmp_path / junk) == [tmp_path / junk]  # named by the user


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_links_and_pipes(tmp_path: Path) -> None:
    touch(tmp_path / "real", "0.png", "1.png", "2.png")
    folder = tmp_path / "set" / "links"
    folder.mkdir(parents=True)
    for frame in (tmp_path / "real").iterdir():
        (folder / frame.name).symlink_to(frame)
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(folder / "pipe.png")
    os.mkfifo(folder / "exposure.txt")
    assert [path.name for path in list_bracket_folder(folder)] == ["0.png", "1.png", "2.png"]
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "set" / "loop").symlink_to(tmp_path / "set")
    assert find_brackets(tmp_path / "set") == [tmp_path / "set" / "linked", folder]


@pytest.mark.parametrize("function", [list_bracket_folder, find_brackets])
def test_a_missing_folder(tmp_path: Path, function) -> None:
    with pytest.raises(ImageFileError, match="nowhere: cannot be listed: No such file"):
        function(tmp_path / "nowhere")

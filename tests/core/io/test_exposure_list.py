"""Lists of exposures as people write them, and exposures in XMP and in the notes of microscopes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import afunet_core as af
from afunet_core.errors import ImageFileError
from afunet_core.io import Exposure, read_exposure, read_exposure_list

STOPS = (
    "-2\n0\n2",
    "-2 # under\n\n0\n2",
    "// stops\n-2\n0\n2",
    "-2, 0, 2",
    "-2;0;2",
    "[-2, 0, 2]",
    "EV: -2\nEV: 0\nEV: 2",
    "ev = -2, 0, 2",
    "1) -2\n2) 0\n3) 2",
    "-2\u00a0EV\n0\u00a0EV\n2\u00a0EV",
    "\u22122\n0\n+2",
    "-2 EV (1/400 s)\n0 EV (1/100 s)\n2 EV (1/25 s)",
    "-4/2 0 4/2",
    "\ufeff-2.0\r\n\n0  # reference\r\n+2.0\r\n",
    "\N{MINUS SIGN}2, 0, 2",
)
TIMES = (
    "1/400\n1/100\n1/25",
    "0,0025\n0,01\n0,04",
    "0,0025;0,01;0,04",
    "2.5 ms\n10 ms\n40 ms",
    "t=1/400\nt=1/100\nt=1/25",
    "1/400s, 1/100s, 1/25s",
    "0.5″\n2″\n8″",
    "1/400 f/8 ISO 100\n1/400 f/4 ISO 100\n1/400 f/4 ISO 400",
)
NAMED = (
    "{0} -2\n{1} 0\n{2} 2",
    "2 {2}\n-2 {0}\n0 {1}",
    "file,exposure\n{0},1/400\n{1},1/100\n{2},1/25",
    "filename\tev\n{0}\t-2\n{1}\t0\n{2}\t2",
    '"{0}": 1/400\n"{1}": 1/100\n"{2}": 1/25',
    "'{0}' 1/400\n'{1}' 1/100\n'{2}' 1/25",
    '"{0}"; -2\n"{1}"; 0\n{2} = 2',
    "./{0} 1/400\n./{1} 1/100\nsub\\{2} 1/25",
)


@pytest.mark.filterwarnings("ignore:.*are taken as times")
@pytest.mark.parametrize("text", STOPS + TIMES)
def test_in_the_order_of_the_names(tmp_path: Path, text: str) -> None:
    (tmp_path / "exposure.txt").write_text(text, encoding="utf-8")
    found = read_exposure_list(tmp_path / "exposure.txt")
    assert found.names is None
    assert np.diff(found.ev).tolist() == pytest.approx([2, 2], abs=1e-9)


@pytest.mark.parametrize("text", NAMED)
@pytest.mark.parametrize("stem", ["{}", "my frame {}"])
def test_with_names(tmp_path: Path, text: str, stem: str) -> None:
    names = [f"{stem.format(i)}.png" for i in range(3)]
    for i, name in enumerate(names):
        Image.fromarray(np.full((8, 8, 3), 60 + 50 * i, np.uint8)).save(tmp_path / name)
    (tmp_path / "exposure.txt").write_text(text.format(*names))
    bracket = af.Bracket.from_folder(tmp_path, override=True, response=None)
    assert bracket.times.tolist() == pytest.approx([1, 4, 16])


def test_editors_and_names_without_their_suffix(tmp_path: Path) -> None:
    for encoding in ("utf-16", "utf-8-sig", "cp1252"):
        (tmp_path / "exposure.txt").write_bytes("# für später\r\n-2\r\n0\r\n2".encode(encoding))
        assert read_exposure_list(tmp_path / "exposure.txt").ev == [-2, 0, 2]
    (tmp_path / "exposure.txt").write_text("IMG_2 1/100\nIMG_1 1/400")
    assert read_exposure_list(tmp_path / "exposure.txt").names == ["IMG_2", "IMG_1"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (bytes(range(256)), ""), (b"a.png 1 2 3 4", ""), (b"a.png 1\n2", ""), (b"titles only", ""),
        (b"-2 EV\n1/100 s", ""), (b"a.jpg 1 2", ""), (b"1/0", ""), (b"", "holds no exposure values"),
        (b"0\n1/x\n", "line 2: '1/x' is not a number"), (b"nan", "'nan' is not a number"),
        (b"\xff\x00\x81", "is not a text file"),
    ],
)  # fmt: skip
def test_refusals(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "exposure.txt").write_bytes(data)
    with pytest.raises(ImageFileError, match=r"Write one exposure value \(EV\) or time \(1/100 s\) a line") as caught:
        read_exposure_list(tmp_path / "exposure.txt")
    assert said in str(caught.value)
    assert str(tmp_path / "exposure.txt") in str(caught.value)
    with pytest.raises(ImageFileError, match="No such file"):
        read_exposure_list(tmp_path / "missing.txt")


PLAIN = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description exif:ExposureTime="1/100" exif:FNumber="8"/></x:xmpmeta>'
NESTED = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:FNumber="8/1"><exif:ExposureTime>1/100'
    b"</exif:ExposureTime><exif:ISOSpeedRatings><rdf:Seq><rdf:li>200</rdf:li></rdf:Seq></exif:ISOSpeedRatings>"
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)


@pytest.mark.parametrize(("xmp", "iso"), [(PLAIN, None), (NESTED, 200.0)], ids=["plain", "nested"])
@pytest.mark.parametrize("place", ["tif", "png", "zipped", "jpg", "a.xmp", "a.XMP", "a.png.xmp"])
def test_xmp(tmp_path: Path, xmp: bytes, iso: float | None, place: str) -> None:
    """Inside and beside a picture. OpenImageIO takes the fraction 1/100 for 1."""
    path, notes = tmp_path / f"a.{place if place in ('tif', 'jpg') else 'png'}", PngInfo()
    if place in ("png", "zipped"):
        notes.add_itxt("XML:com.adobe.xmp", xmp.decode(), zip=place == "zipped")
    if place == "tif":
        tags = [(700, 1, len(xmp), xmp, True)]
        tifffile.imwrite(path, np.zeros((8, 8, 3), np.uint8), photometric="rgb", metadata=None, extratags=tags)
    else:
        Image.new("RGB", (8, 8)).save(path, pnginfo=notes, xmp=xmp if place == "jpg" else None)
    if "." in place:
        (tmp_path / place).write_bytes(xmp)
    assert read_exposure(path) == Exposure(0.01, 8.0, iso)


def test_micro_manager(tmp_path: Path) -> None:
    stated = [10.0, "10.0", {"PropVal": "10"}]
    for notes in (*({"Exposure-ms": each} for each in stated), {"Exposure": 10.0}, {"Andor-Exposure": "10.00"}):
        tags = [(51123, 2, 0, json.dumps(notes), True)]
        tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 4), np.uint16), extratags=tags)
        assert read_exposure(tmp_path / "a.tif") == Exposure(0.01)

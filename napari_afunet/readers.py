"""Readers: HDR images, raw files, and folders that hold a bracket."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image
    from qtpy.QtCore import QMimeData

LayerData = tuple[Any, dict[str, Any], str]
Reader = Callable[[Any], list[LayerData]]
HDR_SUFFIXES = (".exr", ".hdr")
EXPOSURE_FILES = ("exposure.txt", "input_exp.txt")


def get_hdr_reader(path: str | Sequence[str]) -> Reader | None:
    """A reader for OpenEXR and Radiance files, which napari's own cannot read."""
    paths = _paths(path)
    return read_hdr if paths and all(_is_hdr(p) for p in paths) else None


def _is_hdr(path: Path) -> bool:
    """True for OpenEXR and Radiance; ENVI and Analyze name the headers of quite other images ``.hdr`` too."""
    if path.suffix.lower() not in HDR_SUFFIXES:
        return False
    if path.suffix.lower() == ".exr" or not path.is_file():
        return True
    with path.open("rb") as file:
        return file.read(2) == b"#?"


def get_raw_reader(path: str | Sequence[str]) -> Reader | None:
    """A reader for camera raw files and HEIC, AVIF, JPEG XL: with the exposure from the metadata."""
    from afunet_core.io.formats import HEIF_SUFFIXES, RAW_SUFFIXES

    paths = _paths(path)
    ours = RAW_SUFFIXES | HEIF_SUFFIXES | {".jxl"}
    return read_frames if paths and all(p.suffix.lower() in ours for p in paths) else None


def get_bracket_reader(path: str | Sequence[str]) -> Reader | None:
    """A reader for a folder with the frames of a bracket and an ``exposure.txt``, or for that file itself."""
    paths = _paths(path)
    if len(paths) != 1:
        return None
    if not paths[0].is_dir():
        return read_bracket if paths[0].name.casefold() in EXPOSURE_FILES else None
    from afunet_core.bracket.folders import find_exposure_file

    return read_bracket if find_exposure_file(paths[0]) is not None else None


def read_hdr(path: str | Sequence[str]) -> list[LayerData]:
    """Linear light, shown with a gamma and limits that look right at once."""
    from afunet_core.io.exr_parts import read_parts
    from afunet_core.io.read import read_image
    from napari_afunet.display.tone_view import reference_exposure

    layers: list[LayerData] = []
    for file in _paths(path):
        parts = read_parts(file) if file.suffix.lower() == ".exr" else []
        if len(parts) > 1 or any(part.name and part.pixels.ndim == 2 for part in parts):
            for name, pixels in reversed(parts):  # colours are shown as radiance, other data as napari does
                notes = {"name": f"{file.stem} {name}".strip(), "metadata": {"encoding": "linear"}}
                how = {"rgb": True, "contrast_limits": (0.0, 1.0), "gamma": 1 / 2.2} if pixels.ndim == 3 else {}
                layers.append((pixels, {"rgb": False, **how, **notes}, "image"))
            continue
        image = read_image(file)
        pixels, metadata = _shown(image.pixels), image.metadata
        if "method" in metadata:  # provenance that a merge wrote: a result, not a frame to merge again
            metadata = {"afunet": {"role": "radiance", "info": metadata}}
        if image.exposure is not None:
            metadata = {**metadata, "exposure_time": image.exposure.seconds}
        limit = 2.0 ** -(reference_exposure(image.metadata) or 0.0)  # a result looks as bright as after its merge
        attributes = {
            "name": file.stem,
            "rgb": pixels.ndim == 3,
            "contrast_limits": (0.0, limit),
            "gamma": 1 / 2.2,
            "metadata": {**_said(image), **metadata},
        }
        layers.append((pixels, attributes, "image"))
    return layers


def _shown(pixels: Any) -> Any:
    """The pixels that napari can show: of grey with alpha, grey alone."""
    return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 2 else pixels


def _said(image: Any) -> dict[str, Any]:
    """Return what a file says of its light and colours, for the layer's metadata."""
    colour = None if image.colour is None else image.colour.as_dict()
    said = {"encoding": image.encoding or "gamma"}
    return said if colour is None else {**said, "colour": colour}


def read_bracket(path: str | Sequence[str]) -> list[LayerData]:
    """The frames of a bracket folder, shortest exposure first, each with its exposure in the metadata."""
    from afunet_core.bracket.folders import find_exposure_file, list_bracket_folder
    from afunet_core.errors import ExposureError
    from afunet_core.io.exposure_list import read_exposure_list

    given = _paths(path)[0]
    folder = given if given.is_dir() else given.parent
    files, listed = list_bracket_folder(folder), find_exposure_file(folder)
    exposures = read_exposure_list(listed).ev if listed else []
    if len(files) != len(exposures):
        advice = "Write one EV a line, in the order of the file names."
        raise ExposureError(f"{listed or folder}", f"{len(files)} exposures, one a picture", len(exposures), advice)
    pairs = sorted(zip(exposures, files, strict=True))
    return [_frame(file, f"{folder.name} {ev:+g} EV", {"ev": ev}) for ev, file in pairs]


def read_frames(paths: Sequence[str]) -> list[LayerData]:
    """Picture files as frames of a bracket, in the order given, with what file or folder says of their exposure."""
    from napari_afunet.layers.exposures import common_exposures, file_exposure

    files = _paths(paths)
    ev, seconds = common_exposures([file_exposure(file) for file in files])
    layers: list[LayerData] = []
    for index, file in enumerate(files):
        exposure = {"ev": ev[index]} if ev is not None else {"exposure_time": seconds[index]} if seconds else {}
        layers.append(_frame(file, file.stem, exposure))
    return layers


def open_frames(viewer: ViewerModel, paths: Sequence[str]) -> list[Image]:
    """Add the files as layers, none if one cannot be read, and return them shortest exposure first."""
    from napari_afunet.layers.selection import by_exposure

    return by_exposure([viewer.add_image(pixels, **attributes) for pixels, attributes, _ in read_frames(paths)])


def dropped_frames(data: QMimeData) -> list[str]:
    """Paths of the frames in a drop: two or more local picture files and nothing else, or an empty list."""
    from afunet_core.io.formats import READABLE
    from napari_afunet.layers.selection import MOST_FRAMES

    urls = data.urls()
    paths = [url.toLocalFile() for url in urls if url.isLocalFile()]
    frames = [path for path in paths if Path(path).suffix.lower() in READABLE.difference(HDR_SUFFIXES)]
    return frames if len(frames) == len(urls) and 2 <= len(frames) <= MOST_FRAMES else []


def _frame(file: Path, name: str, exposure: dict[str, float]) -> LayerData:
    from afunet_core.io.read import read_image
    from napari_afunet.display.tone_view import reference_exposure

    image = read_image(file).to_light()
    pixels = _shown(image.pixels)
    white = 2**image.bit_depth - 1 if image.bit_depth and pixels.dtype.kind == "u" else 1
    is_light = image.encoding == "linear"  # dark on a screen, and a result is as bright as after its merge
    ev = (reference_exposure(image.metadata) or 0.0) if is_light else 0.0
    attributes = {
        "name": name,
        "rgb": pixels.ndim == 3,
        "contrast_limits": (0, white * 2.0**-ev),
        "gamma": 1 / 2.2 if is_light else 1.0,
        "metadata": {**exposure, **_said(image), "path": str(file)},
    }
    return pixels, attributes, "image"


def _paths(path: str | Sequence[str]) -> list[Path]:
    return [Path(path)] if isinstance(path, (str, Path)) else [Path(p) for p in path]

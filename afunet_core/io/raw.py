"""Raw files of cameras (DNG, CR2, NEF, ARW…) to linear light, with rawpy (the extra ``raw``)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from afunet_core.errors import ArgumentError, DependencyError, ImageFileError
from afunet_core.io.decode import check_file
from afunet_core.io.exposure import Exposure, exposure_from_attributes
from afunet_core.io.photograph import read_photograph
from afunet_core.ops.plateau import find_plateau

__all__ = ["read_raw", "read_raw_exposure", "read_raw_moment"]

_ADVICE = "Open it in a raw converter; if it is damaged, copy it again."
# Under D65, as LibRaw has it.
_SRGB_TO_XYZ = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
# Tags of a DNG about the colours of its camera: matrices, calibration, balance of its channels, illuminants.
_DNG_COLOURS = (50721, 50722, 50723, 50724, 50727, 50778, 50779, 50964, 50965)
_NO_MATRIX = 0.125  # LibRaw's own test of a camera matrix that stands in the file
# Share of the stated white level from which a sensor may clip: files that state none have the top of 16 bits.
_LOWEST_CLIP = 0.05


def read_raw(
    path: str | Path,
    white_balance: str | tuple[float, float, float] = "camera",
    *,
    white_level: float | None = None,
    primaries: str = "srgb",
) -> tuple[np.ndarray, Exposure | None, dict[str, Any]]:
    """Develop a raw file to linear light (AHD), without tone curve, brightening or highlight recovery.

    The black level is taken off and the white level becomes 65535. White balance multiplies colours after that; the
    gains are scaled to be at least 1, so that a colour that saturated on the sensor saturates in the result.

    Args:
        path: the file.
        white_balance: ``"camera"`` as shot, ``"daylight"``, ``"none"`` (what the sensor counted), or three gains.
        white_level: in counts of the sensor, instead of the one that the file states.
        primaries: ``"srgb"``, or ``"camera"`` for those of the sensor, which hold colours beyond sRGB.

    Returns:
        H×W×3 uint16, upright, in linear sRGB primaries (those of the sensor with white balance ``"none"``, and where
        the file states no colour matrix); the exposure; what the file says of the camera.
    """
    if primaries not in ("srgb", "camera"):
        raise ArgumentError("primaries", "srgb or camera", repr(primaries))
    rawpy, path = _rawpy(), Path(path)
    options = {
        "gamma": (1, 1),
        "no_auto_bright": True,
        "output_bps": 16,
        "adjust_maximum_thr": 0.0,  # or LibRaw stretches each frame whose brightest pixel is near white by itself
        "highlight_mode": rawpy.HighlightMode.Clip,
        "demosaic_algorithm": rawpy.DemosaicAlgorithm.AHD,
        **_white_balance(rawpy, white_balance),
    }
    with _opened(path) as raw:
        camera = _camera(raw, path)
        if white_level is not None:  # LibRaw takes it for a level above black
            camera["white_level"] = round(white_level)
            options["user_sat"] = round(white_level - float(np.mean(camera["black_level"])))
        if primaries == "camera" and camera["colours"] is not None:
            options["output_color"] = rawpy.ColorSpace.raw
        camera["balanced_by"] = white_balance if isinstance(white_balance, str) else list(white_balance)
        return np.ascontiguousarray(raw.postprocess(**options)), _exposure(raw.other, path), camera


def read_camera(path: str | Path) -> dict[str, Any]:
    """Read what a raw file says of its camera, without developing it. Raises like :func:`read_raw`."""
    with _opened(Path(path)) as raw:
        return _camera(raw, Path(path))


def _camera(raw: Any, path: Path) -> dict[str, Any]:
    return {
        "black_level": [int(level) for level in raw.black_level_per_channel],
        "white_level": int(raw.white_level),
        "clips_at": _plateau(raw),
        "white_balance": [float(gain) for gain in raw.camera_whitebalance],
        "colours": _colours(raw, path),
        "orientation": {3: 3, 5: 8, 6: 6}.get(raw.sizes.flip, 1),
    }


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file with LibRaw; what it raises becomes an ``ImageFileError``."""
    rawpy = _rawpy()
    check_file(path)
    try:
        with rawpy.imread(str(path)) as raw:
            yield raw
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be read: {error.strerror or error}. {_ADVICE}") from error
    except rawpy.LibRawError as error:
        reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise ImageFileError(f"{path}: is no raw file that can be read: {reason}. {_ADVICE}") from error


def _colours(raw: Any, path: Path) -> dict[str, Any] | None:
    """Colours of the camera as a DNG states them; ``None`` where no matrix is known or it is none of three colours.

    ``to_srgb`` takes balanced colours of the sensor to linear sRGB, ``gains`` is the white balance as shot,
    ``xyz_to_camera`` the DNG's ColorMatrix for D65, ``tags`` what a DNG states of itself.
    """
    to_srgb: np.ndarray = np.asarray(raw.color_matrix, np.float64)[:, :3]
    daylight = np.asarray(raw.daylight_whitebalance, np.float64)[:3]
    xyz_to_camera: np.ndarray = np.asarray(raw.rgb_xyz_matrix, np.float64)[:3]
    try:
        if to_srgb[0, 0] > _NO_MATRIX:
            xyz_to_camera = np.linalg.inv(to_srgb * daylight) @ np.linalg.inv(_SRGB_TO_XYZ)
        else:
            camera = xyz_to_camera @ _SRGB_TO_XYZ
            to_srgb = np.linalg.inv(camera / camera.sum(axis=1, keepdims=True))
    except np.linalg.LinAlgError:
        return None
    if raw.num_colors != 3 or not (np.isfinite(to_srgb).all() and np.isfinite(xyz_to_camera).all()):
        return None
    shot = np.asarray(raw.camera_whitebalance, np.float64)[:3]
    gains = shot if shot[0] > 0 else daylight
    return {
        "to_srgb": to_srgb.tolist(),
        "xyz_to_camera": xyz_to_camera.tolist(),
        "gains": (gains / gains.min()).tolist(),
        "tags": _dng_colours(path),
    }


def _plateau(raw: Any) -> int | None:
    """The count at which the sensor clips, where that is below the white level of the file."""
    mosaic = raw.raw_image_visible if raw.raw_type.name == "Flat" else raw.raw_image
    if mosaic is None:
        return None
    black = float(np.mean(raw.black_level_per_channel))
    scale = max(float(raw.white_level) - black, 1.0)
    found = find_plateau((np.asarray(mosaic)[::2].ravel().astype(np.float32) - black) / scale, lowest=_LOWEST_CLIP)
    return None if found is None else round(found * scale + black)


def read_raw_exposure(path: str | Path) -> Exposure | None:
    """The exposure in a raw file's metadata, without developing it. Raises like :func:`read_raw`."""
    with _opened(Path(path)) as raw:
        return _exposure(raw.other, Path(path))


def read_raw_moment(path: str | Path) -> datetime | None:
    """Read the moment at which a raw file was taken, to the second, or ``None``. Raises like :func:`read_raw`."""
    with _opened(Path(path)) as raw:
        moment = raw.other.timestamp
    return moment if isinstance(moment, datetime) and moment.year > 1970 else None


def _exposure(other: Any, path: Path) -> Exposure | None:
    found = {"ExposureTime": other.shutter_speed, "FNumber": other.aperture}
    found["Exif:PhotographicSensitivity"] = other.iso_speed
    # Of an empty time with an empty APEX field LibRaw makes 1 s, and it does not read sensitivities of 32 bits.
    if (other.shutter_speed == 1 or not other.iso_speed) and (photograph := read_photograph(path)) is not None:
        found |= photograph.to_attributes()
    return exposure_from_attributes(found)


def _dng_colours(path: Path) -> dict[str, Any]:
    """Colours of the camera as a DNG states them, by the numbers of the tags; LibRaw keeps them to itself."""
    import tifffile

    with contextlib.suppress(Exception), tifffile.TiffFile(path) as file:  # not every raw file is a TIFF
        tags = file.pages.first.tags
        return {str(number): tags[number].value for number in _DNG_COLOURS if number in tags}
    return {}


def _white_balance(rawpy: Any, choice: str | tuple[float, float, float]) -> dict[str, Any]:
    if choice == "camera":
        return {"use_camera_wb": True}
    if choice == "daylight":
        return {"use_camera_wb": False, "use_auto_wb": False}
    if choice == "none":
        return {"user_wb": [1.0, 1.0, 1.0, 1.0], "output_color": rawpy.ColorSpace.raw}
    if not isinstance(choice, str) and len(choice) == 3 and all(gain > 0 for gain in choice):
        red, green, blue = choice
        return {"user_wb": [red, green, blue, green]}
    raise ArgumentError("white_balance", "camera, daylight, none or three gains above 0", repr(choice))


def _rawpy() -> Any:
    try:
        import rawpy
    except ImportError as error:
        raise DependencyError("Raw files need rawpy: pip install 'napari-afunet[raw]'.") from error
    return rawpy

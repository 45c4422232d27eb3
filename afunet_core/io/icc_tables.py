"""Profiles of tables (scanners, printers, sRGB of version 4), by LittleCMS: with Pillow, 16 bits with imagecodecs."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from afunet_core.io.icc import srgb_profile

if TYPE_CHECKING:
    from PIL.Image import Image


def convert_by_profile(pixels: np.ndarray, profile: bytes, name: str) -> np.ndarray | None:
    """Convert RGB pixels, 8 or 16 bits, to sRGB; ``None``, with a warning, where the profile cannot be used."""
    found: np.ndarray | None = None
    is_rgb = pixels.ndim == 3 and pixels.shape[2] >= 3 and profile[16:20] == b"RGB "
    if is_rgb and pixels.dtype in (np.uint8, np.uint16):
        found = _converted(np.ascontiguousarray(pixels[..., :3]), profile)
    if found is None:
        message = f"{name}: its ICC profile cannot be used; its colours are taken for sRGB. Export it with a profile "
        warnings.warn(message + "of matrix and curves, such as sRGB or Adobe RGB.", UserWarning, stacklevel=4)
        return None
    return np.concatenate([found, pixels[..., 3:]], axis=2)


def _converted(pixels: np.ndarray, profile: bytes) -> np.ndarray | None:
    try:
        if pixels.dtype == np.uint8:
            from PIL import Image

            return _by_pillow(Image.fromarray(pixels), profile)
        import imagecodecs

        return np.asarray(
            imagecodecs.cms_transform(pixels, profile, srgb_profile(), colorspace="rgb", outcolorspace="rgb")
        )
    except Exception:  # LittleCMS refuses profiles in many ways, imagecodecs may be missing
        return None


def _by_pillow(picture: Image, profile: bytes) -> np.ndarray:
    from PIL import ImageCms

    own, srgb = (ImageCms.ImageCmsProfile(io.BytesIO(data)) for data in (profile, srgb_profile()))
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    return np.asarray(ImageCms.profileToProfile(picture, own, srgb, renderingIntent=intent, outputMode="RGB"))


def read_by_profile(path: Path, profile: bytes | None, page: int) -> np.ndarray | None:
    """Read a page in CMYK, by its profile, or in CIELAB, as sRGB of 8 bits; ``None`` where that cannot be done."""
    from PIL import Image, ImageCms

    try:
        with Image.open(path) as picture:
            picture.seek(page)
            if picture.mode == "LAB":
                profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
            elif picture.mode == "CMYK":
                profile = profile or picture.info.get("icc_profile")
            else:
                return None
            return _by_pillow(picture, profile) if profile else None
    except Exception:  # whatever is wrong is told by whoever reads the pixels
        return None

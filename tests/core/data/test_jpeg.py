"""The model of JPEG files, held against libjpeg."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from afunet_core.data.synthesis.jpeg import jpeg_file


def picture(height: int, width: int) -> np.ndarray:
    """Colour with edges and texture, 8 bits."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    base = np.stack([np.sin(x / 7), np.cos(y / 9), np.sin((x + y) / 13)], -1) * 60 + 128
    base[height // 3 : height // 2, width // 4 :] += (70, -50, 20)
    return (base + rng.normal(0, 6, base.shape)).clip(0, 255).round().astype(np.uint8)


def libjpeg(pixels: np.ndarray, quality: int, subsampled: bool) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=2 if subsampled else 0)
    return np.asarray(Image.open(buffer)).astype(float)


@pytest.mark.parametrize("subsampled", [False, True])
@pytest.mark.parametrize("quality", [40, 80, 95])
@pytest.mark.parametrize("size", [(64, 96), (50, 37)])
def test_files_are_those_of_libjpeg(quality, subsampled, size):
    pixels = picture(*size)
    wanted = libjpeg(pixels, quality, subsampled)
    given = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    found = jpeg_file(given, [quality], [subsampled])[0].permute(1, 2, 0).numpy() * 255
    ours, theirs = (np.sqrt(np.square(other - wanted).mean()) for other in (found, pixels))
    assert ours < 0.4 * theirs  # libjpeg transforms in whole numbers, so that single coefficients round otherwise
    assert ours < 2.5


def test_pictures_of_a_batch_have_their_own_quality():
    given = torch.from_numpy(picture(32, 48)).permute(2, 0, 1)[None].repeat(2, 1, 1, 1) / 255
    both = jpeg_file(given, [50, 95], [True, False])
    torch.testing.assert_close(both[:1], jpeg_file(given[:1], [50], [True]), rtol=0, atol=1e-6)
    torch.testing.assert_close(both[1:], jpeg_file(given[1:], [95], [False]), rtol=0, atol=1e-6)

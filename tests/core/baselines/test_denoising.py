"""The guided filter of a merge whose noise is known."""

from __future__ import annotations

import pytest
import torch

from afunet_core.baselines.denoising import denoise_guided


def picture(size: int = 48) -> torch.Tensor:
    x = torch.linspace(0.1, 0.5, size).expand(1, 3, size, size).clone()
    x[..., size // 2 :, :] += 0.3
    return x


@pytest.mark.parametrize("deviation", [0.005, 0.02])
def test_noise_falls_and_edges_stay(deviation):
    truth = picture()
    noisy = truth + deviation * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    cleaned = denoise_guided(noisy, torch.full_like(noisy, deviation**2))
    assert float((cleaned - truth).square().mean()) < 0.4 * float((noisy - truth).square().mean())
    edge = slice(22, 26)
    step = (cleaned[..., 24, :] - cleaned[..., 23, :]).mean()
    assert abs(float(step) - 0.3) < 0.03
    assert float((cleaned - truth)[..., edge, :].abs().mean()) < 2 * deviation


def test_without_noise_a_grey_picture_stays():
    grey = picture().mean(1, keepdim=True).expand(-1, 3, -1, -1)
    torch.testing.assert_close(denoise_guided(grey, torch.zeros_like(grey)), grey, rtol=1e-3, atol=1e-3)

"""Every loss against NumPy or the metric it belongs to; gradients, precisions and twins are in the contract."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from afunet_core import losses
from afunet_core.errors import ArgumentError, ShapeError
from afunet_core.metrics import psnr_linear, psnr_mu
from afunet_core.radiometry import mu_law


@pytest.fixture
def pair(checks):
    return checks.uniform(2, 3, 8, 10, low=0.05), checks.uniform(2, 3, 8, 10, low=0.05, seed=1)


def test_mu_l1(checks, pair):
    prediction, target = (np.log(1 + 5000 * x.numpy()) / np.log(5001) for x in pair)
    checks.close(losses.mu_l1_loss(*pair), np.abs(prediction - target).mean())


def test_radiance(checks, pair):
    checks.close(losses.radiance_loss(*pair, kind="l1"), (pair[0] - pair[1]).abs().mean())
    rms = 10 ** (-psnr_linear(*pair) / 20)
    checks.close(losses.radiance_loss(*pair), rms.mean(), tolerance=1e-9)
    shadow, highlight = (torch.full((1, 3, 4, 4), level) for level in (0.01, 0.8))
    ratio = lambda loss: loss(highlight * 1.1, highlight) / loss(shadow * 1.1, shadow)  # noqa: E731
    assert ratio(losses.radiance_loss) > 20 * ratio(losses.mu_l1_loss)  # it sees what the μ-law hides


@pytest.mark.parametrize("norm", ["backward", "ortho"])
@pytest.mark.parametrize("mu", [5000.0, None])
def test_fourier(checks, pair, norm, mu):
    images = pair if mu is None else [mu_law(x) for x in pair]
    difference = np.subtract(*(np.fft.rfft2(x.numpy(), norm=norm) for x in images))
    expected = (np.abs(difference.real) + np.abs(difference.imag)).mean() / 2
    checks.close(losses.fourier_l1_loss(*pair, mu=mu, norm=norm), expected, tolerance=1e-9)


def test_sum(checks, pair):
    loss = losses.HDRLoss(mu_l1=2.0, radiance=0.3, fourier=0.005)
    terms = loss.terms(*pair)
    assert set(terms) == {"mu_l1", "radiance", "fourier"}
    checks.close(terms["fourier"], losses.fourier_l1_loss(*pair))
    expected = 2 * losses.mu_l1_loss(*pair) + 0.3 * losses.radiance_loss(*pair) + 0.005 * terms["fourier"]
    checks.close(loss(*pair), expected)


LOSSES = {
    "mu_l1": (losses.mu_l1_loss, losses.MuL1Loss()),
    "radiance": (losses.radiance_loss, losses.RadianceLoss()),
    "radiance_l1": (partial(losses.radiance_loss, kind="l1"), losses.RadianceLoss("l1")),
    "fourier": (losses.fourier_l1_loss, losses.FourierL1Loss()),
    "decibel": (losses.decibel_loss, losses.DecibelLoss()),
    "hdr": (losses.HDRLoss(), losses.HDRLoss()),
}


@pytest.mark.parametrize("name", LOSSES)
def test_zero_for_equal_images_with_a_finite_gradient(checks, pair, name):
    target = checks.uniform(1, 3, 6, 6)
    target[..., 0] = 0
    if name != "decibel":  # a logarithm
        assert LOSSES[name][0](target, target).item() == pytest.approx(0, abs=2e-6)
    checks.finite_gradients(lambda p: LOSSES[name][0](p, target), target)
    with pytest.raises(ShapeError, match="prediction: expected B×C×H×W like the target"):
        LOSSES[name][0](pair[0][:, :1], pair[1])


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "hdr"])
def test_reductions(checks, pair, name):
    function, module = LOSSES[name]
    apart = function(*pair, reduction="none")
    assert len(apart) == len(pair[0])
    checks.close(function(*pair), apart.mean())
    checks.close(function(*pair, reduction="sum"), apart.sum(), tolerance=1e-9 * apart.numel())
    module = type(module)(reduction="none") if name != "radiance_l1" else losses.RadianceLoss("l1", "none")
    checks.close(module(*pair), apart)
    with pytest.raises(ArgumentError, match="reduction: expected one of mean, sum, none"):
        function(*pair, reduction="median")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radiance_kind": "huber"}, "kind"),
        ({"fourier": -1}, "fourier: expected a weight of at least 0"),
        ({"mu_l1": 0, "radiance": 0}, "one weight above 0"),
        ({"perceptual": 0.005}, "features: expected VGG-19 features"),
    ],
)
def test_what_cannot_be_is_named(options, message):
    with pytest.raises(ArgumentError, match=message):
        losses.HDRLoss(**options)(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1))


def test_ten_decibels_are_one_order_in_each_domain(checks):
    truth = checks.uniform(1, 3, 8, 8)
    found = (truth + 0.1 * checks.uniform(1, 3, 8, 8, seed=1)).clamp(0, 1)
    errors = [10 ** (-psnr(found, truth) / 10) + 1e-5 for psnr in (psnr_mu, psnr_linear)]
    expected = (errors[0].log10() + 0.5 * errors[1].log10()).squeeze()
    checks.close(losses.decibel_loss(found, truth), expected, tolerance=1e-9)

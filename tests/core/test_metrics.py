from __future__ import annotations

import math

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from afunet_core import metrics
from afunet_core.errors import ArgumentError, ShapeError
from afunet_core.radiometry import mu_law


@pytest.fixture
def pair(checks):
    """A textured truth and a result that is close to it."""
    truth = checks.uniform(2, 3, 33, 40)
    return (truth + 0.1 * checks.uniform(2, 3, 33, 40, low=-1, seed=1)).clamp(0, 1), truth


def skimage_ssim(image, target, peak=1.0):
    """scikit-image averages the whole picture less its border: ask for the map and cut the valid region ourselves."""
    values = []
    for x, y in zip(image.cpu().numpy(), target.cpu().numpy(), strict=True):
        window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": 0}
        _, full = structural_similarity(x, y, **window, data_range=peak, full=True)
        values.append(full[:, 5:-5, 5:-5].mean())
    return values


class TestPSNR:
    @pytest.mark.parametrize("peak", [1.0, 255.0])
    def test_agrees_with_scikit_image(self, checks, pair, peak):
        image, truth = (peak * x for x in pair)
        pairs = zip(image.cpu().numpy(), truth.cpu().numpy(), strict=True)
        expected = [peak_signal_noise_ratio(y, x, data_range=peak) for x, y in pairs]
        checks.close(metrics.psnr(image, truth, peak), expected, tolerance=1e-6)

    def test_domains(self, checks, pair):
        image, truth = pair
        checks.close(metrics.psnr_linear(image, truth), metrics.psnr(image, truth))
        checks.close(metrics.psnr_mu(image, truth), metrics.psnr(mu_law(image), mu_law(truth)))
        checks.close(metrics.psnr_mu(image, truth, mu=10.0), metrics.psnr(mu_law(image, 10.0), mu_law(truth, 10.0)))

    @pytest.mark.parametrize("metric", [metrics.psnr_linear, metrics.psnr_mu, metrics.ssim_linear, metrics.ssim_mu])
    def test_what_no_display_shows_does_not_count(self, checks, pair, metric):
        image, truth = pair
        outside_image, outside_truth = image.clone(), truth.clone()
        outside_image[truth > 0.9], outside_truth[truth > 0.9] = 7.0, 3.0
        image[truth > 0.9], truth[truth > 0.9] = 1.0, 1.0
        checks.close(metric(outside_image, outside_truth), metric(image, truth))

    def test_masks_split_the_error(self, checks, pair):
        image, truth = pair
        mask = torch.zeros(2, 1, 33, 40, dtype=torch.bool)
        mask[:, :, 4:20, 7:31] = True
        inside, outside = metrics.psnr(image, truth, mask=mask), metrics.psnr(image, truth, mask=~mask)
        checks.close(inside, metrics.psnr(image[..., 4:20, 7:31], truth[..., 4:20, 7:31]))
        error = lambda decibel: 10 ** (-decibel / 10)  # noqa: E731
        share = mask.double().mean()
        checks.close(
            share * error(inside) + (1 - share) * error(outside), error(metrics.psnr(image, truth)), tolerance=1e-9
        )
        checks.close(metrics.psnr_mu(image, truth, mask=mask[:1]), metrics.psnr_mu(image, truth, mask=mask))

    def test_equal_images_are_infinitely_good_and_a_mask_of_nothing_says_so(self, pair):
        assert (metrics.psnr(pair[1], pair[1]) == math.inf).all()
        assert metrics.psnr(*pair, mask=torch.zeros(2, 1, 33, 40)).isnan().all()

    def test_errors(self, pair):
        image, truth = pair
        with pytest.raises(ShapeError, match="image: expected B×C×H×W like the target"):
            metrics.psnr(image[..., 1:], truth)
        with pytest.raises(ShapeError, match="mask"):
            metrics.psnr(image, truth, mask=torch.ones(2, 1, 3, 3))
        with pytest.raises(ArgumentError, match="max_val"):
            metrics.psnr(image, truth, 0.0)


class TestSSIM:
    def test_agrees_with_scikit_image(self, checks, pair):
        image, truth = pair
        checks.close(metrics.ssim_mu(*pair), skimage_ssim(mu_law(image), mu_law(truth)), tolerance=1e-6)
        checks.close(metrics.ssim_linear(*pair), skimage_ssim(*pair), tolerance=1e-6)

    def test_the_authors_variant_agrees_with_scikit_image(self, checks, pair):
        image, truth = (1.3 * x - 0.1 for x in pair)  # outside [0, 1], where clipping matters
        clipped = [(255 * x).clamp(0, 255) for x in (image, truth)]
        checks.close(metrics.ssim_authors(image, truth), skimage_ssim(*clipped, peak=255.0), tolerance=1e-6)
        assert (metrics.ssim_authors(image, truth) - metrics.ssim(image, truth)).abs().min() > 1e-4

    def test_strips_of_large_images_do_not_show(self, checks, monkeypatch, pair):
        """Gradients included: the rows beyond a strip are computed twice and must count once."""

        def measured():
            image = pair[0].clone().requires_grad_()
            value = metrics.ssim(image, pair[1])
            return value, torch.autograd.grad(value.sum(), image)[0]

        whole = measured()
        monkeypatch.setattr(metrics, "_PIXELS_AT_ONCE", 1)  # of 33 rows one at a time
        for found, expected in zip(measured(), whole, strict=True):
            checks.close(found, expected)

    def test_half_precision_is_as_exact_as_its_result(self, checks, pair):
        for dtype, tolerance in ((torch.float16, 1e-3), (torch.bfloat16, 8e-3)):
            image, truth = (x.to(dtype) for x in pair)
            assert metrics.ssim(image, truth).dtype == dtype
            checks.close(metrics.ssim(image, truth), skimage_ssim(image.double(), truth.double()), tolerance=tolerance)

    def test_too_small_for_the_window(self):
        with pytest.raises(ShapeError, match="at least 11×11"):
            metrics.ssim(torch.zeros(1, 3, 10, 40), torch.zeros(1, 3, 10, 40))


@pytest.mark.parametrize("name", metrics.METRICS)
class TestRegistry:
    def test_every_metric_describes_itself(self, name):
        metric = metrics.METRICS[name]
        assert metric.unit == ("dB" if "PSNR" in name else "")
        assert metric.peak > 0
        assert ("μ-law" in metric.definition) == ("μ" in name)

    def test_samples_stand_alone(self, checks, pair, name):
        function = metrics.METRICS[name].function
        together = function(*pair)
        assert together.shape == (2,)
        for index in range(2):
            checks.close(together[index : index + 1], function(*(x[index : index + 1] for x in pair)))

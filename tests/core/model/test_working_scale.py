"""The anchored head at a coarser scale: what must not change, and where the enlarged maps have their edges."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from afunet_core.model.afunet import AFUNet
from afunet_core.model.config import COMPACT
from afunet_core.model.heads import anchored_merge, estimate_times
from afunet_core.model.streaming.at_scale import enlarged_maps, fit_maps, reduce_frames, stream_at_scale
from afunet_core.model.streaming.stream import stream
from afunet_core.radiometry import network_input

TINY = replace(COMPACT, embed_dim=12, depths=(1, 1), fusion_heads=2, window_size=4)
TIMES = torch.tensor([1.0, 4.0, 16.0])


def model(seed: int = 0) -> AFUNet:
    torch.manual_seed(seed)
    return AFUNet(TINY).eval()


def frames(height: int = 40, width: int = 52, seed: int = 0) -> torch.Tensor:
    scene = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 0.3
    return network_input([(scene * time).clamp(0, 1) ** (1 / 2.2) for time in TIMES], TIMES)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_maps_without_edges_give_the_same_image_at_every_scale(scale):
    network, given = model(), frames()
    with torch.no_grad():  # the head says the same everywhere: all detail is the frames' own
        network.head.conv.weight.zero_()
        torch.testing.assert_close(stream_at_scale(network, given, scale)[0], network(given), rtol=1e-4, atol=1e-5)


def test_reduced_frames_are_consistent_network_input():
    given = frames()
    coarse = reduce_frames(given, 2).unflatten(1, (3, 2, 3))
    torch.testing.assert_close(coarse[:, :, 0], coarse[:, :, 1] ** 2.2 / TIMES.view(1, 3, 1, 1, 1))
    torch.testing.assert_close(estimate_times(reduce_frames(given, 4)), estimate_times(given))
    torch.testing.assert_close(
        coarse[:, :, 0], F.avg_pool2d(given.unflatten(1, (3, 2, 3))[:, :, 0].flatten(1, 2), 2).unflatten(1, (3, 3))
    )


def test_edges_of_the_maps_lie_where_the_frames_have_theirs():
    scene = torch.full((1, 3, 32, 32), 0.05)
    scene[..., 13:] = 0.2  # inside a block of two pixels
    given = network_input([(scene * time).clamp(0, 1) ** (1 / 2.2) for time in TIMES], TIMES)
    wanted = torch.where(scene[:, :1] > 0.1, 3.0, -2.0).expand(-1, 4, -1, -1)
    coarse = reduce_frames(given, 2)
    maps = torch.cat([torch.full((1, 3, 16, 16), 0.1), F.avg_pool2d(wanted, 2)], dim=1)
    prior, trust = enlarged_maps(fit_maps(maps, coarse), 2, given, (0, 32)).split((3, 4), dim=1)
    blurred = F.interpolate(maps[:, 3:], scale_factor=2, mode="bilinear")
    assert float((trust - wanted).abs().mean()) < 0.3 * float((blurred - wanted).abs().mean())
    torch.testing.assert_close(prior, torch.full_like(prior, 0.1), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("size", [(37, 41), (90, 33), (5, 3)])
@pytest.mark.parametrize("scale", [2, 4])
def test_pieces_give_the_image_of_the_whole(size, scale, monkeypatch):
    network, given = model(), torch.cat([frames(*size), frames(*size, seed=1)])
    coarse = reduce_frames(given, scale)
    maps = stream(network, coarse, times=estimate_times(given), maps=True)
    maps = enlarged_maps(fit_maps(maps, coarse), scale, given, (0, size[0]))
    whole = anchored_merge(given, estimate_times(given), *maps.split((3, 4), dim=1))
    for name, pixels in (("STRIP_PIXELS", 200), ("FITTED_PIXELS", 600)):
        monkeypatch.setattr(f"afunet_core.model.streaming.at_scale.{name}", pixels)
    image, share = stream_at_scale(network, given, scale)
    torch.testing.assert_close(image, whole, rtol=1e-3, atol=1e-4)
    assert share == 1.0


def test_everywhere_is_the_exact_result():
    network, given = model(), frames(90, 61)
    exact = stream(network, given, maps=True)
    torch.testing.assert_close(stream(network, given, maps=True, where=torch.ones(90, 61)), exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [1, 2])
def test_far_from_what_is_wanted_all_frames_are_trusted_alike(scale):
    network, other, given = model(), model(1), frames(160, 160)
    where = torch.zeros(1, 1, 160, 160)
    where[..., 4:12, 4:12] = 1
    (one, share), (two, _) = (stream_at_scale(each, given, scale, where) for each in (network, other))
    assert 0 < share < 0.2 * scale**2
    assert not torch.equal(one[..., :16, :16], two[..., :16, :16])
    torch.testing.assert_close(one[..., 100:, 100:], two[..., 100:, 100:], rtol=1e-4, atol=1e-5)
    if scale == 1:  # where all frames say the same, so does their mean
        torch.testing.assert_close(one[..., 100:, 100:], given[:, :3, 100:, 100:], rtol=1e-4, atol=1e-4)


def test_what_is_far_from_the_wanted_does_not_matter_wherever_features_are_kept():
    """The sums of channel attention are of what is wanted, too; a file keeps what memory keeps."""
    network, given = model(), frames(160, 160)
    other = given.clone()
    other[..., 100:, 100:] = frames(60, 60, seed=1)
    where = torch.zeros(160, 160)
    where[4:20, 4:20] = 1
    options = {"times": TIMES[None], "maps": True, "where": where}
    near = stream(network, given, **options)
    torch.testing.assert_close(stream(network, other, **options)[..., :20, :20], near[..., :20, :20])
    torch.testing.assert_close(stream(network, given, memory_budget=0, **options), near)
    assert not torch.equal(stream(network, given, times=TIMES[None], maps=True)[..., :20, :20], near[..., :20, :20])


def test_nowhere_needs_no_network():
    image, share = stream_at_scale(model(), frames(), 2, torch.zeros(1, 1, 5, 5))
    assert share == 0.0
    assert torch.isfinite(image).all()

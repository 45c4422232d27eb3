"""What kornia's operator costs wherever this package has one of its own, at the sizes of a 1000×1504 ``merge()``.

    python benchmarks/kornia_ops.py [--repeat 15]

Processor time of one thread, ours and kornia's in turn, least of several runs, so that other work on the machine hardly
matters; and the largest difference of the results, away from the border where the two treat it differently.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import kornia
import torch
import torch.nn.functional as F
from kornia.filters import box_blur, filter2d, filter2d_separable, gaussian_blur2d, spatial_gradient
from kornia.geometry import create_meshgrid, pyrdown, remap, transform_points, warp_perspective
from torch import Tensor

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from afunet_core import radiometry
from afunet_core.baselines import mertens
from afunet_core.motion import compensation as motion_compensation
from afunet_core.motion import optical_flow
from afunet_core.ops import box_filter
from afunet_core.ops import warp as warping
from afunet_core.registration import features as registration_features

Run = Callable[[], Tensor]
MOTION = torch.tensor([[0.9995, -0.02, 12.3], [0.021, 1.0003, -7.2], [1e-6, -2e-6, 1.0]], dtype=torch.float64)


def pairs(height: int = 1000, width: int = 1504) -> Iterator[tuple[str, Run, Run, int]]:
    """Name, ours, kornia's, and how many pixels of the border are not compared."""
    draw = torch.Generator().manual_seed(0)
    noise = torch.rand(1, 3, height + 4, width + 4, generator=draw)
    frame = F.avg_pool2d(noise, 5, 1).contiguous()
    strip = frame[..., :44, :].contiguous()  # as exposure fusion works on large images
    half = F.avg_pool2d(frame, 2)  # as registration and following work on them
    grey, quarter = half[:, :1].contiguous(), F.avg_pool2d(half, 2)[:, :1].contiguous()

    yield (
        "sRGB to light",
        lambda: radiometry.linearize(frame, "srgb"),
        lambda: kornia.color.rgb_to_linear_rgb(frame),
        0,
    )
    yield (
        "light to sRGB",
        lambda: radiometry.encode(frame, "srgb"),
        lambda: kornia.color.linear_rgb_to_rgb(frame),
        0,
    )
    yield from _registering(frame, grey, quarter)
    yield from _windows(quarter, draw)
    yield from _following(half, grey, draw)
    yield from _fusing(frame, strip)


def _registering(frame: Tensor, grey: Tensor, quarter: Tensor) -> Iterator[tuple[str, Run, Run, int]]:
    size = (frame.shape[-2], frame.shape[-1])
    source = warping._source_grid(MOTION[None], range(size[0]), size[1])
    inverse = torch.linalg.inv(MOTION).float()
    for mode in ("bilinear", "bicubic"):
        yield (
            f"warp, {mode}, without limits and mask",
            lambda mode=mode: warping._sample(  # type: ignore[misc]
                frame, warping._normalise(warping._source_grid(MOTION[None], range(size[0]), size[1]), *size), mode
            ),
            lambda mode=mode: warp_perspective(frame, MOTION[None].float(), size, mode, "border"),  # type: ignore[misc]
            0,
        )
    yield (
        "bicubic sampling at places",
        lambda: warping._sample(frame, warping._normalise(source, *size), "bicubic"),
        lambda: remap(frame, source[..., 0], source[..., 1], "bicubic", "border", align_corners=True),
        0,
    )
    yield (
        "where each pixel comes from",
        lambda: warping._source_grid(MOTION[None], range(size[0]), size[1]),
        lambda: transform_points(inverse, create_meshgrid(*size, normalized_coordinates=False)),
        0,
    )
    corners = warping._corners(*size)
    yield (
        "homography on four points",
        lambda: warping.transfer_points(MOTION, corners),
        lambda: transform_points(MOTION, corners),
        0,
    )

    def blurred(image: Tensor) -> Tensor:
        """``_lowpass`` with kornia's Gaussian."""
        small = F.avg_pool2d(image, 4, ceil_mode=True, count_include_pad=False)
        small = gaussian_blur2d(small, 11, (registration_features.CONTEXT,) * 2, "replicate")
        grown = F.interpolate(small, scale_factor=4.0, mode="bilinear", align_corners=False)
        return grown[..., : image.shape[-2], : image.shape[-1]]

    for image in (grey, quarter):
        name = f"wide Gaussian of {image.shape[-2]}×{image.shape[-1]}"
        yield name, lambda x=image: registration_features._lowpass(x), lambda x=image: blurred(x), 0  # type: ignore[misc]
    taps, second = torch.tensor([[0.25, 0.5, 0.25]]), torch.tensor([[1.0, -2.0, 1.0]])
    yield (
        "[1 2 1] along both axes",
        lambda: registration_features._binomial(grey),
        lambda: filter2d_separable(grey, taps, taps, "replicate"),
        0,
    )

    def laplacian() -> Tensor:
        """The filter in ``noise_level``, without its median."""
        across = grey[..., 2:] - 2 * grey[..., 1:-1] + grey[..., :-2]
        return across[..., 2:, :] - 2 * across[..., 1:-1, :] + across[..., :-2, :]

    yield (
        "Laplacian for the noise",
        laplacian,
        lambda: filter2d_separable(grey, second, second, padding="valid"),
        0,
    )

    def slopes() -> Tensor:
        """The filter in ``Template.of``."""
        x, y = torch.zeros_like(grey), torch.zeros_like(grey)
        x[..., 1:-1] = (grey[..., 2:] - grey[..., :-2]) / 2
        y[..., 1:-1, :] = (grey[..., 2:, :] - grey[..., :-2, :]) / 2
        return torch.stack((x, y), 2)

    yield "slopes to register by", slopes, lambda: spatial_gradient(grey, "diff"), 1


def _windows(quarter: Tensor, draw: torch.Generator) -> Iterator[tuple[str, Run, Run, int]]:
    costs = torch.rand(4, 9, *quarter.shape[-2:], generator=draw)
    for name, image, side in (("of 36 maps", costs, 11), ("of one map", quarter, 5)):
        yield (
            f"mean of {side}×{side} {name}",
            lambda x=image, s=side: box_filter.window_mean(x, s),  # type: ignore[misc]
            lambda x=image, s=side: box_blur(x, s, "constant"),  # type: ignore[misc]
            side // 2,
        )
    for side in (3, 5):
        yield (
            f"largest of {side}×{side}",
            lambda s=side: box_filter.window_max(quarter, s),  # type: ignore[misc]
            lambda s=side: kornia.morphology.dilation(quarter, torch.ones(s, s)),  # type: ignore[misc]
            0,
        )


def _following(half: Tensor, grey: Tensor, draw: torch.Generator) -> Iterator[tuple[str, Run, Run, int]]:
    quarter = F.avg_pool2d(half, 2).expand(4, -1, -1, -1)  # there and back of two frames
    flow = 3 * torch.randn(4, 2, *quarter.shape[-2:], generator=draw)

    def mapped() -> Tensor:
        height, width = quarter.shape[-2:]
        places = create_meshgrid(height, width, normalized_coordinates=False) + flow.permute(0, 2, 3, 1)
        return remap(quarter, places[..., 0], places[..., 1], padding_mode="border", align_corners=True)

    yield "sampling along the motion", lambda: optical_flow.sample_at(quarter, flow), mapped, 0
    yield (
        "slopes to match by",
        lambda: optical_flow._with_slopes(grey)[:, 1:],
        lambda: spatial_gradient(grey, "diff", normalized=False)[:, 0],
        0,
    )
    frame = half[0]
    x, y = (torch.rand(40_000, generator=draw) * (size - 1) for size in (frame.shape[-1], frame.shape[-2]))
    stack = type("Stack", (), {"encoding": "linear", "gamma": 2.2})()
    yield (
        "bicubic sampling of 40,000 points",
        lambda: motion_compensation._sampled(frame, x, y, stack),
        lambda: remap(half, x[None, None], y[None, None], "bicubic", "border", align_corners=True).clamp(0, 1)[0, :, 0],
        0,
    )


def _fusing(frame: Tensor, strip: Tensor) -> Iterator[tuple[str, Run, Run, int]]:
    four = torch.tensor([[[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]])
    red, green, blue = strip.unbind(1)
    yield (
        "grey for exposure fusion",
        lambda: (0.299 * red).add_(green, alpha=0.587).add_(blue, alpha=0.114)[:, None],
        lambda: kornia.color.rgb_to_grayscale(strip),
        0,
    )
    grey = kornia.color.rgb_to_grayscale(strip)
    yield (
        "Laplacian for exposure fusion",
        lambda: mertens._laplacian(grey[:, 0])[:, None],
        lambda: filter2d(grey, four)[..., 1:-1, :],
        0,
    )
    yield "halving for a pyramid", lambda: mertens._halve(frame), lambda: pyrdown(frame), 0


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeat", type=int, default=15)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print("| operation | ours (ms) | kornia (ms) | kornia / ours | difference |\n|---|---:|---:|---:|---:|")
    with torch.no_grad():
        for name, ours, theirs, border in pairs():
            one, other = ours(), theirs()
            inner = slice(border, -border or None)
            difference = float((one - other)[..., inner, inner].abs().max())
            least = [math.inf, math.inf]
            for _ in range(options.repeat):
                for index, run in enumerate((ours, theirs)):
                    start = time.process_time()
                    run()
                    least[index] = min(least[index], time.process_time() - start)
            mine, their = (1e3 * seconds for seconds in least)
            print(f"| {name} | {mine:.3f} | {their:.3f} | {their / mine:.2f} | {difference:.1e} |", flush=True)


if __name__ == "__main__":
    main()

"""Large brackets, made row by row: texture everywhere, a hand that shifts and turns, and discs that move."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

import afunet_core as af
from afunet_core.data.synthesis.scenes import SceneBank

TIMES = (1.0, 4.0, 16.0)
TURN, SHIFT = math.radians(0.25), (31.4, -17.8)
"""How far the hand moved from one frame to the next: radians about the centre, pixels along x and y."""


def bracket(height: int, width: int) -> af.Bracket:
    """Three frames of ``height×width``, EV 0, 2, 4, made in strips."""
    scene, generator = scenery(), torch.Generator().manual_seed(1)
    frames = []
    for index, exposure in enumerate(TIMES):
        frame = torch.empty(1, 3, height, width)
        for top in range(0, height, 64):
            rows = slice(top, min(top + 64, height))
            light = scene_rows(scene, (height, width), rows, index - 1)
            light = light * exposure + 2e-3 * torch.randn(light.shape, generator=generator)
            frame[..., rows, :] = light.clamp(0, 1).pow(1 / 2.2)
        frames.append(frame)
    return af.Bracket(frames, times=TIMES, encoding="gamma", override=True)


def scenery() -> tuple[Tensor, Tensor, Tensor]:
    """Make what the scene consists of: coarse light, texture, and discs."""
    generator = torch.Generator().manual_seed(0)
    coarse = SceneBank.procedural(0).hdr[0].float()[None, :3]
    coarse = (coarse / coarse.flatten().quantile(0.98)).clamp(1e-3, 4.0)
    noise = torch.rand(1, 1, 512, 512, generator=generator)
    octaves = [F.interpolate(noise[..., : 512 // k, : 512 // k], size=(512, 512), mode="bicubic") for k in (1, 2, 4)]
    texture = torch.stack(octaves).sum(0)
    discs = torch.rand(12, 3, generator=generator)
    return coarse, texture, discs


def scene_rows(scene: tuple[Tensor, Tensor, Tensor], size: tuple[int, int], rows: slice, moved: int) -> Tensor:
    """Linear light of some rows, ``1×3×rows×W``, as seen after ``moved`` steps of the hand."""
    coarse, texture, discs = scene
    height, width = size
    y = torch.arange(rows.start, rows.stop, dtype=torch.float64)[:, None] - height / 2
    x = torch.arange(width, dtype=torch.float64)[None] - width / 2
    turn = moved * TURN
    seen_x = math.cos(turn) * x - math.sin(turn) * y + moved * SHIFT[0]
    seen_y = math.sin(turn) * x + math.cos(turn) * y + moved * SHIFT[1]
    whole = torch.stack([2 * seen_x / width, 2 * seen_y / height], -1)[None].float()
    tile = torch.stack([seen_x / 256, seen_y / 256], -1)[None].float()
    light = F.grid_sample(coarse, 0.95 * whole, mode="bilinear", padding_mode="reflection", align_corners=False)
    detail = F.grid_sample(texture, tile, mode="bilinear", padding_mode="reflection", align_corners=False)
    light = light * (0.55 + 0.3 * detail)
    for centre_x, centre_y, tone in discs.tolist():
        radius = 0.004 * width
        left, middle = (centre_x - 0.5) * 0.9 * width + 2.5 * moved * radius, (centre_y - 0.5) * 0.9 * height
        if seen_y.min() - radius < middle < seen_y.max() + radius:
            inside = (seen_x - left) ** 2 + (seen_y - middle) ** 2 < radius**2
            light = torch.where(inside, 0.4 * tone, light)
    return light

"""Displacement of every pixel at the three instants, from the motions that were drawn; batched over brackets.

The frame shows at pixel p what the scene has at p + displacement(p).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import kornia
import numpy as np
import torch
from torch import Tensor

from afunet_core.data.synthesis.draws import per_entry, select, tensor
from afunet_core.data.synthesis.motion import Parallax, SceneMotion, Sway
from afunet_core.data.synthesis.sampling import pixel_grid, smooth_fields

Size = tuple[int, int]
Device = torch.device | str


def displacements(
    motions: Sequence[SceneMotion], size: Size, device: Device = "cpu"
) -> tuple[Tensor, dict[int, Tensor]]:
    """Compute displacements (x, y) in pixels: B×3×H×W×2 of everything, and 3×H×W×2 of each camera that moves."""
    total = torch.zeros(len(motions), 3, *size, 2, device=device)
    cameras = _add(total, [motion.camera for motion in motions], camera_displacement)
    _add(total, [motion.parallax for motion in motions], _parallax_displacement)
    _add(total, [motion.sway for motion in motions], _sway_displacement)
    return total, cameras


def _add(
    total: Tensor, parts: Sequence[Any], displacement: Callable[[Sequence[Any], Size, Device], Tensor]
) -> dict[int, Tensor]:
    """Add a part of the motion to the brackets that have it. Returns what was added to which."""
    drawn = {place: part for place, part in enumerate(parts) if part is not None}
    if not drawn:
        return {}
    added = displacement(list(drawn.values()), (total.shape[2], total.shape[3]), total.device)
    for place, one in zip(drawn, added, strict=True):
        total[place] += one
    return dict(zip(drawn, added, strict=True))


def displacement_range(displacement: Tensor, motions: Sequence[SceneMotion]) -> np.ndarray:
    """B×3×2×2: for each instant and axis, the smallest and the largest displacement."""
    ranges = np.zeros((len(motions), 3, 2, 2), np.float32)
    places = [place for place, motion in enumerate(motions) if motion.moves]
    if places:
        moving = displacement[select(places, displacement.device)]
        along_axes = moving.flatten(2, 3).transpose(2, 3).contiguous()  # where extremes are found faster
        ranges[places] = torch.stack([along_axes.amin(dim=-1), along_axes.amax(dim=-1)], dim=-1).cpu().numpy()
    return ranges


def camera_displacement(homographies: Sequence[np.ndarray], size: Size, device: Device = "cpu") -> Tensor:
    """Compute B×K×H×W×2 displacements in pixels under B of K×3×3 homographies of (x, y, 1) about the centre."""
    matrices = tensor(np.stack(homographies)).to(device)
    grid = pixel_grid(*size, device=device)
    points = (grid - grid[-1, -1] / 2).flatten(0, 1)
    points = points.expand(matrices[..., 0, 0].numel(), -1, -1)
    moved = kornia.geometry.transform_points(matrices.flatten(0, 1), points) - points
    return moved.view(*matrices.shape[:2], *size, 2)


def _parallax_displacement(layers: Sequence[Parallax], size: Size, device: Device) -> Tensor:
    """N×3×H×W×2: the vectors times a smooth depth, or times layers with soft steps between."""
    depth = smooth_fields([layer.depth for layer in layers], size, device)[..., None]
    stepped = per_entry((layer.steepness is not None for layer in layers), depth).bool()
    steps = torch.sigmoid(depth * per_entry((layer.steepness or 1.0 for layer in layers), depth)) * 2 - 1
    vectors = tensor(np.stack([layer.vectors for layer in layers])).to(device)
    return torch.where(stepped, steps, depth) * vectors[:, :, None, None]


def _sway_displacement(sways: Sequence[Sway], size: Size, device: Device) -> Tensor:
    """N×3×H×W×2: nothing at the reference instant."""
    before, after = smooth_fields([sway.field for sway in sways], size, device).chunk(2, dim=1)
    swings = per_entry((sway.swing is not None for sway in sways), after).bool()
    after = torch.where(swings, -before * per_entry((sway.swing or 0.0 for sway in sways), before), after)
    region = smooth_fields([sway.region for sway in sways], size, device)
    region = torch.sigmoid((region + per_entry((sway.bias for sway in sways), region)) * 6)
    region = region * per_entry((sway.amplitude for sway in sways), region)
    return torch.stack([before * region, torch.zeros_like(before), after * region], dim=1).movedim(2, -1)

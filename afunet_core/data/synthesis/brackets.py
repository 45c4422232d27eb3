"""Exposure brackets with motion and exact truth, synthesised from HDR scenes and photographs.

Brackets are drawn first (`plan`), each from a generator of its own, then made together on any device: lit
(`lighting`), seen by moving cameras (`motion`), crossed by objects (`objects`, `painting`,
`rendering`), recorded (`sensor`, `camera`), and some of them aligned (`alignment_artifacts`). The truth is the
radiance of the reference instant before any noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.data.synthesis.alignment_artifacts import aligned_positions, follow_things, simulate_alignment
from afunet_core.data.synthesis.camera import photograph, through_lens
from afunet_core.data.synthesis.config import KINDS, Kind, SynthesisConfig
from afunet_core.data.synthesis.draws import select
from afunet_core.data.synthesis.motion import OUTER, REFERENCE, displacement, displacement_range
from afunet_core.data.synthesis.plan import BracketPlan, draw_plan, draw_shot
from afunet_core.data.synthesis.rendering import moved_mask, render_radiance
from afunet_core.data.synthesis.scenes import SceneBank
from afunet_core.data.synthesis.sensor import draw_noise, record
from afunet_core.errors import ArgumentError
from afunet_core.radiometry import GAMMA

__all__ = ["KINDS", "SynthesisConfig", "Synthesizer", "SyntheticBatch", "validation_brackets"]

_SMALLEST = 16


@dataclass
class SyntheticBatch:
    """Brackets with their truth."""

    # B×3×3×H×W, three RGB frames, shortest first, encoded with gamma 2.2 in [0, 1], after sensor, quantisation and
    # (where `registered`) registration; in some, things are followed to where the reference shows them
    frames: Tensor
    times: Tensor  # B×3 exposure times relative to the shortest frame
    # B×3×H×W linear radiance at the instant of the middle frame, in the short frame's unit, clipped to [0, 1]
    truth: Tensor
    # B×1×H×W in [0, 1], where the content differs between the instants by motion or occlusion (where `registered`:
    # still differs after it), whether or not it was followed
    moved: Tensor
    radiance: Tensor  # B×3×3×H×W noise-free radiance of each instant, before registration; not clipped to [0, 1]
    kind: list[str]  # "static", "camera", "objects" or "both", one for each bracket
    registered: list[bool]  # whether the outer frames were resampled onto the reference
    bit_depth: list[int | None]  # of the files, None where not quantised

    def __len__(self) -> int:
        return len(self.kind)

    def network_input(self) -> Tensor:
        """B×18×H×W as the network takes it: for each frame the radiance L**2.2 / t, then the encoded frame L."""
        radiance = self.frames**GAMMA / self.times[:, :, None, None, None]
        return torch.cat([radiance, self.frames], dim=2).flatten(1, 2)

    def to(self, device: torch.device | str) -> SyntheticBatch:
        """The batch on another device."""
        columns: dict[str, Any] = vars(self)
        moved = {name: value.to(device) for name, value in columns.items() if isinstance(value, Tensor)}
        return SyntheticBatch(**(columns | moved))

    def __getitem__(self, index: int) -> SyntheticBatch:
        """One bracket, as a batch of one."""
        one = slice(index, index + 1) if index != -1 else slice(-1, None)
        return SyntheticBatch(**{name: value[one] for name, value in vars(self).items()})

    @staticmethod
    def concatenate(batches: Sequence[SyntheticBatch]) -> SyntheticBatch:
        """One batch from several with pictures of the same size."""
        joined: dict[str, Any] = {}
        for name, first in vars(batches[0]).items():
            parts = [getattr(batch, name) for batch in batches]
            joined[name] = torch.cat(parts) if isinstance(first, Tensor) else list(chain(*parts))
        return SyntheticBatch(**joined)


class Synthesizer:
    """Draws brackets from a bank of scenes.

    Args:
        bank: where the light comes from.
        config: all ranges and probabilities.
        device: where pictures are computed, all brackets of a batch together. Everything but the noise is drawn on the
            CPU, so that the same generator gives the same scene on every device.

    Example:
        >>> maker = Synthesizer(SceneBank.procedural(seed=0))
        >>> batch = maker.sample(2, 64, torch.Generator().manual_seed(0))
        >>> tuple(batch.frames.shape), tuple(batch.network_input().shape)
        ((2, 3, 3, 64, 64), (2, 18, 64, 64))
    """

    def __init__(
        self, bank: SceneBank, config: SynthesisConfig | None = None, device: torch.device | str = "cpu"
    ) -> None:
        self.bank, self.config, self.device = bank, config or SynthesisConfig(), torch.device(device)
        self._backgrounds = bank.without_noise()

    def sample(
        self,
        batch: int,
        size: int | tuple[int, int],
        generator: torch.Generator,
        kind: Kind | None = None,
        enlarge: int = 1,
    ) -> SyntheticBatch:
        """Make brackets.

        Args:
            batch: how many.
            size: side, or height and width, of at least 16 pixels.
            generator: on the CPU; the same state gives the same brackets.
            kind: make this kind only; by default kinds are drawn with `config.kind_weights`.
            enlarge: render at this fraction of the size, enlarge, and only then record: pictures as soft as those of
                large sensors, whose noise is still fine, with motion in proportion.
        """
        height, width = (size, size) if isinstance(size, int) else size
        if batch < 1:
            raise ArgumentError("batch", "at least 1", batch)
        if min(height, width) < _SMALLEST * enlarge or height % enlarge or width % enlarge:
            expected = f"multiples of {enlarge} of at least {_SMALLEST * enlarge} pixels"
            raise ArgumentError("size", expected, size, "Motion needs some room.")
        if kind is not None and kind not in KINDS:
            raise ArgumentError("kind", f"one of {', '.join(KINDS)}", kind)
        seeds = torch.randint(2**62, (batch,), generator=generator).tolist()
        # One at a time on a CPU, where its frames stay in the cache of a core.
        pieces = [[seed] for seed in seeds] if self.device.type == "cpu" else [seeds]
        return SyntheticBatch.concatenate([self._make(piece, (height, width), kind, enlarge) for piece in pieces])

    @torch.no_grad()
    def _make(self, seeds: Sequence[int], full: tuple[int, int], kind: Kind | None, enlarge: int) -> SyntheticBatch:
        """Brackets of some seeds: drawn one by one, then rendered, recorded and aligned together."""
        rngs = [np.random.default_rng(seed) for seed in seeds]
        size = (full[0] // enlarge, full[1] // enlarge)
        shots = [draw_shot(rng, self.config, size, kind) for rng in rngs]
        moved, cameras = zip(*(displacement(shot.motion, size, self.device) for shot in shots), strict=True)
        banks = (self._backgrounds, self.bank)
        plans = [
            draw_plan(rng, self.config, banks, size, shot, displacement_range(field))
            for rng, shot, field in zip(rngs, shots, moved, strict=True)
        ]
        radiance, passed = render_radiance(plans, torch.stack(moved))
        if enlarge > 1:
            radiance, passed = _enlarged(radiance, full), _enlarged(passed[:, None], full)[:, 0]
            cameras = tuple(None if field is None else _enlarged_displacement(field, enlarge) for field in cameras)
        radiance, frames = _record(plans, radiance)
        times = torch.tensor([plan.shot.times for plan in plans]).to(radiance)
        seen = _register(plans, frames, radiance, cameras, times)
        follow_things(frames, {place: plan.shot.times for place, plan in enumerate(plans) if plan.followed})
        return SyntheticBatch(
            frames=frames,
            times=times,
            truth=radiance[:, REFERENCE].clamp(0, 1),
            moved=moved_mask(seen, passed),
            radiance=radiance,
            kind=[plan.shot.kind for plan in plans],
            registered=[plan.shot.registered for plan in plans],
            bit_depth=[plan.sensor.bits for plan in plans],
        )


def _record(plans: Sequence[BracketPlan], radiance: Tensor) -> tuple[Tensor, Tensor]:
    """The radiance behind each bracket's lens, and the frames that its camera makes of it."""
    sensors, noise = [plan.sensor for plan in plans], draw_noise([plan.sensor for plan in plans], radiance)
    cameras = {place: plan.camera for place, plan in enumerate(plans) if plan.camera is not None}
    exact = [place for place in range(len(plans)) if place not in cameras]
    radiance, frames = radiance.clone(), torch.empty_like(radiance)
    for places in (exact, list(cameras)):
        if not places:
            continue
        index, some = select(places, radiance.device), [sensors[place] for place in places]
        own = None if noise is None else noise[index]
        if places is exact:
            frames[index] = record(radiance[index], some, own)
        else:
            radiance[index] = through_lens(radiance[index], list(cameras.values()))
            frames[index] = photograph(radiance[index], some, list(cameras.values()), own)
    return radiance, frames


def _enlarged(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """B×N×C×h×w at another size, without ringing."""
    flat = F.interpolate(pictures.flatten(0, 1), size, mode="bilinear", align_corners=False)
    return flat.unflatten(0, pictures.shape[:2])


def _enlarged_displacement(field: Tensor, factor: int) -> Tensor:
    """3×h×w×2 displacements in pixels for pictures `factor` times as large."""
    fine = F.interpolate(field.movedim(-1, 1) * factor, scale_factor=factor, mode="bilinear", align_corners=False)
    return fine.movedim(1, -1)


def _register(
    plans: Sequence[BracketPlan], frames: Tensor, radiance: Tensor, cameras: Sequence[Tensor | None], times: Tensor
) -> Tensor:
    """Register frames, in place, where that is planned. Returns the radiance that they then show."""
    misalignments = {place: plan.misalignment for place, plan in enumerate(plans) if plan.misalignment is not None}
    if not misalignments:
        return radiance
    index, drawn = select(list(misalignments), frames.device), list(misalignments.values())
    camera = torch.stack([field for place, field in enumerate(cameras) if place in misalignments and field is not None])
    positions = aligned_positions(drawn, camera)
    registered, shown = simulate_alignment(frames[index], radiance[index], drawn, positions, times[index])
    seen = radiance.clone()
    frames[index, OUTER], seen[index, OUTER] = registered, shown
    return seen


def validation_brackets(
    bank: SceneBank, count: int = 24, size: int | tuple[int, int] = 384, seed: int = 0
) -> list[SyntheticBatch]:
    """Make a fixed set to choose checkpoints on: the four kinds in rotation, EV 0, 2, 4, half 8-bit and half 16-bit.

    Nothing has been registered; see `SynthesisConfig.evaluation`. The same arguments give the same brackets (on the
    same release of torch), each a batch of one.

    Example:
        >>> [bracket.kind[0] for bracket in validation_brackets(SceneBank.procedural(), 4, 64)]
        ['static', 'camera', 'objects', 'both']
    """
    generator = torch.Generator().manual_seed(seed)
    makers = [Synthesizer(bank, SynthesisConfig.evaluation(bits)) for bits in (8, 16)]
    return [
        makers[index // len(KINDS) % 2].sample(1, size, generator, KINDS[index % len(KINDS)]) for index in range(count)
    ]

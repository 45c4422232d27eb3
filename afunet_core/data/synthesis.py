"""Exposure brackets with motion and exact truth, synthesised from HDR scenes and photographs.

A bracket is made in the order light takes: a piece of a scene is lit and exposed (`lighting`), seen at three instants
by a camera that moves (`motion`), crossed by objects (`objects`), recorded by a sensor (`sensor`) and perhaps
aligned (`resample`). The truth is the radiance of the reference instant before any noise: nothing is estimated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afunet_core.box_filter import window_max
from afunet_core.data.config import KINDS, Kind, SynthesisConfig
from afunet_core.data.draws import uniform
from afunet_core.data.lighting import background
from afunet_core.data.motion import REFERENCE, blur_along, draw_motion, pixel_grid, warp
from afunet_core.data.objects import composite, draw_objects
from afunet_core.data.resample import OUTER, follow_things, register_frames, registration_positions
from afunet_core.data.scenes import SceneBank
from afunet_core.data.sensor import record
from afunet_core.errors import ArgumentError
from afunet_core.radiometry import GAMMA

__all__ = ["KINDS", "SynthesisConfig", "Synthesizer", "SyntheticBatch", "validation_brackets"]

_SMALLEST = 16


@dataclass
class SyntheticBatch:
    """Brackets with their truth.

    Attributes:
        frames: B×3×3×H×W, three RGB frames, shortest first, encoded with gamma 2.2 in [0, 1], after sensor,
            quantisation and (where `registered`) registration; in some, things are followed to where the reference
            shows them.
        times: B×3 exposure times relative to the shortest frame.
        truth: B×3×H×W linear radiance at the instant of the middle frame, in the short frame's unit, clipped to [0, 1].
        moved: B×1×H×W in [0, 1], where the content differs between the instants by motion or occlusion (where
            `registered`: still differs after it), whether or not it was followed.
        radiance: B×3×3×H×W noise-free radiance of each instant, before registration; not clipped to [0, 1].
        kind: "static", "camera", "objects" or "both", one for each bracket.
        registered: whether the outer frames were resampled onto the reference.
        bit_depth: of the files, None where not quantised.
    """

    frames: Tensor
    times: Tensor
    truth: Tensor
    moved: Tensor
    radiance: Tensor
    kind: list[str]
    registered: list[bool]
    bit_depth: list[int | None]

    def __len__(self) -> int:
        return len(self.kind)

    def network_input(self) -> Tensor:
        """B×18×H×W as the network takes it: for each frame the radiance L**2.2 / t, then the encoded frame L."""
        radiance = self.frames**GAMMA / self.times[:, :, None, None, None]
        return torch.cat([radiance, self.frames], dim=2).flatten(1, 2)

    def to(self, device: torch.device | str) -> SyntheticBatch:
        """The batch on another device."""
        names = [entry.name for entry in fields(self) if isinstance(getattr(self, entry.name), Tensor)]
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def __getitem__(self, index: int) -> SyntheticBatch:
        """One bracket, as a batch of one."""
        one = slice(index, index + 1) if index != -1 else slice(-1, None)
        return replace(self, **{entry.name: getattr(self, entry.name)[one] for entry in fields(self)})

    @staticmethod
    def concatenate(batches: Sequence[SyntheticBatch]) -> SyntheticBatch:
        """One batch from several with pictures of the same size."""
        columns = {entry.name: [getattr(batch, entry.name) for batch in batches] for entry in fields(SyntheticBatch)}
        joined: dict[str, Any] = {
            name: torch.cat(parts) if isinstance(parts[0], Tensor) else [value for part in parts for value in part]
            for name, parts in columns.items()
        }
        return replace(batches[0], **joined)


class Synthesizer:
    """Draws brackets from a bank of scenes.

    Args:
        bank: where the light comes from.
        config: all ranges and probabilities.
        device: where pictures are computed. Everything but the noise is drawn on the CPU, so that the same generator
            gives the same scene on every device.

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
        self, batch: int, size: int | tuple[int, int], generator: torch.Generator, kind: Kind | None = None
    ) -> SyntheticBatch:
        """Make brackets.

        Args:
            batch: how many.
            size: side, or height and width, of at least 16 pixels.
            generator: on the CPU; the same state gives the same brackets.
            kind: make this kind only; by default kinds are drawn with `config.kind_weights`.

        Raises:
            ArgumentError: nothing asked for, too small, or an unknown kind.
        """
        height, width = (size, size) if isinstance(size, int) else size
        if batch < 1:
            raise ArgumentError("batch", "at least 1", batch)
        if min(height, width) < _SMALLEST:
            raise ArgumentError("size", f"at least {_SMALLEST} pixels", size, "Motion needs some room.")
        if kind is not None and kind not in KINDS:
            raise ArgumentError("kind", f"one of {', '.join(KINDS)}", kind)
        seeds = torch.randint(2**62, (batch,), generator=generator).tolist()
        return SyntheticBatch.concatenate(
            [self._bracket(np.random.default_rng(s), (height, width), kind) for s in seeds]
        )

    @torch.no_grad()
    def _bracket(self, rng: np.random.Generator, size: tuple[int, int], kind: str | None) -> SyntheticBatch:
        config = self.config
        if kind is None:
            kind = KINDS[rng.choice(len(KINDS), p=np.array(config.kind_weights) / sum(config.kind_weights))]
        first, second = config.ev_steps[rng.integers(len(config.ev_steps))]
        times = np.exp2([0.0, first, first + second])
        registered = kind in ("camera", "both") and bool(rng.random() < config.registered_share)

        motion = draw_motion(rng, config, size, kind, registered)
        radiance, passed = self._three_instants(rng, size, kind, motion.total, times)
        if kind in ("camera", "both") and rng.random() < config.blur_share:
            radiance = _shake(rng, config, radiance)
        frames, bits = record(rng, config, radiance, times)
        seen = radiance
        if registered and motion.camera is not None:
            positions = registration_positions(rng, config, motion.camera)
            frames = register_frames(rng, frames, positions, times)
            seen = radiance.clone()
            seen[list(OUTER)] = warp(radiance[list(OUTER)], positions.to(self.device))
        steady = registered or kind == "objects"
        if steady and rng.random() < config.followed_share:
            frames = follow_things(frames, times)
        return SyntheticBatch(
            frames=frames[None],
            times=torch.tensor(times, dtype=torch.float32, device=self.device)[None],
            truth=radiance[REFERENCE].clamp(0, 1)[None],
            moved=_moved_mask(seen, passed)[None],
            radiance=radiance[None],
            kind=[kind],
            registered=[registered],
            bit_depth=[bits],
        )

    def _three_instants(
        self, rng: np.random.Generator, size: tuple[int, int], kind: str, flow: Tensor | None, times: np.ndarray
    ) -> tuple[Tensor, Tensor | None]:
        """Radiance of the three instants, 3×3×H×W, and where objects pass, 1×H×W."""
        margin = 0 if flow is None else int(np.ceil(float(flow.abs().max()))) + 3
        canvas_size = (size[0] + 2 * margin, size[1] + 2 * margin)
        canvas = background(rng, self.config, self._backgrounds, canvas_size, times).to(self.device)
        grid = pixel_grid(*size, device=self.device) + margin
        if flow is None:
            positions = grid.expand(3, -1, -1, -1)
            radiance = canvas.repeat(3, 1, 1, 1)
        else:
            positions = grid + flow.to(self.device)
            radiance = warp(canvas, positions)
        passed: Tensor | None = None
        if kind in ("objects", "both"):
            for thing in draw_objects(rng, self.config, self.bank, size, margin, times):
                covered = composite(radiance, positions, thing, margin)
                if covered is not None:
                    passed = covered if passed is None else torch.maximum(passed, covered)
        return radiance, passed


def _shake(rng: np.random.Generator, config: SynthesisConfig, radiance: Tensor) -> Tensor:
    """Blur each frame in a direction of its own, longer exposures more; a blurred reference has a blurred truth."""
    frames = list(radiance)
    length = uniform(rng, config.blur)
    for index, share in ((2, 1.0), (1, 0.3), (0, 0.1)):
        angle = rng.uniform(0, np.pi)
        reach = length * share * rng.uniform(0.5, 1.0)
        if reach > 0.3:
            frames[index] = blur_along(frames[index][None], (reach * np.cos(angle), reach * np.sin(angle)))[0]
    return torch.stack(frames)


def _moved_mask(radiance: Tensor, passed: Tensor | None) -> Tensor:
    """1×H×W: 1 where an object passes or radiance changes by more than 5 % of itself and 0.002 of white."""
    reference = radiance[REFERENCE]
    change = (radiance - reference).abs().amax(dim=0)
    mask = (change / (0.05 * reference + 0.002)).amax(dim=0, keepdim=True).clamp(0, 1)
    mask = window_max(mask[None], 3)[0]
    return mask if passed is None else torch.maximum(mask, passed)


def validation_brackets(
    bank: SceneBank, count: int = 24, size: int | tuple[int, int] = 384, seed: int = 0
) -> list[SyntheticBatch]:
    """A fixed set to choose checkpoints on: equal shares of the four kinds, EV 0, 2, 4, half 8-bit and half 16-bit.

    The camera is well calibrated and noisy, motion reaches 60 pixels, and nothing has been registered. The same
    arguments give the same brackets (on the same release of torch). Difficulty: `SynthesisConfig.evaluation`.

    Returns:
        `count` batches of one bracket, the kinds in rotation.

    Example:
        >>> [bracket.kind[0] for bracket in validation_brackets(SceneBank.procedural(), 4, 64)]
        ['static', 'camera', 'objects', 'both']
    """
    generator = torch.Generator().manual_seed(seed)
    makers = [Synthesizer(bank, SynthesisConfig.evaluation(bits)) for bits in (8, 16)]
    return [
        makers[index // len(KINDS) % 2].sample(1, size, generator, KINDS[index % len(KINDS)]) for index in range(count)
    ]

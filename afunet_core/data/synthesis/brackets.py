"""Exposure brackets with motion and exact truth, synthesised from HDR scenes and photographs.

Each bracket is drawn from a generator of its own: lit (`lighting`), seen by a moving camera (`motion`), crossed by
objects (`objects`, `painting`, `rendering`), recorded (`sensor`, `camera`), and sometimes aligned
(`alignment_artifacts`). The truth is the radiance of the reference instant before any noise.
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

from afunet_core.data.synthesis.alignment_artifacts import draw_misalignment, follow_things, simulate_alignment
from afunet_core.data.synthesis.camera import draw_camera, photograph, through_lens
from afunet_core.data.synthesis.config import KINDS, Kind, SynthesisConfig
from afunet_core.data.synthesis.lighting import draw_background
from afunet_core.data.synthesis.motion import REFERENCE, draw_motion, draw_shake
from afunet_core.data.synthesis.objects import draw_objects
from afunet_core.data.synthesis.rendering import moved_mask, render_radiance
from afunet_core.data.synthesis.scenes import SceneBank
from afunet_core.data.synthesis.sensor import draw_noise, draw_sensor, record
from afunet_core.errors import ArgumentError
from afunet_core.radiometry import encode, mu_law, network_input

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
        return network_input(self.frames.unbind(1), self.times)

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
            multiples = f"multiples of {enlarge} of " if enlarge > 1 else ""
            expected = f"{multiples}at least {_SMALLEST * enlarge} pixels"
            raise ArgumentError("size", expected, size, "Motion needs some room.")
        if kind is not None and kind not in KINDS:
            raise ArgumentError("kind", f"one of {', '.join(KINDS)}", kind)
        seeds = torch.randint(2**62, (batch,), generator=generator).tolist()
        return SyntheticBatch.concatenate([self._make(seed, (height, width), kind, enlarge) for seed in seeds])

    @torch.no_grad()
    def _make(self, seed: int, full: tuple[int, int], kind: Kind | None, enlarge: int) -> SyntheticBatch:
        """Make the bracket of a seed; the order of the draws decides what it is."""
        rng, config = np.random.default_rng(seed), self.config
        size = (full[0] // enlarge, full[1] // enlarge)
        if kind is None:
            kind = KINDS[rng.choice(len(KINDS), p=np.array(config.kind_weights) / sum(config.kind_weights))]
        hand_held, crossed = kind in ("camera", "both"), kind in ("objects", "both")
        first, second = config.ev_steps[rng.integers(len(config.ev_steps))]
        times = np.array([1.0, 2.0**first, 2.0 ** (first + second)])
        registered = hand_held and bool(rng.random() < config.registered_share)
        motion = draw_motion(rng, config, size, kind, registered, self.device)
        canvas_size = (size[0] + 2 * motion.margin, size[1] + 2 * motion.margin)
        canvas = draw_background(rng, config, self._backgrounds, canvas_size, times, self.device)
        objects = draw_objects(rng, config, self.bank, size, times) if crossed else []
        shake = draw_shake(rng, config) if hand_held and rng.random() < config.blur_share else None
        sensor = draw_sensor(rng, config, times)
        misalignment = draw_misalignment(rng, config, size) if registered else None
        followed = (registered or kind == "objects") and rng.random() < config.followed_share
        # Drawn last, and only where asked for: without cameras a seed gives the bracket that it always gave.
        real = config.camera_share > 0 and rng.random() < config.camera_share
        camera = draw_camera(rng, config.camera_curves) if real else None

        radiance, passed = render_radiance(canvas, motion, objects, shake)
        if enlarge > 1:
            radiance, passed = _enlarged(radiance, full), _enlarged(passed[None], full)[0]
        noise = draw_noise(sensor, radiance)
        if camera is None:
            frames = record(radiance, sensor, noise)
        else:
            radiance = through_lens(radiance, camera)
            frames = photograph(radiance, sensor, camera, noise)
        seen = radiance
        if misalignment is not None and motion.camera is not None:
            displaced = motion.camera.movedim(-1, 1) * enlarge
            undone = displaced if enlarge == 1 else _enlarged(displaced, full)
            frames, seen = simulate_alignment(frames, radiance, misalignment, undone.movedim(1, -1), times)
        if followed:
            frames = follow_things(frames, times)
        return SyntheticBatch(
            frames=frames[None],
            times=torch.from_numpy(times)[None].to(radiance),
            truth=radiance[None, REFERENCE].clamp(0, 1),
            moved=moved_mask(seen, passed)[None],
            radiance=radiance[None],
            kind=[kind],
            registered=[registered],
            bit_depth=[sensor.bits],
        )


def _enlarged(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """N×C×h×w at another size, without ringing."""
    return F.interpolate(pictures, size, mode="bilinear", align_corners=False)


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


def contact_sheet(batch: SyntheticBatch) -> np.ndarray:
    """Lay out a row for each bracket, H×W×3 uint8: the frames, the truth (μ-law, then plain gamma), the moved mask."""
    gap, moved = 4, batch.moved.expand(-1, 3, -1, -1)
    columns = [*batch.frames.unbind(1), mu_law(batch.truth), encode(batch.truth), moved]
    rows = torch.cat([F.pad(picture.cpu(), (gap, 0, gap, 0), value=1.0) for picture in columns], dim=-1)
    sheet = F.pad(torch.cat(list(rows), dim=-2), (0, gap, 0, gap), value=1.0)
    return (sheet.clamp(0, 1) * 255).round().permute(1, 2, 0).byte().numpy()

"""Exposure brackets with motion and exact truth, synthesised from HDR scenes and photographs.

One bracket is made in the order light takes: a piece of a scene is lit and exposed, seen by a camera at three instants
(`motion`), crossed by objects, and recorded by a sensor (`sensor`). The truth is the radiance that reached the sensor
at the reference instant, before any noise, so nothing has to be estimated afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.data.motion import MovingObject, blur_along, homography_flow, pixel_grid, smooth_field, warp
from afunet_core.data.scenes import SceneBank
from afunet_core.data.sensor import add_sensor_noise, jpeg_artefacts, quantize, srgb_decode, srgb_encode
from afunet_core.errors import ArgumentError

__all__ = ["KINDS", "SynthesisConfig", "Synthesizer", "SyntheticBatch", "validation_brackets"]

Kind = Literal["static", "camera", "objects", "both"]
KINDS: tuple[Kind, ...] = ("static", "camera", "objects", "both")
GAMMA = 2.2
REFERENCE = 1
Range = tuple[float, float]


@dataclass(frozen=True)
class SynthesisConfig:
    """Every range and probability of the synthesis; (low, high) pairs are drawn from uniformly unless said otherwise.

    Lengths are in pixels, shares and probabilities in [0, 1]. Raises ArgumentError for impossible values.

    Example:
        >>> SynthesisConfig(camera_translation=(0.0, 10.0)).kind_weights
        (0.15, 0.25, 0.25, 0.35)
    """

    # Which brackets: probabilities of static, camera, objects, both.
    kind_weights: tuple[float, float, float, float] = (0.15, 0.25, 0.25, 0.35)
    ev_steps: tuple[tuple[float, float], ...] = ((2, 2), (2, 2), (2, 2), (2, 2), (1, 1), (3, 3), (4, 4), (1, 2), (2, 3))
    # Scene.
    photo_share: float = 0.25
    source_scale: Range = (0.6, 2.0)  # source pixels per output pixel, log-uniform
    scene_gamma: Range = (0.85, 1.2)
    saturation: Range = (0.6, 1.4)
    white_balance: Range = (0.85, 1.18)
    clip: Range = (1.5, 4.0)  # light above this many short-frame whites is cut before warping: it would ring
    short_saturated: Range = (0.0, 0.02)
    reference_saturated: Range = (0.02, 0.4)
    light_field_stops: Range = (0.0, 5.0)
    # Camera.
    registered_share: float = 0.45
    camera_translation: Range = (0.3, 40.0)  # between the outer frames and the reference, log-uniform
    camera_angle: Range = (-0.035, 0.035)
    camera_zoom: Range = (-0.02, 0.02)
    camera_tilt: Range = (-0.01, 0.01)
    parallax_share: float = 0.35
    parallax: Range = (0.5, 8.0)
    blur_share: float = 0.15
    blur: Range = (0.5, 4.0)
    residual: Range = (0.0, 1.5)
    # Objects.
    object_count: tuple[int, int] = (1, 8)
    object_radius: Range = (3.0, 60.0)  # log-uniform
    object_displacement: Range = (0.3, 60.0)  # from one frame to the next, log-uniform
    flow_share: float = 0.35
    flow: Range = (0.5, 8.0)
    # Sensor.
    gain: Range = (2e-5, 3e-3)  # log-uniform
    read_noise: Range = (1e-4, 4e-3)  # log-uniform
    black_level: Range = (-0.002, 0.002)
    black_level_share: float = 0.2
    bit_depths: tuple[int | None, ...] = (8, 8, 8, 8, 16, 16, 14, 12, 10, None)
    exposure_error: float = 0.03
    exposure_error_share: float = 0.25
    white_balance_drift: float = 0.02
    white_balance_drift_share: float = 0.2
    srgb_share: float = 0.1
    curve_error: float = 0.04
    curve_error_share: float = 0.1
    jpeg_share: float = 0.05
    jpeg_quality: tuple[int, int] = (80, 98)

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.name.endswith("_share") and not 0 <= value <= 1:
                raise ArgumentError(entry.name, "a probability in [0, 1]", value, "Give the share of the samples.")
            pair = isinstance(value, tuple) and len(value) == 2 and all(isinstance(v, (int, float)) for v in value)
            if pair and value[0] > value[1]:
                raise ArgumentError(entry.name, "(low, high) with low ≤ high", value, "Swap the two.")
        if min(self.kind_weights) < 0 or sum(self.kind_weights) <= 0 or len(self.kind_weights) != len(KINDS):
            raise ArgumentError("kind_weights", f"{len(KINDS)} non-negative weights", self.kind_weights, "")
        if not self.ev_steps or any(step <= 0 for steps in self.ev_steps for step in steps):
            raise ArgumentError("ev_steps", "pairs of EV steps above 0", self.ev_steps, "For example ((2, 2),).")

    @classmethod
    def noiseless(cls, **changes: object) -> SynthesisConfig:
        """A perfect 16-bit camera with EV 0, 2, 4: for tests and for seeing motion alone."""
        perfect = cls(
            ev_steps=((2, 2),),
            gain=(0.0, 0.0),
            read_noise=(0.0, 0.0),
            black_level_share=0.0,
            bit_depths=(16,),
            exposure_error_share=0.0,
            white_balance_drift_share=0.0,
            srgb_share=0.0,
            curve_error_share=0.0,
            jpeg_share=0.0,
            registered_share=0.0,
        )
        return replace(perfect, **changes)  # type: ignore[arg-type]


@dataclass
class SyntheticBatch:
    """A batch of brackets with their truth.

    Attributes:
        frames: B×3×3×H×W, three RGB frames, shortest first, gamma 2.2 encoded in [0, 1], after sensor and quantisation.
            An sRGB file has been decoded and re-encoded, as a reader would; deviating camera curves have not.
        times: B×3 exposure times relative to the shortest frame.
        truth: B×3×H×W linear radiance at the instant of the middle frame, in the short frame's unit, clipped to [0, 1].
        moved: B×1×H×W in [0, 1], where the content differs between the instants (motion or occlusion).
        radiance: B×3×3×H×W noise-free radiance of each instant, unclipped, before any registration.
        kind: "static", "camera", "objects" or "both" for each bracket.
        registered: whether the outer frames were resampled onto the reference, as registration does.
        bit_depth: of the files, None when not quantised.
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
        """B×18×H×W as the network takes it: per frame the radiance L**2.2 / t, then the encoded frame L."""
        radiance = self.frames**GAMMA / self.times[:, :, None, None, None]
        return torch.cat([radiance, self.frames], dim=2).flatten(1, 2)

    def to(self, device: torch.device | str) -> SyntheticBatch:
        """The batch on another device."""
        moved = {
            e.name: getattr(self, e.name).to(device) for e in fields(self) if isinstance(getattr(self, e.name), Tensor)
        }
        return replace(self, **moved)

    @staticmethod
    def concatenate(batches: Sequence[SyntheticBatch]) -> SyntheticBatch:
        """One batch from several of the same picture size."""
        merged = {}
        for entry in fields(SyntheticBatch):
            values = [getattr(batch, entry.name) for batch in batches]
            merged[entry.name] = (
                torch.cat(values) if isinstance(values[0], Tensor) else [v for part in values for v in part]
            )
        return SyntheticBatch(**merged)


class Synthesizer:
    """Draws brackets from a bank of scenes.

    Args:
        bank: where the light comes from.
        config: all ranges.
        device: where pictures are computed. The random parameters are drawn on the CPU, so the scene does not
            depend on it (noise does).

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

    def sample(
        self, batch: int, size: int | tuple[int, int], generator: torch.Generator, kind: Kind | None = None
    ) -> SyntheticBatch:
        """Make `batch` brackets of `size` (a side or height and width, at least 16 pixels).

        Args:
            generator: on the CPU; the same state gives the same batch.
            kind: make only brackets of this kind; by default they are drawn with `config.kind_weights`.

        Raises:
            ArgumentError: no samples asked for, too small a size, or an unknown kind.
        """
        height, width = (size, size) if isinstance(size, int) else size
        if batch < 1:
            raise ArgumentError("batch", "at least 1", batch, "")
        if min(height, width) < 16:
            raise ArgumentError("size", "at least 16 pixels", size, "Motion needs some room.")
        if kind is not None and kind not in KINDS:
            raise ArgumentError("kind", f"one of {KINDS}", kind, "")
        seeds = torch.randint(2**62, (batch,), generator=generator).tolist()
        return SyntheticBatch.concatenate([self._one(np.random.default_rng(s), (height, width), kind) for s in seeds])

    @torch.no_grad()
    def _one(self, rng: np.random.Generator, size: tuple[int, int], kind: Kind | None) -> SyntheticBatch:
        config = self.config
        if kind is None:
            kind = KINDS[rng.choice(len(KINDS), p=np.array(config.kind_weights) / sum(config.kind_weights))]
        steps = config.ev_steps[rng.integers(len(config.ev_steps))]
        times = np.array([1.0, 2.0 ** steps[0], 2.0 ** (steps[0] + steps[1])])
        registered = kind in ("camera", "both") and rng.random() < config.registered_share

        camera, flow = self._flow(rng, size, kind, registered)
        radiance, coverage = self._render(rng, size, kind, flow, times)
        if kind in ("camera", "both") and rng.random() < config.blur_share:
            radiance = self._shake(rng, radiance)
        frames, bits = self._record(rng, radiance, times)
        if registered and camera is not None:
            frames = self._register(rng, frames, camera, times)
        return SyntheticBatch(
            frames=frames[None],
            times=torch.tensor(times, dtype=torch.float32, device=self.device)[None],
            truth=radiance[REFERENCE].clamp(0, 1)[None],
            moved=_moved_mask(radiance, coverage)[None],
            radiance=radiance[None],
            kind=[kind],
            registered=[registered],
            bit_depth=[bits],
        )

    # --- motion ---------------------------------------------------------------------------------------------------

    def _flow(
        self, rng: np.random.Generator, size: tuple[int, int], kind: str, registered: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """3×H×W×2 displacements of every pixel at the three instants: by the camera, and by everything.

        None where nothing moves, so that still brackets are not resampled at all.
        """
        camera: Tensor | None = None
        if kind in ("camera", "both"):
            grid = pixel_grid(*size)
            camera = self._small_camera_flow(rng, grid) if registered else self._camera_flow(rng, grid)
        if kind in ("objects", "both") and rng.random() < self.config.flow_share:
            local = self._local_flow(rng, size)
            return camera, local if camera is None else camera + local
        return camera, camera

    def _camera_flow(self, rng: np.random.Generator, grid: Tensor) -> Tensor:
        config = self.config
        reach = _log_uniform(rng, config.camera_translation)
        # Hands drift more than they tremble: the two outer frames often lie on opposite sides of the reference.
        direction, drift = rng.uniform(0, 2 * np.pi), rng.random()
        shifts = np.zeros((3, 2))
        for index, sign in ((0, -1.0), (2, 1.0)):
            angle = direction + (0.0 if sign > 0 else np.pi) + (1 - drift) * rng.normal()
            shifts[index] = reach * rng.uniform(0.4, 1.0) * np.array([np.cos(angle), np.sin(angle)])
        # The reference sits between pixels half of the time, so that it is not always the sharpest of the three.
        moving = np.array([1.0, float(rng.random() < 0.5), 1.0])
        shifts[REFERENCE] = rng.uniform(-0.5, 0.5, 2) * moving[REFERENCE]
        rigid = rng.random() < 0.3
        turn = moving * (0.0 if rigid else min(1.0, reach / 10 + 0.1)) * np.array([1.0, 0.02, 1.0])
        flow = homography_flow(
            grid,
            _tensor(shifts),
            _tensor(_uniform(rng, config.camera_angle, 3) * turn),
            _tensor(_uniform(rng, config.camera_zoom, 3) * turn),
            _tensor(_uniform(rng, config.camera_tilt, (3, 2)) * turn[:, None]),
        )
        if rng.random() < config.parallax_share:
            depth = smooth_field(rng, 1, int(rng.integers(2, 5)), (grid.shape[0], grid.shape[1]))[0]
            if rng.random() < 0.5:  # layers with soft steps between them, as of things at different distances
                depth = torch.sigmoid(depth * rng.uniform(3, 12)) * 2 - 1
            vectors = shifts / max(np.abs(shifts).max(), 1e-6) * min(_uniform(rng, config.parallax), reach)
            vectors[REFERENCE] = 0
            flow = flow + depth[None, :, :, None] * _tensor(vectors)[:, None, None]
        return flow

    def _small_camera_flow(self, rng: np.random.Generator, grid: Tensor) -> Tensor:
        """Sub-pixel phases that drift across the picture: what registration will resample away again."""
        shifts = rng.uniform(-1.0, 1.0, (3, 2)) * np.array([1.0, 0.0, 1.0])[:, None]
        zeros = np.zeros(3)
        angle = rng.uniform(-0.01, 0.01, 3) * np.array([1.0, 0.0, 1.0])
        return homography_flow(grid, _tensor(shifts), _tensor(angle), _tensor(zeros), torch.zeros(3, 2))

    def _local_flow(self, rng: np.random.Generator, size: tuple[int, int]) -> Tensor:
        """Foliage, water, people: smooth displacements in a part of the picture, none at the reference instant."""
        amplitude = _log_uniform(rng, self.config.flow)
        field = smooth_field(rng, 4, int(rng.integers(2, 9)), size).reshape(2, 2, *size).permute(0, 2, 3, 1)
        if rng.random() < 0.5:  # a swing: the same field, back and forth
            field[1] = -field[0] * rng.uniform(0.5, 1.0)
        region = torch.sigmoid((smooth_field(rng, 1, 3, size)[0] + rng.uniform(-0.6, 0.6)) * 6)
        field = field * (amplitude * region)[..., None]
        return torch.stack([field[0], torch.zeros_like(field[0]), field[1]])

    # --- scene and objects ----------------------------------------------------------------------------------------

    def _render(
        self, rng: np.random.Generator, size: tuple[int, int], kind: str, flow: Tensor | None, times: np.ndarray
    ) -> tuple[Tensor, Tensor | None]:
        """Radiance of the three instants (3×3×H×W, short frame's white = 1), and where moving objects pass (1×H×W)."""
        margin = 0 if flow is None else int(np.ceil(float(flow.abs().max()))) + 3
        canvas_size = (size[0] + 2 * margin, size[1] + 2 * margin)
        canvas = self._canvas(rng, canvas_size, times).to(self.device)
        positions = pixel_grid(*size, device=self.device)[None].expand(3, -1, -1, -1)
        if flow is None:
            radiance = canvas[None].expand(3, -1, -1, -1)
        else:
            positions = positions + flow.to(self.device) + margin
            radiance = warp(canvas.expand(3, -1, -1, -1), positions)
        coverage = None
        if kind in ("objects", "both"):
            radiance = radiance.clone()
            for thing in self._objects(rng, size, margin, times):
                passed = _composite(radiance, positions, thing, margin)
                if passed is not None:
                    coverage = passed if coverage is None else torch.maximum(coverage, passed)
        return radiance.contiguous(), coverage

    def _canvas(self, rng: np.random.Generator, size: tuple[int, int], times: np.ndarray) -> Tensor:
        """3×H×W background radiance, exposed: the white of the short frame is 1."""
        config, bank = self.config, self.bank
        use_photo = not bank.hdr or (len(bank.photos) > 0 and rng.random() < config.photo_share)
        pool = bank.photos if use_photo else bank.hdr
        source = _crop(rng, pool[rng.integers(len(pool))], size, _log_uniform(rng, config.source_scale))
        gains = torch.from_numpy(_uniform(rng, config.white_balance, 3).astype(np.float32))[:, None, None]
        saturation, power = _uniform(rng, config.saturation), _uniform(rng, config.scene_gamma)
        light: Tensor | None = None
        if use_photo:
            light = torch.exp2(
                smooth_field(rng, 1, 2, (source.shape[1], source.shape[2]))
                * _uniform(rng, config.light_field_stops)
                / 2
            )
            boost, knee = rng.uniform(0, 12), rng.uniform(2, 8)
            source = (source.float() / 255) ** GAMMA
            source = source * (1 + boost * source.mean(0, keepdim=True) ** knee) * light
        else:
            source = source.float()
        probe = source.flatten(1)[:, :: max(1, source[0].numel() // 1500)]
        scale = _choose_exposure(rng, config, _grade(probe[..., None], gains, saturation, power), times)
        # Cut the sun before resampling (approximately, since grading follows), and again exactly afterwards.
        clip = _uniform(rng, config.clip)
        source = source.clamp_max(max((2 * clip / max(scale, 1e-12)) ** (1 / power), 1e-6))
        canvas = F.interpolate(source[None], size, mode="bilinear", align_corners=False, antialias=True)[0]
        return (_grade(canvas, gains, saturation, power) * scale).clamp_max(clip)

    def _objects(
        self, rng: np.random.Generator, size: tuple[int, int], margin: int, times: np.ndarray
    ) -> list[MovingObject]:
        config = self.config
        low, high = config.object_count
        count = int(rng.integers(low, high + 1))
        return [self._object(rng, size, margin, times) for _ in range(count)]

    def _object(self, rng: np.random.Generator, size: tuple[int, int], margin: int, times: np.ndarray) -> MovingObject:
        config = self.config
        radius = min(_log_uniform(rng, config.object_radius), 0.45 * min(size))
        shape = ("blob", "blob", "ellipse", "polygon", "bar")[rng.integers(5)]
        aspect = _log_uniform(rng, (0.4, 2.0))
        harmonics: tuple[tuple[float, float, float], ...] = ()
        if shape == "bar":
            radius = min(radius * 1.5, 60.0)
            aspect = _log_uniform(rng, (max(0.02, 0.8 / radius), 0.5))
        elif shape == "polygon":
            harmonics = ((float(rng.integers(3, 7)), float(rng.uniform(0, 0.4)), float(rng.uniform(0, 6.28))),)
        elif shape == "blob":
            harmonics = tuple(
                (float(order), float(rng.uniform(0, 0.45 / order)), float(rng.uniform(0, 6.28)))
                for order in (2, 3, 4, 5, 7)
            )
        step = _log_uniform(rng, config.object_displacement)
        direction = rng.uniform(0, 2 * np.pi)
        velocity = step * np.array([np.cos(direction), np.sin(direction)])
        instants = np.array([-1.0, 0.0, 1.0])
        centre = rng.uniform(0, 1, 2) * np.array([size[1], size[0]]) + margin
        centres = centre + instants[:, None] * velocity + rng.normal(size=(3, 2)) * step * rng.uniform(0, 0.3)
        lively = min(1.0, step / 5)
        return MovingObject(
            texture=self._texture(rng, radius, times),
            shape=shape,
            harmonics=harmonics,
            aspect=aspect,
            centres=centres,
            radii=radius * (1 + instants * rng.uniform(-0.15, 0.15) * lively),
            angles=rng.uniform(0, 2 * np.pi) + instants * rng.normal() * 0.25 * lively,
            wobble=rng.normal(size=3) * 0.12 * lively + rng.normal() * 0.1,
            edge=_uniform(rng, (0.8, 2.0)) if rng.random() < 0.8 else _uniform(rng, (2.0, 6.0)),
            opacity=1.0 if rng.random() < 0.9 else _uniform(rng, (0.4, 0.9)),
        )

    def _texture(self, rng: np.random.Generator, radius: float, times: np.ndarray) -> Tensor:
        """3×h×w radiance of an object, as bright as one of the three frames sees well, or none."""
        bank = self.bank
        use_photo = not bank.hdr or (len(bank.photos) > 0 and rng.random() < 0.75)
        pool = bank.photos if use_photo else bank.hdr
        side = int(np.clip(2.2 * radius, 12, 128))
        texture = _crop(rng, pool[rng.integers(len(pool))], (side, side), _uniform(rng, (0.8, 1.3))).float()
        if use_photo:
            texture = (texture / 255) ** GAMMA
        level = float(texture.flatten(1)[:, ::7].mean()) + 1e-6
        # Mean radiance from what only the long frame lifts out of the noise to what saturates all but the short one.
        target = _log_uniform(rng, (0.04 / times[2], 0.7))
        tint = torch.from_numpy(rng.uniform(0.75, 1.25, (3, 1, 1)).astype(np.float32))
        return (texture * (target / level) * tint).clamp_max(max(1.5, 3 * target)).to(self.device)

    # --- sensor ---------------------------------------------------------------------------------------------------

    def _shake(self, rng: np.random.Generator, radiance: Tensor) -> Tensor:
        """Blur each frame in a direction of its own, longer ones more; a blurred reference has a blurred truth."""
        frames = list(radiance)
        length = _uniform(rng, self.config.blur)
        for index, share in ((2, 1.0), (1, 0.3), (0, 0.1)):
            angle = rng.uniform(0, np.pi)
            reach = length * share * rng.uniform(0.5, 1.0)
            if reach > 0.3:
                frames[index] = blur_along(frames[index][None], (reach * np.cos(angle), reach * np.sin(angle)))[0]
        return torch.stack(frames)

    def _record(self, rng: np.random.Generator, radiance: Tensor, times: np.ndarray) -> tuple[Tensor, int | None]:
        """Expose, add noise, clip, encode and quantise: 3×3×H×W encoded with gamma 2.2, and the bit depth."""
        config = self.config
        gains = np.repeat(times[:, None], 3, axis=1)
        if rng.random() < config.exposure_error_share:
            gains = gains * (1 + _outer_only(_uniform(rng, (-config.exposure_error, config.exposure_error), (3, 1))))
        if rng.random() < config.white_balance_drift_share:
            drift = config.white_balance_drift
            gains = gains * (1 + _outer_only(_uniform(rng, (-drift, drift), (3, 3))))
        exposed = radiance * _tensor(gains).to(self.device)[..., None, None]
        gain, read = _log_uniform(rng, config.gain), _log_uniform(rng, config.read_noise)
        if gain > 0 or read > 0:
            generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
            noise = torch.randn(exposed.shape, generator=generator, device=self.device)
            exposed = add_sensor_noise(exposed, gain, read, noise)
        if rng.random() < config.black_level_share:
            exposed = exposed + _uniform(rng, config.black_level)
        linear = exposed.clamp(0, 1)

        srgb = rng.random() < config.srgb_share
        power = 1 / GAMMA
        if not srgb and rng.random() < config.curve_error_share:
            power *= 1 + _uniform(rng, (-config.curve_error, config.curve_error))
        encoded = srgb_encode(linear) if srgb else linear**power
        bits = config.bit_depths[rng.integers(len(config.bit_depths))]
        encoded = quantize(encoded, bits)
        if bits == 8 and rng.random() < config.jpeg_share:
            encoded = jpeg_artefacts(encoded, int(rng.integers(config.jpeg_quality[0], config.jpeg_quality[1] + 1)))
        return (srgb_decode(encoded) ** (1 / GAMMA) if srgb else encoded), bits

    def _register(self, rng: np.random.Generator, frames: Tensor, camera: Tensor, times: np.ndarray) -> Tensor:
        """Resample the outer frames onto the reference as `registration` would: noise and all, in linear light.

        The small camera flow is undone up to a smooth residual; a strip at the border that the outer frame did not see
        is filled from the reference, or by repeating its edge.
        """
        size = (frames.shape[2], frames.shape[3])
        residual = smooth_field(rng, 4, int(rng.integers(2, 5)), size).reshape(2, 2, *size).permute(0, 2, 3, 1)
        residual = residual * (_uniform(rng, self.config.residual) * rng.random() * 0.6)
        outer = [0, 2]
        grid = pixel_grid(*size)
        linear = frames**GAMMA
        resampled = warp(linear[outer], (grid - camera[outer] + residual).to(self.device)).clamp_max(1)
        for place, index in enumerate(outer):
            linear[index] = _fill_unseen(rng, resampled[place], linear[REFERENCE], times[index] / times[REFERENCE])
        encoded = linear ** (1 / GAMMA)
        encoded[REFERENCE] = frames[REFERENCE]
        return encoded


def _composite(radiance: Tensor, positions: Tensor, thing: MovingObject, margin: int) -> Tensor | None:
    """Put an object over the three instants, in place; returns where it passes (1×H×W) if it moves, None if unseen."""
    height, width = radiance.shape[-2:]
    # The box that holds the object at all instants: canvas positions differ from pixels by the flow, within the margin.
    reach = thing.reach() + margin
    low = np.floor(thing.centres.min(axis=0) - margin - reach).astype(int)
    high = np.ceil(thing.centres.max(axis=0) - margin + reach).astype(int) + 1
    left, top = max(0, int(low[0])), max(0, int(low[1]))
    right, bottom = min(width, int(high[0])), min(height, int(high[1]))
    if right <= left or bottom <= top:
        return None
    box = (slice(top, bottom), slice(left, right))
    colour, alpha = thing.render(positions[:, box[0], box[1]])
    radiance[:, :, box[0], box[1]] = torch.lerp(radiance[:, :, box[0], box[1]], colour, alpha)
    if thing.displacement < 0.1:
        return None
    passed = radiance.new_zeros(1, height, width)
    passed[:, box[0], box[1]] = alpha.amax(dim=0)
    return passed


def _moved_mask(radiance: Tensor, coverage: Tensor | None) -> Tensor:
    """1×H×W: 1 where an object passes or the radiance changes by more than about 5 % of its own and 0.002 of white."""
    reference = radiance[REFERENCE]
    change = torch.maximum((radiance[0] - reference).abs(), (radiance[2] - reference).abs())
    mask = (change / (0.05 * reference + 0.002)).amax(dim=0, keepdim=True).clamp(0, 1)
    mask = F.max_pool2d(mask[None], 3, 1, 1)[0]
    return mask if coverage is None else torch.maximum(mask, coverage)


def _fill_unseen(rng: np.random.Generator, picture: Tensor, reference: Tensor, ratio: float) -> Tensor:
    """Replace a border strip, as a large registration leaves one, by the exposed reference or by the repeated edge."""
    if rng.random() < 0.4:
        return picture
    height, width = picture.shape[-2:]
    reach = min(rng.exponential(10.0), 0.3 * min(height, width))
    angle, tilt = rng.integers(0, 4) * np.pi / 2 + rng.uniform(-0.3, 0.3), rng.random() < 0.6
    grid = pixel_grid(height, width, picture.device)
    direction = picture.new_tensor(
        [np.cos(angle), np.sin(angle)] if tilt else [np.sign(np.cos(angle)), np.sign(np.sin(angle))]
    )
    centred = grid - grid.new_tensor([(width - 1) / 2, (height - 1) / 2])
    along = (centred * direction).sum(-1)
    unseen = along > along.max() - reach
    if rng.random() < 0.6:
        return torch.where(unseen, (reference * ratio).clamp(0, 1), picture)
    overshoot = (along - (along.max() - reach)).clamp_min(0)
    return warp(picture[None], (grid - overshoot[..., None] * direction)[None], "bilinear")[0]


def _choose_exposure(rng: np.random.Generator, config: SynthesisConfig, probe: Tensor, times: np.ndarray) -> float:
    """Scale of the scene such that the three frames saturate as a photographer's would.

    The short frame keeps nearly all highlights and the reference a good part; a scene with more range than the
    bracket gives up highlights rather than let even the long frame drown in noise.
    """
    peaks = probe.amax(dim=0).flatten().sort().values
    count = len(peaks) - 1

    def level(saturated: float) -> float:
        return max(float(peaks[round((1 - saturated) * count)]), 1e-9)

    scale = 1 / level(_uniform(rng, config.short_saturated))
    scale = min(scale, 1 / (level(_uniform(rng, config.reference_saturated)) * times[REFERENCE]))
    if scale * level(0.5) * times[2] < 0.08:
        scale = 0.08 / (level(0.5) * times[2]) * rng.uniform(0.5, 2.0)
        scale = min(scale, 1 / level(max(0.08, config.short_saturated[1])))
    return scale


def _grade(scene: Tensor, gains: Tensor, saturation: float, power: float) -> Tensor:
    """White balance, saturation and contrast of 3×H×W linear light."""
    scene = scene * gains
    grey = scene.mean(dim=0, keepdim=True)
    return (grey + saturation * (scene - grey)).clamp_min(0) ** power


def _crop(rng: np.random.Generator, picture: Tensor, size: tuple[int, int], ratio: float) -> Tensor:
    """A random window of about `ratio` × `size` source pixels, turned and mirrored at random, in the stored dtype."""
    turned = bool(rng.random() < 0.25)
    window = (size[1], size[0]) if turned else size
    height, width = picture.shape[1:]
    ratio = min(ratio, height / window[0], width / window[1])
    tall, wide = (max(2, min(int(side * ratio), full)) for side, full in zip(window, (height, width), strict=True))
    top, left = int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1))
    piece = picture[:, top : top + tall, left : left + wide]
    if turned:
        piece = piece.transpose(1, 2)
    flips = [axis for axis in (1, 2) if rng.random() < (0.5 if axis == 2 else 0.15)]
    return piece.flip(flips) if flips else piece


def _outer_only(values: np.ndarray) -> np.ndarray:
    """Errors of the outer frames relative to the reference, whose exposure defines the unit of the truth."""
    values = values.copy()
    values[REFERENCE] = 0
    return values


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _uniform(rng: np.random.Generator, interval: Range, shape: int | tuple[int, ...] | None = None) -> np.ndarray:
    return rng.uniform(interval[0], interval[1], shape)


def _log_uniform(rng: np.random.Generator, interval: Range) -> float:
    """Uniform in the logarithm; an interval that starts at 0 is just that 0 or its upper end scaled uniformly."""
    low, high = interval
    if low <= 0:
        return float(rng.uniform(low, high))
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def validation_brackets(
    bank: SceneBank, count: int = 24, size: int | tuple[int, int] = 384, seed: int = 0
) -> list[SyntheticBatch]:
    """A fixed set for choosing checkpoints: equal shares of the four kinds, exposures 1:4:16, half 8-bit, half 16-bit.

    Sensor noise as in training; nothing is registered beforehand, the camera is well calibrated, and the large pictures
    make every motion count. The same arguments give the same set on the same version of torch.

    Returns:
        `count` batches of one bracket, kinds in rotation.

    Example:
        >>> [b.kind[0] for b in validation_brackets(SceneBank.procedural(), 4, 64)]
        ['static', 'camera', 'objects', 'both']
    """
    generator = torch.Generator().manual_seed(seed)
    brackets = []
    for index in range(count):
        config = SynthesisConfig(
            ev_steps=((2, 2),),
            photo_share=0.0 if bank.hdr else 1.0,
            registered_share=0.0,
            bit_depths=((8, 16)[index // len(KINDS) % 2],),
            exposure_error_share=0.0,
            white_balance_drift_share=0.0,
            black_level_share=0.0,
            srgb_share=0.0,
            curve_error_share=0.0,
            jpeg_share=0.0,
        )
        brackets.append(Synthesizer(bank, config).sample(1, size, generator, KINDS[index % len(KINDS)]))
    return brackets

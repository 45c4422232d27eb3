"""Every range and probability of the bracket synthesis, in one place."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from afunet_core.errors import ArgumentError

Kind = Literal["static", "camera", "objects", "both"]
Range = tuple[float, float]
KINDS: tuple[Kind, ...] = ("static", "camera", "objects", "both")
_SIGNED = ("camera_angle", "camera_zoom", "camera_tilt", "black_level")
_POSITIVE = ("clip", "source_scale", "scene_gamma", "white_balance", "object_radius", "object_displacement")


@dataclass(frozen=True)
class SynthesisConfig:
    """Ranges and probabilities of the synthesis.

    Pairs (low, high) are drawn from uniformly, or uniformly in the logarithm where the comment says so. Lengths are
    in pixels of the bracket, `…_share` are probabilities. Values that cannot be are refused (`ArgumentError`).
    """

    # Probabilities of static, camera, objects, both.
    kind_weights: tuple[float, float, float, float] = (0.15, 0.25, 0.25, 0.35)
    # EV from the first to the second and from the second to the third frame, drawn with equal probability.
    ev_steps: tuple[tuple[float, float], ...] = (
        *((2.0, 2.0),) * 8,
        *((1.0, 1.0), (1.5, 1.5), (3.0, 3.0), (3.0, 3.0), (4.0, 4.0), (1.0, 2.0), (2.0, 3.0), (3.0, 1.5)),
    )

    # --- the scene
    photo_share: float = 0.2
    source_scale: Range = (0.6, 2.0)  # source pixels per output pixel, logarithmic
    detail_share: float = 0.6  # how often the more textured of two windows is taken
    scene_gamma: Range = (0.85, 1.2)
    saturation: Range = (0.6, 1.4)
    white_balance: Range = (0.87, 1.15)
    highlight_boost: Range = (0.0, 12.0)  # how much brighter the white of a photograph becomes
    light_field_stops: Range = (0.0, 5.0)  # smooth light over a photograph
    # Light above this many whites of the short frame is cut before anything is resampled: it would ring.
    clip: Range = (1.5, 4.0)
    # Shares of the picture that the short and the middle frame saturate, where the scene's range allows.
    short_saturated: Range = (0.0, 0.03)
    reference_saturated: Range = (0.02, 0.7)

    # --- the camera
    registered_share: float = 0.45  # brackets that have been through registration
    camera_translation: Range = (0.3, 40.0)  # from the reference to an outer frame, logarithmic
    camera_angle: Range = (-0.035, 0.035)
    camera_zoom: Range = (-0.02, 0.02)
    camera_tilt: Range = (-0.01, 0.01)
    parallax_share: float = 0.35
    parallax: Range = (0.5, 8.0)
    blur_share: float = 0.12
    blur: Range = (0.5, 4.0)
    residual: Range = (0.0, 1.5)  # what registration leaves
    # Brackets from a camera that stood still, or was registered, in which the motion of things has been followed.
    followed_share: float = 0.6

    # --- the objects
    object_count: tuple[int, int] = (1, 8)  # on 192×192 pixels or less; more on larger pictures
    object_radius: Range = (3.0, 60.0)  # logarithmic
    object_displacement: Range = (0.3, 60.0)  # from one frame to the next, logarithmic
    passing_share: float = 0.12  # objects that only one of the frames sees
    lamp_share: float = 0.08  # objects brighter than the white of the short frame
    flow_share: float = 0.35  # brackets in which things sway in the wind
    flow: Range = (0.5, 8.0)  # logarithmic

    # --- the sensor
    gain: Range = (2e-5, 2e-3)  # one over the electrons of full well, logarithmic: ISO 100 to 6400
    read_noise: Range = (1e-4, 5e-3)  # of full well, logarithmic
    black_level_share: float = 0.15
    black_level: Range = (-0.001, 0.001)
    bit_depths: tuple[int | None, ...] = (8, 8, 8, 8, 16, 16, 14, 12, 10, None)
    exposure_error_share: float = 0.2
    exposure_error: float = 0.03
    white_balance_drift_share: float = 0.15
    white_balance_drift: float = 0.02
    srgb_share: float = 0.1
    curve_error_share: float = 0.08
    curve_error: float = 0.03
    jpeg_share: float = 0.06  # of the 8-bit brackets
    jpeg_quality: tuple[int, int] = (80, 98)
    # Brackets by a camera with a response curve and processing of its own, linearised as well as `merge()` can.
    camera_share: float = 0.0
    camera_curves: str | None = None  # an .npz file with a basis of measured response curves

    def __post_init__(self) -> None:
        for entry in fields(self):
            self._check(entry.name, getattr(self, entry.name))
        if len(self.kind_weights) != len(KINDS) or min(self.kind_weights) < 0 or sum(self.kind_weights) <= 0:
            raise ArgumentError("kind_weights", f"{len(KINDS)} weights, not all 0", self.kind_weights)
        if not self.ev_steps or any(step <= 0 for steps in self.ev_steps for step in steps):
            raise ArgumentError("ev_steps", "pairs of EV steps above 0", self.ev_steps, "For example ((2, 2),).")
        if not self.bit_depths or any(bits is not None and not 1 <= bits <= 16 for bits in self.bit_depths):
            raise ArgumentError("bit_depths", "1 to 16 bits, or None", self.bit_depths, "For example (8, 16).")

    def _check(self, name: str, value: Any) -> None:
        if name.endswith("_share") and not 0 <= value <= 1:
            raise ArgumentError(name, "a probability in [0, 1]", value, "Give the share of the brackets.")
        pair = isinstance(value, tuple) and len(value) == 2 and all(isinstance(v, int | float) for v in value)
        if not pair or name == "bit_depths":
            return
        if value[0] > value[1]:
            raise ArgumentError(name, "(low, high) with low ≤ high", value, "Swap the two.")
        if name not in _SIGNED and value[0] < 0:
            raise ArgumentError(name, "a range from 0 up", value, "Negative lengths and levels do not exist.")
        if name in _POSITIVE and value[0] <= 0:
            raise ArgumentError(name, "a range above 0", value, "Give the smallest size or factor.")

    @classmethod
    def noiseless(cls, **changes: Any) -> SynthesisConfig:
        """A perfect 16-bit camera with EV 0, 2, 4: for tests, and to see motion alone."""
        perfect = cls(
            ev_steps=((2.0, 2.0),),
            registered_share=0.0,
            followed_share=0.0,
            gain=(0.0, 0.0),
            read_noise=(0.0, 0.0),
            bit_depths=(16,),
            black_level_share=0.0,
            exposure_error_share=0.0,
            white_balance_drift_share=0.0,
            srgb_share=0.0,
            curve_error_share=0.0,
            jpeg_share=0.0,
        )
        return replace(perfect, **changes)

    @classmethod
    def evaluation(cls, bits: int = 16, **changes: Any) -> SynthesisConfig:
        """Brackets to compare methods on: EV 0, 2, 4, moderate noise, large motion, not registered yet."""
        calm = cls.noiseless(
            photo_share=0.0,
            short_saturated=(0.0, 0.05),
            reference_saturated=(0.1, 0.9),
            camera_translation=(4.0, 40.0),
            object_count=(2, 8),
            object_radius=(8.0, 60.0),
            object_displacement=(0.5, 60.0),
            gain=(4e-5, 8e-4),
            read_noise=(8e-4, 5e-3),
            bit_depths=(bits,),
        )
        return replace(calm, **changes)

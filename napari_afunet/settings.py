"""What the view edits and the core receives: one plain dataclass, with the user's preferences as its defaults."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

__all__ = [
    "ALIGNMENTS",
    "BIT_DEPTHS",
    "BORDERS",
    "CHANNELS",
    "ENCODINGS",
    "METHODS",
    "NOISES",
    "PRECISIONS",
    "RESPONSES",
    "UNITS",
    "MergeSettings",
    "parse_black_level",
    "parse_noise",
]

# value → what the user reads
ENCODINGS = {
    "gamma": "Photograph (gamma 2.2)",
    "srgb": "Photograph (sRGB curve)",
    "linear": "Linear (sensor, microscope, raw)",
}
CHANNELS = {None: "All", "red": "Red alone", "green": "Green alone", "blue": "Blue alone"}
# Any other response is the file of a curve.
RESPONSES = {
    None: "As the encoding says",
    "auto": "Find if the frames contradict it",
    "estimate": "Estimate from this bracket",
}
BIT_DEPTHS = {None: "As stored", 8: "8 bit", 10: "10 bit", 12: "12 bit", 14: "14 bit", 16: "16 bit"}
METHODS = {
    "auto": "Automatic: best of both",
    "afunet": "AFUNet (removes ghosts)",
    "weighted": "Weighted average (nothing moved)",
    "mertens": "Exposure fusion (display only)",
}
# Any other noise is two numbers: counts an electron, and read noise in counts.
NOISES = ("estimate", "photons")
BORDERS = {"fill": "Fill from the reference", "crop": "Crop to what all frames show"}
UNITS = {"relative": "Relative (1 = saturation)", "counts": "Counts, as in the data"}
ALIGNMENTS = {"auto": "If the frames need it", "camera": "The camera's motion only", "on": "Always", "off": "Never"}
PRECISIONS = {"auto": "Automatic", "float32": "32-bit float", "bfloat16": "bfloat16", "float16": "16-bit float"}
GIGABYTE = 1024**3


@dataclass(frozen=True)
class MergeSettings:
    """Everything a merge depends on besides the pixels.

    Attributes:
        ev: exposure of each frame in EV (the difference counts, not the zero), or ``None``.
        times: exposure of each frame in seconds, or ``None``; only one of the two is given.
        encoding: ``gamma``, ``srgb`` or ``linear``.
        gamma: exponent of the ``gamma`` encoding.
        bit_depth: bits in use when fewer than the data type has (12-bit data in uint16), else ``None``.
        channel: ``red``, ``green`` or ``blue``: that channel of colour frames alone, as greyscale; ``None`` for all.
        black_level: what a black pixel reads, in the units of the data; the path of a dark frame; or ``"auto"``.
        response: how stored values relate to light in place of ``encoding``: the file of a curve, or ``"estimate"``.
        reference: the frame, counted as given, that moving things are shown as in; ``None``: the merge chooses.
        drift: ``"auto"`` divides out changes of light and white balance between the frames.
        noise: of the camera, for the weighted merge: ``"estimate"``, ``"photons"``, or two numbers, counts an electron
            and read noise in counts.
        override: merge even when exposure and brightness contradict each other.
        method, align, border, units, model, device, precision: as in :func:`afunet_core.merge`.
        memory_budget: bytes the network may use; ``None`` decides by what is free.
        tone_mapped, stages, ghost_map: which layers to add besides the HDR image.

    Example:
        >>> MergeSettings(ev=(-2, 0, 2), method="weighted").core_arguments()["method"]
        'weighted'
    """

    ev: tuple[float, ...] | None = None
    times: tuple[float, ...] | None = None
    encoding: str = "gamma"
    gamma: float = 2.2
    bit_depth: int | None = None
    channel: str | None = None
    black_level: float | str = 0.0
    response: str | None = None
    reference: int | None = None
    drift: str = "off"
    noise: str | tuple[float, float] = "estimate"
    override: bool = False
    method: str = "auto"
    align: str = "auto"
    border: str = "fill"
    units: str = "relative"
    model: str = "default"
    device: str = "auto"
    precision: str = "auto"
    memory_budget: int | None = None
    tone_mapped: bool = True
    stages: bool = True
    ghost_map: bool = True

    @classmethod
    def from_preferences(cls) -> MergeSettings:
        """The defaults the user chose in napari's preferences; the built-in ones where there are none."""
        try:
            from napari.settings import get_plugin_settings

            preferences = get_plugin_settings("napari-afunet")
            merging, camera, layers = preferences.merge, preferences.camera, preferences.layers
        except (ImportError, KeyError, AttributeError):  # napari before 0.9, or the plugin is not registered
            return cls()
        return cls(
            encoding=camera.encoding,
            gamma=camera.gamma,
            bit_depth=camera.bit_depth or None,
            black_level=parse_black_level(camera.black_level),
            response=camera.response.strip() or None,
            drift="auto" if camera.drift else "off",
            noise=parse_noise(camera.noise),
            method=merging.method,
            align=merging.align,
            border=merging.border,
            units=merging.units,
            model=merging.model or "default",
            device=merging.device or "auto",
            precision=merging.precision,
            memory_budget=round(merging.memory_gb * GIGABYTE) or None,
            tone_mapped=layers.tone_mapped,
            stages=layers.stages,
            ghost_map=layers.ghost_map,
        )

    def replace(self, **changes: Any) -> MergeSettings:
        """A copy with some values changed."""
        return replace(self, **changes)

    def bracket_arguments(self) -> dict[str, Any]:
        """Keyword arguments for :class:`afunet_core.Bracket`; the channel is one of the source."""
        return {
            "ev": self.ev,
            "times": self.times,
            "encoding": self.encoding,
            "gamma": self.gamma,
            "bit_depth": self.bit_depth,
            "black_level": self.black_level,
            "response": self.response,
            "reference": self.reference,
            "override": self.override,
        }

    def core_arguments(self) -> dict[str, Any]:
        """Keyword arguments for :func:`afunet_core.merge`, save that ``noise`` may be two numbers."""
        return {
            "method": self.method,
            "align": self.align,
            "border": self.border,
            "units": self.units,
            "model": self.model,
            "device": self.device,
            "precision": self.precision,
            "memory_budget": self.memory_budget,
            "drift": self.drift,
            "noise": self.noise,
            "stages": self.stages,
        }

    def changed(self) -> dict[str, Any]:
        """The values that differ from the defaults, for a script that says no more than it must."""
        default = MergeSettings()
        return {name: value for name, value in vars(self).items() if value != getattr(default, name)}


def parse_black_level(text: str) -> float | str:
    """A number, or what the core understands besides: ``auto``, or the path of a dark frame.

    Example:
        >>> parse_black_level("64,5"), parse_black_level(""), parse_black_level(" auto ")
        (64.5, 0.0, 'auto')
    """
    text = text.strip()
    try:
        return float(text.replace(",", ".") or 0)
    except ValueError:
        return text


def parse_noise(text: str) -> str | tuple[float, float]:
    """Counts an electron and read noise in counts, or a word for the core.

    Example:
        >>> parse_noise("0.5, 4"), parse_noise("0,5; 4"), parse_noise(""), parse_noise("photons")
        ((0.5, 4.0), (0.5, 4.0), 'estimate', 'photons')
    """
    text = text.strip()
    parts = text.replace(",", ".").split(";") if ";" in text else text.split(",")
    try:
        gain, read_noise = (float(part) for part in parts)
    except ValueError:
        return text or "estimate"
    return gain, read_noise

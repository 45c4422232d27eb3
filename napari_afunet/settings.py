"""What the view edits and the core receives: one plain dataclass, with the user's preferences as its defaults."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

__all__ = ["ALIGNMENTS", "BIT_DEPTHS", "ENCODINGS", "METHODS", "PRECISIONS", "RESPONSES", "MergeSettings"]

# value → what the user reads
ENCODINGS = {
    "gamma": "Photograph (gamma 2.2)",
    "srgb": "Photograph (sRGB curve)",
    "linear": "Linear (sensor, microscope, raw)",
}
# Any other response is the file of a curve.
RESPONSES = {None: "As the encoding says", "estimate": "Estimate from this bracket"}
BIT_DEPTHS = {None: "As stored", 8: "8 bit", 10: "10 bit", 12: "12 bit", 14: "14 bit", 16: "16 bit"}
METHODS = {
    "auto": "Automatic: best of both",
    "afunet": "AFUNet (removes ghosts)",
    "weighted": "Weighted average (nothing moved)",
    "mertens": "Exposure fusion (display only)",
}
ALIGNMENTS = {"auto": "If the frames need it", "on": "Always", "off": "Never"}
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
        black_level: what a black pixel reads, in the units of the data; the path of a dark frame; or ``"auto"``.
        response: how stored values relate to light in place of ``encoding``: the file of a curve, or ``"estimate"``.
        drift: ``"auto"`` divides out changes of light and white balance between the frames.
        override: merge even when exposure and brightness contradict each other.
        method, align, model, device, precision: as in :func:`afunet_core.merge`.
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
    black_level: float | str = 0.0
    response: str | None = None
    drift: str = "off"
    override: bool = False
    method: str = "auto"
    align: str = "auto"
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
            merging, layers = preferences.merge, preferences.layers
        except (ImportError, KeyError, AttributeError):  # napari before 0.9, or the plugin is not registered
            return cls()
        return cls(
            method=merging.method,
            align=merging.align,
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
        """Keyword arguments for :class:`afunet_core.Bracket`."""
        return {
            "ev": self.ev,
            "times": self.times,
            "encoding": self.encoding,
            "gamma": self.gamma,
            "bit_depth": self.bit_depth,
            "black_level": self.black_level,
            "response": self.response,
            "override": self.override,
        }

    def core_arguments(self) -> dict[str, Any]:
        """Keyword arguments for :func:`afunet_core.merge`."""
        return {
            "method": self.method,
            "align": self.align,
            "model": self.model,
            "device": self.device,
            "precision": self.precision,
            "memory_budget": self.memory_budget,
            "drift": self.drift,
            "stages": self.stages,
        }

    def changed(self) -> dict[str, Any]:
        """The values that differ from the defaults, for a script that says no more than it must."""
        default = MergeSettings()
        return {name: value for name, value in vars(self).items() if value != getattr(default, name)}

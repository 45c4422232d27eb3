"""The display that ColorVideoVDP assumes; every label names it, for the scores depend on it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from afunet_core.errors import ArgumentError

__all__ = ["DisplayModel"]


@dataclass(frozen=True)
class DisplayModel:
    """A linear display. The defaults are ColorVideoVDP's ``standard_hdr_linear``: 30 inches, 4K, at two heights.

    Raises:
        ArgumentError: for values no display has.

    Example:
        >>> DisplayModel(pixels_per_degree=50).definition
        'linear BT.709, 1.0 shown at 1500 cd/m², black at 0.0015 cd/m², ambient 10 lux, 50 pixels per degree'
    """

    # luminance at which radiance 1.0 (the saturation of the shortest frame) is shown, in cd/m²; no more can be
    peak: float = 1500.0
    contrast: float = 1e6  # peak over black
    ambient: float = 10.0  # light on the screen, in lux
    pixels_per_degree: float = 75.4  # of the viewer's vision

    def __post_init__(self) -> None:
        for name, value, least in (
            ("peak", self.peak, 0.0),
            ("contrast", self.contrast, 1.0),
            ("pixels_per_degree", self.pixels_per_degree, 0.0),
        ):
            if not value > least:
                raise ArgumentError(name, f"above {least:g}", value)
        if not self.ambient >= 0:
            raise ArgumentError("ambient", "at least 0 lux", self.ambient)

    @property
    def definition(self) -> str:
        """The description for labels."""
        return (
            f"linear BT.709, 1.0 shown at {self.peak:g} cd/m², black at {self.peak / self.contrast:g} cd/m², "
            f"ambient {self.ambient:g} lux, {self.pixels_per_degree:g} pixels per degree"
        )

    def luminance(self, radiance: Tensor) -> Tensor:
        """Compute what the display shows: B×3×H×W float32 in cd/m², without reflections; grey becomes three channels.

        Example:
            >>> import torch
            >>> DisplayModel(peak=100, contrast=1000).luminance(torch.tensor([0, 0.5, 7]).view(1, 3, 1, 1)).flatten()
            tensor([  0.1000,  50.0000, 100.0000])
        """
        shown = (radiance.float() * self.peak).clamp(self.peak / self.contrast, self.peak)
        return shown.expand(-1, 3, -1, -1) if radiance.shape[1] == 1 else shown

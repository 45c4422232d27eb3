"""Pixel size: what a pixel of a microscope's image measures."""

from __future__ import annotations

from dataclasses import dataclass

_IN_CENTIMETRES = {"um": 1e-4, "µm": 1e-4, "μm": 1e-4, "micron": 1e-4, "micrometer": 1e-4, "nm": 1e-7, "mm": 0.1}
_IN_CENTIMETRES |= {"cm": 1.0, "m": 100.0, "in": 2.54, "inch": 2.54, "nanometer": 1e-7, "millimeter": 0.1}
_IN_CENTIMETRES |= {"centimeter": 1.0, "meter": 100.0, "micrometre": 1e-4}

_SMALLEST = 1e-9  # centimetres; the fractions of a TIFF hold no more than its inverse


@dataclass(frozen=True)
class PixelSize:
    """The size of a pixel, as microscopes state it."""

    height: float
    width: float
    unit: str = "um"

    @property
    def per_centimetre(self) -> tuple[float, float] | None:
        """Pixels a centimetre along width and height, as TIFF states resolution; ``None`` for other units."""
        size = _IN_CENTIMETRES.get(self.unit.lower())
        if size is None or not all(_SMALLEST < size * side < 1 / _SMALLEST for side in (self.height, self.width)):
            return None
        return 1 / (size * self.width), 1 / (size * self.height)

"""A fluorescence series, merged for measurement: greyscale, linear, 12 bits in uint16, exposures 1:4:16:64.

The specimen is a phantom: discs whose brightness covers four decades, from saturation down to a few photons. The camera
adds an offset, photon noise and read noise, and saturates at 4095 counts. The weighted merge averages what every frame
measured and invents nothing, so intensities stay proportional to light; the script prints how far they do. Run it::

    python docs/examples/fluorescence.py
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import afunet_core as af

BITS, BLACK, READ_NOISE = 12, 100, 2.0
CAPACITY = 2**BITS - 1 - BLACK  # counts, one a photon
SECONDS = (1 / 64, 1 / 16, 1 / 4, 1.0)
LEVELS = tuple(0.9 * 10 ** (-k / 4) for k in range(17))  # radiance of the discs, 1.0 = saturation of the shortest frame


def phantom(size: int = 40) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """True radiance H×W, and the number of the disc each pixel belongs to (-1 outside): one row of discs, H = size."""
    y, x = np.mgrid[:size, : size * len(LEVELS)]
    number = x // size
    inside = np.hypot(x % size - size / 2, y - size / 2) < 0.4 * size
    return np.where(inside, np.array(LEVELS)[number], 0.0), np.where(inside, number, -1)


def photograph(radiance: NDArray[np.float64], seconds: float, random: np.random.Generator) -> NDArray[np.uint16]:
    """One frame as the camera stores it."""
    photons = random.poisson(radiance * CAPACITY * seconds / min(SECONDS))
    counts = photons + BLACK + READ_NOISE * random.standard_normal(radiance.shape)
    return np.clip(np.round(counts), 0, 2**BITS - 1).astype(np.uint16)


def measure(seed: int = 0) -> dict[float, float]:
    """True radiance of every disc → what the merged image says, relative to the truth (0 is perfect)."""
    random = np.random.default_rng(seed)
    radiance, number = phantom()
    frames = [photograph(radiance, seconds, random) for seconds in SECONDS]
    bracket = af.Bracket(frames, times=SECONDS, encoding="linear", bit_depth=BITS, black_level=BLACK)
    result = af.merge(bracket, method="weighted", align="off")
    return {level: float(result.radiance[number == k].mean()) / level - 1 for k, level in enumerate(LEVELS)}


if __name__ == "__main__":
    print("true radiance   photons in the longest frame   error")
    for level, error in measure().items():
        photons = min(level * max(SECONDS) / min(SECONDS), 1) * CAPACITY
        print(f"{level:13.2e}   {photons:28.0f}   {100 * error:+5.2f} %")

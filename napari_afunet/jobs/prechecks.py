"""Checks before a merge: frames that do not fit together, lost highlights, wrong exposures, unstated levels."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_afunet.layers.source import BracketSource
from napari_afunet.settings import MergeSettings

if TYPE_CHECKING:
    from afunet_core.registration.frames import Registration

_SIDE = 320  # pixels along the longer side of the copies
_FOLLOWED = 32  # pixels of motion that the network follows by itself
_SHARP = 1.5  # pixels of motion that a mean of the frames forgives
_CERTAIN = 0.8  # confidence from which on a motion is worth a warning before the merge
_SAMPLE = 200  # pixels along each side of the grid that is looked at
# Share of white from which on the darkest value is an offset: sCMOS cameras have 100 of 65535 or of 4095 counts.
_OFFSET = 0.003


def alignment_warnings(source: BracketSource, settings: MergeSettings, should_cancel: Callable[[], bool]) -> list[str]:
    """Return sentences about frames that lie too far apart, for the method and alignment chosen.

    Loads torch and reads the middle plane: for the background.
    """
    from afunet_core.bracket.bracket import Bracket
    from afunet_core.errors import AFUNetError, MergeCancelled
    from afunet_core.registration.frames import register

    if settings.ev is None and settings.times is None:
        return []
    step = max(1, round(max(source.shape) / _SIDE))
    copies = [_reduced(frame[tuple(size // 2 for size in source.planes)], step) for frame in source.frames]
    if should_cancel():
        return []
    # What is subtracted or measured pixel by pixel says nothing of copies, and little of where things are.
    plain = settings.replace(response=None, black_level=0.0, override=True)
    try:
        bracket = Bracket(copies, names=source.names, **plain.bracket_arguments())
        _, found = register(bracket, "auto", should_cancel=should_cancel)
    except (AFUNetError, MergeCancelled):
        return []  # a merge says what is wrong with the frames themselves
    reference = bracket.names[bracket.reference]
    return [text for entry in found if (text := _warning(entry, reference, settings, step))]


def _warning(entry: Registration, reference: str, settings: MergeSettings, step: int) -> str:
    pixels = entry.displacement * step
    if entry.decision == "refused":
        # Where texture is scarce a copy cannot tell, and the merge looks again at full size.
        if settings.align == "on" or not entry.uncertainty < 1:
            return ""
        return f"“{entry.name}” and “{reference}” hardly fit together: {entry.reason}. Is it the same scene?"
    if entry.decision == "warped" and settings.align == "off" and entry.confidence >= _CERTAIN:
        moved = f"“{entry.name}” is moved by about {max(2, round(pixels))} px, and Align is “Never”"
        if settings.method in ("weighted", "mertens"):
            return f"{moved}: its details will be doubled." if pixels > _SHARP else ""
        return f"{moved}: that is further than the network follows." if pixels > _FOLLOWED else ""
    return ""


def _reduced(plane: Any, step: int) -> np.ndarray:
    """Return the mean of every block of pixels, in the type of the data; of large blocks a grid of their pixels."""
    from skimage.measure import block_reduce

    stride = max(1, step // 4)
    pixels = np.asarray(plane[::stride, ::stride])
    side = step // stride
    rows, columns = (max(1, size // side) * side for size in pixels.shape[:2])
    pixels = pixels[:rows, :columns, :3] if pixels.ndim == 3 else pixels[:rows, :columns]
    means = block_reduce(pixels, (side, side, 1)[: pixels.ndim], np.mean)
    return np.round(means).astype(pixels.dtype) if pixels.dtype.kind == "u" else means


def bracket_warnings(source: BracketSource, settings: MergeSettings) -> list[str]:
    """Sentences about what no merge can mend; only frames that are in memory are looked at."""
    pixels = _samples(source)
    exposures = settings.ev or settings.times
    if exposures is None or not pixels or source.frames[0].dtype.kind not in "uf":
        return []
    order = np.argsort(exposures)
    warnings = []
    if source.planes and source.shape[1] in (3, 4):
        advice = "press “Open…” for its files, or add it with rgb=True."
        warnings.append(
            f"“{source.names[0]}” is a stack of planes {source.shape[1]} pixels wide. If it is in colour, {advice}"
        )
    white = _saturation(source.frames[0].dtype, settings.bit_depth)
    lost = float(np.mean(pixels[order[0]] >= white))
    if lost > 0.01:
        name = source.names[order[0]]
        warnings.append(f"{lost:.0%} of “{name}”, the shortest frame, is saturated: those highlights are lost.")
    for darker, brighter in pairwise(order):
        if pixels[darker].mean() > 1.02 * pixels[brighter].mean():
            names = source.names[darker], source.names[brighter]
            advice = "but should be darker: check the exposures."
            if exposures[darker] == exposures[brighter]:
                advice = "at one exposure. Are they channels? Select those of one of them and press “Find again”."
            warnings.append(f"“{names[0]}” is brighter than “{names[1]}” {advice}")
    return warnings


def bit_depth_hint(source: BracketSource, settings: MergeSettings) -> int | None:
    """Return the bits that integers seem to use, if they are fewer than their type has and the settings do not say."""
    pixels, dtype = _samples(source), source.frames[0].dtype
    if settings.bit_depth is not None or not pixels or dtype.kind not in "iu":
        return None
    largest = max(float(values.max()) for values in pixels)
    bits = next((bits for bits in (8, 10, 12, 14, 16) if largest < 2**bits), 64)
    return bits if bits < np.iinfo(dtype).bits and largest > 2 ** (bits - 2) else None


def black_level_hint(source: BracketSource, settings: MergeSettings) -> float | None:
    """Return the darkest value of linear counts, if it lies so high that it must be an offset of the camera's."""
    pixels = _samples(source)
    if settings.encoding != "linear" or settings.black_level != 0 or not pixels:
        return None
    if source.frames[0].dtype.kind != "u" or (settings.ev is None and settings.times is None):
        return None
    shortest = pixels[int(np.argmin(settings.ev or settings.times or ()))]
    darkest = float(np.percentile(shortest, 0.1))
    white = _saturation(source.frames[0].dtype, settings.bit_depth or bit_depth_hint(source, settings))
    return darkest if darkest > _OFFSET * white else None


def estimate_exposures(source: BracketSource, settings: MergeSettings) -> list[float]:
    """Estimate the exposure of every frame in EV from the brightness of the middle plane."""
    from afunet_core.bracket.exposure_checks import estimate_exposures as estimate
    from afunet_core.bracket.pixels import PixelFormat, to_encoded_frames

    planes = [np.asarray(frame[tuple(size // 2 for size in source.planes)]) for frame in source.frames]
    black = settings.black_level if isinstance(settings.black_level, float) else 0.0
    pixel_format = PixelFormat(settings.encoding, settings.bit_depth, black)
    frames, _, _ = to_encoded_frames(planes, list(source.names), pixel_format)
    return estimate(frames, source.names, settings.encoding, settings.gamma)


def _samples(source: BracketSource) -> list[np.ndarray]:
    """Return a grid of the middle plane of every frame; none where a frame is not in memory."""
    if not all(isinstance(frame, np.ndarray) for frame in source.frames):
        return []
    return [_sample(frame[tuple(size // 2 for size in source.planes)]) for frame in source.frames]


def _sample(plane: np.ndarray) -> np.ndarray:
    """A coarse grid of pixels; for colours the brightest channel, the first to saturate."""
    rows, columns = (max(1, size // _SAMPLE) for size in plane.shape[:2])
    grid = plane[::rows, ::columns].astype(np.float32)
    return grid if grid.ndim == 2 else grid[..., :3].max(-1)


def _saturation(dtype: np.dtype, bit_depth: int | None) -> float:
    if bit_depth is not None:
        return float(2**bit_depth - 1)
    return float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0

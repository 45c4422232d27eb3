"""Figures like the paper's 4 and 5: the frames, the result, zoomed patches of every method, the truth, error maps.

Built from plain arrays with NumPy and Pillow, so that any set of results, ours or another's, can be laid out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from afunet_core.errors import ArgumentError, ShapeError

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

__all__ = ["Box", "choose_boxes", "comparison_figure", "error_map", "heat"]

Picture = NDArray[np.float32]

BOX_COLOURS = ((235, 64, 52), (52, 160, 235), (70, 190, 90), (240, 180, 40))
_HEAT = np.array(
    [
        [0, 0, 4],
        [40, 11, 84],
        [101, 21, 110],
        [159, 42, 99],
        [212, 72, 66],
        [245, 125, 21],
        [250, 193, 39],
        [252, 255, 164],
    ],
    np.float32,
)
_GAP = 6
_LINE = 18


class Box(NamedTuple):
    """A rectangle of the image in pixels."""

    top: int
    left: int
    height: int
    width: int


def comparison_figure(
    inputs: Sequence[np.ndarray],
    results: Mapping[str, np.ndarray],
    truth: np.ndarray | None = None,
    boxes: Sequence[Box | Sequence[int]] | None = None,
    *,
    width: int = 1600,
    operator: str = "mu_law",
    exposure: float = 0.0,
    max_error: float = 0.1,
) -> NDArray[np.uint8]:
    """Lay out a comparison.

    On top the frames beside the first result with the boxes marked; below, for every box a row of patches from the
    frames, from each result and from the truth; with a truth, below each result's patch its error after the μ-law, and
    PSNR-μ of the whole image under its name.

    Args:
        inputs: the frames as stored, display-encoded ``H×W×3`` in [0, 1], shortest first.
        results: radiance ``H×W×3`` (1.0 = saturation of the shortest frame) by the name of the method.
        truth: radiance of the same shape.
        boxes: ``(top, left, height, width)`` of the zoomed patches; by default two are chosen where the results differ.
        width: of the figure in pixels.
        operator, exposure: tone mapping of radiance.
        max_error: the error (of μ-law values) shown as the brightest colour.

    Returns:
        ``H×W×3`` uint8.

    Raises:
        ShapeError: for pictures that differ in size.
        ArgumentError: without results, or for a box outside the image.

    Example:
        >>> picture = np.random.default_rng(0).random((48, 64, 3), dtype=np.float32)
        >>> comparison_figure([picture] * 3, {"ours": picture}, picture, [(0, 0, 16, 16)], width=640).shape[1]
        640
    """
    if not results:
        raise ArgumentError("results", "at least one named result", "none")
    frames = [_colour(frame, f"inputs[{i}]") for i, frame in enumerate(inputs)]
    images = {name: _colour(image, name) for name, image in results.items()}
    target = None if truth is None else _colour(truth, "truth")
    size = _common_size({**{f"inputs[{i}]": f for i, f in enumerate(frames)}, **images}, target)
    chosen = choose_boxes(list(images.values()), target) if boxes is None else [Box(*map(int, box)) for box in boxes]
    for box in chosen:
        _check_box(box, size)
    shown = {name: _display(image, operator, exposure) for name, image in images.items()}
    columns = {f"frame {i}": frame for i, frame in enumerate(frames, 1)} | shown
    if target is not None:
        columns["truth"] = _display(target, operator, exposure)
    captions = _captions(list(columns), images, target)
    errors = (
        {} if target is None else {name: heat(error_map(image, target), max_error) for name, image in images.items()}
    )
    rows = [_overview(frames, next(iter(shown.values())), chosen, width)]
    for number, box in enumerate(chosen):
        colour = BOX_COLOURS[number % len(BOX_COLOURS)]
        rows.append(_patch_row(list(columns.values()), box, colour, width))
        if errors:
            rows.append(_patch_row([errors.get(name) for name in columns], box, colour, width))
    rows.append(_caption_row(captions, width))
    return np.concatenate(rows)


def choose_boxes(results: Sequence[np.ndarray], truth: np.ndarray | None = None, count: int = 2) -> list[Box]:
    """Where the results differ most from the truth, or from each other: squares that do not overlap.

    Example:
        >>> flat, spot = np.zeros((64, 64, 3), np.float32), np.zeros((64, 64, 3), np.float32)
        >>> spot[40:44, 20:24] = 1
        >>> choose_boxes([flat, spot], count=1)
        [Box(top=34, left=14, height=16, width=16)]
    """
    mapped = [_mu(result) for result in results]
    base = _mu(truth) if truth is not None else np.mean(mapped, axis=0, dtype=np.float32)
    score = np.max([np.abs(image - base).mean(-1) for image in mapped], axis=0)
    rows, columns = score.shape
    side = max(min(rows, columns) // 4, min(16, rows, columns))
    sums = np.pad(score, ((1, 0), (1, 0))).cumsum(0, dtype=np.float64).cumsum(1)
    inside = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    boxes: list[Box] = []
    for _ in range(count):
        best = inside.max()
        if not np.isfinite(best):
            break
        # Many boxes hold the same spot: the middle one of the best shows it in the middle.
        ties = np.argwhere(inside >= best - 1e-9 * max(best, 1e-9))
        middle = ((ties - ties.mean(0)) ** 2).sum(1).argmin()
        top, left = (int(value) for value in ties[middle])
        boxes.append(Box(top, left, side, side))
        inside[max(top - side, 0) : top + side, max(left - side, 0) : left + side] = -np.inf
    return boxes


def error_map(image: np.ndarray, truth: np.ndarray) -> Picture:
    """Absolute error after the μ-law, mean over colours: ``H×W``."""
    return np.abs(_mu(image) - _mu(truth)).mean(-1)


def heat(values: np.ndarray, maximum: float) -> Picture:
    """Black, purple, orange, yellow for 0 to ``maximum``: ``H×W`` → ``H×W×3`` in [0, 1].

    Example:
        >>> heat(np.array([[0.0, 1.0]]), 1.0).round(2).tolist()
        [[[0.0, 0.0, 0.019999999552965164], [0.9900000095367432, 1.0, 0.6399999856948853]]]
    """
    if not maximum > 0:
        raise ArgumentError("max_error", "a number above 0", maximum)
    place = np.clip(values / maximum, 0, 1) * (len(_HEAT) - 1)
    channels = [np.interp(place, np.arange(len(_HEAT)), _HEAT[:, c]) for c in range(3)]
    return (np.stack(channels, -1) / 255).astype(np.float32)


def _captions(columns: list[str], images: Mapping[str, Picture], truth: Picture | None) -> list[str]:
    if truth is None:
        return columns
    scores = {}  # in letters that the built-in font has
    for name, image in images.items():
        error = float(np.mean((_mu(image) - _mu(truth)) ** 2, dtype=np.float64))
        scores[name] = f"{name}\n{-10 * np.log10(max(error, 1e-12)):.2f} dB PSNR-mu"
    return [scores.get(name, name) for name in columns]


# --- layout ---


def _overview(frames: Sequence[Picture], result: Picture, boxes: Sequence[Box], width: int) -> NDArray[np.uint8]:
    """The frames in a column, the result with its boxes beside it."""
    height, columns = result.shape[:2]
    marked = np.round(result * 255).astype(np.uint8)
    for number, box in enumerate(boxes):
        _outline(marked, box, BOX_COLOURS[number % len(BOX_COLOURS)], max(1, min(height, columns) // 150))
    if not frames:
        return _framed(_resize(marked, round(height * (width - 2 * _GAP) / columns), width - 2 * _GAP), width)
    # n frames of height h and a result of height H, all of one shape: n·h + (n−1) gaps = H fills the width.
    count, aspect = len(frames), columns / height
    total = round((width - 3 * _GAP + (count - 1) * _GAP / count * aspect) / (aspect * (1 + 1 / count)))
    small = max((total - (count - 1) * _GAP) // count, 1)
    total = small * count + (count - 1) * _GAP
    left = max(round(small * aspect), 1)
    canvas = np.full((total, width - 2 * _GAP, 3), 255, np.uint8)
    for number, frame in enumerate(frames):
        top = number * (small + _GAP)
        canvas[top : top + small, :left] = _resize(np.round(frame * 255).astype(np.uint8), small, left)
    canvas[:, left + _GAP :] = _resize(marked, total, canvas.shape[1] - left - _GAP)
    return _framed(canvas, width)


def _patch_row(
    pictures: Sequence[Picture | None], box: Box, colour: tuple[int, int, int], width: int
) -> NDArray[np.uint8]:
    """The same box of every picture; an empty place where there is none."""
    side = _cell(len(pictures), width)
    height = max(round(side * box.height / box.width), 1)
    canvas = np.full((height, width - 2 * _GAP, 3), 255, np.uint8)
    for number, picture in enumerate(pictures):
        if picture is None:
            continue
        patch = picture[box.top : box.top + box.height, box.left : box.left + box.width]
        shown = _resize(np.round(patch * 255).astype(np.uint8), height, side, sharp=True)
        _outline(shown, Box(0, 0, height, side), colour, 2)
        canvas[:, number * (side + _GAP) : number * (side + _GAP) + side] = shown
    return _framed(canvas, width)


def _caption_row(captions: Sequence[str], width: int) -> NDArray[np.uint8]:
    """Each name, and what stands below it, centred under its column."""
    from PIL import Image, ImageDraw

    side = _cell(len(captions), width)
    lines = max(caption.count("\n") for caption in captions) + 1
    image = Image.new("RGB", (width, lines * _LINE + _GAP), "white")
    draw = ImageDraw.Draw(image)
    for number, caption in enumerate(captions):
        for line, text in enumerate(caption.split("\n")):
            font = _fitting_font(text, side)
            middle = _GAP + number * (side + _GAP) + side / 2
            draw.text((middle - font.getlength(text) / 2, line * _LINE), text, fill="black", font=font)
    return np.asarray(image)


def _fitting_font(text: str, width: int) -> FreeTypeFont | ImageFont:
    """The largest size, down to 7, at which the text fits."""
    from PIL import ImageFont

    for size in range(14, 6, -1):
        font = ImageFont.load_default(size)
        if font.getlength(text) <= width:
            break
    return font


def _cell(count: int, width: int) -> int:
    side = (width - 2 * _GAP - (count - 1) * _GAP) // count
    if side < 8:
        raise ArgumentError("width", f"more pixels for {count} columns", width, "Give a larger width.")
    return side


def _framed(row: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    canvas = np.full((row.shape[0] + _GAP, width, 3), 255, np.uint8)
    canvas[_GAP // 2 : _GAP // 2 + row.shape[0], _GAP : _GAP + row.shape[1]] = row
    return canvas


def _resize(image: NDArray[np.uint8], height: int, width: int, sharp: bool = False) -> NDArray[np.uint8]:
    """To another size; ``sharp`` shows enlarged pixels as they are."""
    from PIL import Image

    enlarge = sharp and height >= image.shape[0]
    resampling = Image.Resampling.NEAREST if enlarge else Image.Resampling.LANCZOS
    return np.array(Image.fromarray(image).resize((max(width, 1), max(height, 1)), resampling))


def _outline(image: NDArray[np.uint8], box: Box, colour: tuple[int, int, int], thickness: int) -> None:
    """Draw a rectangle in place."""
    view = image[box.top : box.top + box.height, box.left : box.left + box.width]
    for side in (view[:thickness], view[-thickness:], view[:, :thickness], view[:, -thickness:]):
        side[...] = colour


# --- pictures ---


def _colour(image: np.ndarray, name: str) -> Picture:
    pixels = np.asarray(image, np.float32)
    pixels = np.repeat(pixels[..., None], 3, -1) if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ShapeError(name, "an image H×W×3 or H×W", tuple(np.shape(image)))
    return np.nan_to_num(pixels, nan=0.0, posinf=1.0, neginf=0.0)


def _common_size(pictures: Mapping[str, Picture], truth: Picture | None) -> tuple[int, int]:
    named = dict(pictures) if truth is None else {**pictures, "truth": truth}
    first, size = next((name, picture.shape[:2]) for name, picture in named.items())
    for name, picture in named.items():
        if picture.shape[:2] != size:
            raise ShapeError(name, f"the size of {first}, {size[0]}×{size[1]}", picture.shape[:2])
    return size


def _check_box(box: Box, size: tuple[int, int]) -> None:
    inside = 0 <= box.top < box.top + box.height <= size[0] and 0 <= box.left < box.left + box.width <= size[1]
    if not inside:
        advice = "A box is top,left,height,width in pixels."
        raise ArgumentError("box", f"a rectangle inside {size[0]}×{size[1]}", tuple(box), advice)


def _display(radiance: Picture, operator: str, exposure: float) -> Picture:
    import torch

    from afunet_core.tonemap import tone_map

    mapped = tone_map(torch.from_numpy(radiance.copy()).permute(2, 0, 1)[None], operator, ev=exposure)
    return mapped[0].permute(1, 2, 0).clamp(0, 1).numpy()


def _mu(radiance: np.ndarray, mu: float = 5000.0) -> Picture:
    """The μ-law on values clipped to [0, 1], as the field measures."""
    return (np.log1p(mu * np.clip(radiance, 0, 1)) / np.log1p(mu)).astype(np.float32)

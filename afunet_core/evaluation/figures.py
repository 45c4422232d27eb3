"""Comparison figures like the paper's 4 and 5: frames, result, patches of every method, truth, error maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from afunet_core.errors import ArgumentError, DependencyError, ShapeError
from afunet_core.evaluation.scores import Evaluation
from afunet_core.metrics import psnr_mu
from afunet_core.radiometry import mu_law
from afunet_core.tonemap import tone_map

Picture = NDArray[np.float32]

COLOURS = ("tab:red", "tab:blue", "tab:green", "tab:orange")  # frames of the boxes, in turn
MAX_ERROR = 0.1  # of μ-law values, shown in the brightest colour
_DPI = 100  # pixels per inch of a figure
_NARROWEST = 16  # least width of a column in pixels: below it nothing can be seen
_CAPTION = 40  # height of the captions in pixels, two lines


class _Column(NamedTuple):
    """A picture by its caption, and where it is wrong."""

    name: str
    picture: Picture
    error: Picture | None = None


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
) -> NDArray[np.uint8]:
    """Lay out a comparison as H×W×3 uint8, ``width`` pixels wide, radiance shown by a tone-mapping operator.

    On top the frames (display-encoded H×W×3 in [0, 1]) beside the first result (radiance) with the boxes marked; below,
    for every box (top, left, height, width; by default two are chosen) a row of patches from the frames, from each
    result and from the truth; with a truth, below each result's patch its error after the μ-law, up to 0.1, and PSNR-μ
    of the whole image under its name.
    """
    if not results:
        raise ArgumentError("results", "at least one named result", "none")
    frames = [_colour(frame, f"inputs[{i}]") for i, frame in enumerate(inputs)]
    images = {name: _colour(image, name) for name, image in results.items()}
    target = None if truth is None else _colour(truth, "truth")
    named = {f"inputs[{i}]": frame for i, frame in enumerate(frames)} | images
    size = next(iter(named.values())).shape[:2]
    for name, picture in (named if target is None else named | {"truth": target}).items():
        if picture.shape[:2] != size:
            raise ShapeError(name, f"the size of {next(iter(named))}, {size[0]}×{size[1]}", picture.shape[:2])
    chosen = choose_boxes(list(images.values()), target) if boxes is None else [Box(*map(int, box)) for box in boxes]
    for box in chosen:
        if not (0 <= box.top < box.top + box.height <= size[0] and 0 <= box.left < box.left + box.width <= size[1]):
            advice = "A box is top,left,height,width in pixels."
            raise ArgumentError("box", f"a rectangle inside {size[0]}×{size[1]}", tuple(box), advice)
    columns = [_Column(f"frame {i}", frame) for i, frame in enumerate(frames, 1)]
    for name, image in images.items():
        error, caption = None, name
        if target is not None:
            error = error_map(image, target)
            caption += f"\n{psnr_mu(_tensor(image), _tensor(target)).item():.2f} dB PSNR-μ"
        columns.append(_Column(caption, _display(image, operator, exposure), error))
    if target is not None:
        columns.append(_Column("truth", _display(target, operator, exposure)))
    if width < _NARROWEST * len(columns):
        raise ArgumentError("width", f"at least {_NARROWEST * len(columns)} for {len(columns)} columns", width)
    return _draw(columns, len(frames), chosen, width)


def choose_boxes(results: Sequence[np.ndarray], truth: np.ndarray | None = None, count: int = 2) -> list[Box]:
    """Choose squares of a grid where the results differ most from the truth or from their mean."""
    mapped = [_mu(result) for result in results]
    base = _mu(truth) if truth is not None else np.mean(mapped, axis=0, dtype=np.float32)
    score = torch.from_numpy(np.max([np.abs(image - base).mean(-1) for image in mapped], axis=0))
    side = max(min(score.shape) // 4, min(16, *score.shape))
    inside = F.avg_pool2d(score[None], side)[0]
    best = inside.flatten().topk(min(count, inside.numel())).indices.tolist()
    places = (divmod(index, inside.shape[1]) for index in best)
    return [Box(row * side, column * side, side, side) for row, column in places]


def error_map(image: np.ndarray, truth: np.ndarray) -> Picture:
    """Compute the absolute error after the μ-law, mean over colours: ``H×W``."""
    return np.abs(_mu(image) - _mu(truth)).mean(-1)


def write_error_map(path: Path, image: np.ndarray, truth: np.ndarray) -> None:
    """Write :func:`error_map` as a picture in the colours of the figures; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    import_matplotlib().image.imsave(path, error_map(image, truth), vmin=0, vmax=MAX_ERROR, cmap="inferno")


def choose_scenes(table: Evaluation, method: str) -> dict[str, str]:
    """Name the scenes in which the PSNR-μ of a method was best, median (the lower of two) and worst."""
    scores = {row.scene: row.scores.get("PSNR-μ", np.nan) for row in table.rows if row.method == method}
    ranked = sorted((scene for scene in scores if not np.isnan(scores[scene])), key=scores.__getitem__)
    if not ranked:
        raise ArgumentError("method", f"one of {table.methods} with a PSNR-μ", method)
    return {"best": ranked[-1], "median": ranked[(len(ranked) - 1) // 2], "worst": ranked[0]}


def write_pictures(
    folder: str | Path,
    table: Evaluation,
    methods: Mapping[str, Callable[[Any], Tensor]],
    samples: Sequence[Any],
    *,
    judged: str,
) -> list[Path]:
    """Write ``best.jpg``, ``median.jpg`` and ``worst.jpg``, each a :func:`comparison_figure`, and return the files.

    ``judged`` is the method whose PSNR-μ decides; it stands first.
    """
    from afunet_core.io.write import write_image

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    chosen = choose_scenes(table, judged)
    scenes = {sample.name: sample for sample in samples if sample.name in chosen.values()}
    for rank, scene in chosen.items():
        sample = scenes[scene]
        with torch.no_grad():
            results = {name: _pixels(methods[name](sample)) for name in dict.fromkeys([judged, *methods])}
        frames = [_pixels(frame) for frame in sample.frames]
        picture = comparison_figure(frames, results, _pixels(sample.truth), width=1200)
        write_image(folder / f"{rank}.jpg", picture, quality=90)
    return [folder / f"{rank}.jpg" for rank in chosen]


def _draw(columns: Sequence[_Column], frames: int, boxes: Sequence[Box], width: int) -> NDArray[np.uint8]:
    """Draw the overview, and for each box a row of patches and a row of errors; captions stand under the last row."""
    import_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    result, cell = columns[frames].picture, width / len(columns)
    share = frames / (frames + 1) if frames else 1.0  # of the width, for the result beside the stacked frames
    overview = min(width * share * result.shape[0] / result.shape[1], 2 * width)
    kinds = ("picture", "error") if any(column.error is not None for column in columns) else ("picture",)
    rows = [(number, kind) for number in range(len(boxes)) for kind in kinds]
    heights = [overview, *(cell * boxes[number].height / boxes[number].width for number, _ in rows)]
    height = sum(heights) + _CAPTION
    figure = Figure(figsize=(width / _DPI, round(height) / _DPI), dpi=_DPI)
    margins = {"left": 0.01, "right": 0.99, "top": 0.99, "bottom": _CAPTION / height, "hspace": 0.02}
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights, **margins)

    def show(place: Any, picture: Picture) -> Any:
        axes = figure.add_subplot(place, xticks=[], yticks=[])
        axes.imshow(picture, cmap="inferno", vmin=0, vmax=MAX_ERROR, interpolation="nearest")
        return axes

    parts = grid[0].subgridspec(max(frames, 1), 2, width_ratios=[1 - share + 1e-6, share], wspace=0.02, hspace=0.02)
    for number in range(frames):
        show(parts[number, 0], columns[number].picture)
    axes = show(parts[:, 1], result)
    for box, colour in zip(boxes, cycle(COLOURS), strict=False):
        corner = (box.left - 0.5, box.top - 0.5)
        axes.add_patch(Rectangle(corner, box.width, box.height, fill=False, edgecolor=colour))
    longest = max(len(line) for column in columns for line in column.name.split("\n"))
    size = min(9.0, cell * 72 / _DPI / (0.65 * longest))
    for row, (number, kind) in enumerate(rows, 1):
        cells, box = grid[row].subgridspec(1, len(columns), wspace=0.03), boxes[number]
        for index, column in enumerate(columns):
            shown = getattr(column, kind)
            whole = np.ones_like(column.picture) if shown is None else shown
            axes = show(cells[index], whole[box.top :, box.left :][: box.height, : box.width])
            axes.spines[:].set(visible=shown is not None, color=COLOURS[number % len(COLOURS)])
            if row == len(rows):
                axes.set_xlabel(column.name, fontsize=size)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def import_matplotlib() -> Any:
    """Import matplotlib, or name the extra to install."""
    try:
        import matplotlib.image
    except ImportError as error:
        raise DependencyError("Figures need matplotlib: pip install 'napari-afunet[evaluation]'.") from error
    return matplotlib


def _colour(image: np.ndarray, name: str) -> Picture:
    pixels = np.asarray(image, np.float32)
    pixels = np.repeat(pixels[..., None], 3, -1) if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ShapeError(name, "an image H×W×3 or H×W", tuple(np.shape(image)))
    return np.nan_to_num(pixels, nan=0.0, posinf=1.0, neginf=0.0)


def _display(radiance: Picture, operator: str, exposure: float) -> Picture:
    return _pixels(tone_map(_tensor(radiance), operator, ev=exposure).clamp(0, 1))


def _tensor(pixels: Picture) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]


def _pixels(image: Tensor) -> Picture:
    return image[0].detach().float().cpu().permute(1, 2, 0).numpy()


def _mu(radiance: np.ndarray) -> Picture:
    """Apply the μ-law to values clipped to [0, 1], as the field measures."""
    return mu_law(torch.from_numpy(np.clip(radiance, 0, 1).astype(np.float32))).numpy()

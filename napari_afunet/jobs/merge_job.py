"""One merge from start to end, without a viewer."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from afunet_core.errors import MergeCancelled
from napari_afunet.layers.source import BracketSource, Placement
from napari_afunet.settings import MergeSettings

if TYPE_CHECKING:
    from afunet_core.inspection import FeatureBasis
    from afunet_core.merging.result import MergeResult

Arrays = dict[str, np.ndarray]
Progress = Callable[[float, str], None]
# The shorter frame, the reference, the longer frame, and the network's own picture.
SOURCE_COLOURS = np.array(((0.25, 0.5, 1.0), (0.3, 0.85, 0.35), (1.0, 0.4, 0.3), (0.75, 0.75, 0.75)), np.float32)
SIDES: tuple[Literal["under", "reference", "over"], ...] = ("under", "reference", "over")


@dataclass
class Outcome:
    """Everything the viewer shows, as arrays with the plane axes first."""

    source: BracketSource
    settings: MergeSettings
    radiance: np.ndarray  # ``(planes…, H, W[, 3])`` float32; linear, except for exposure fusion
    # per side ``(stage, planes…, H, W, 3)`` uint8, one colour basis for all, and as ``"decoded"`` the HDR image decoded
    # from every stage, ``(stage, planes…, H, W[, 3])`` float16; empty without the network
    stages: Arrays = field(default_factory=dict)
    # name → ``(planes…, H, W)`` float32: ghost map and what else the core reports
    maps: Arrays = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)  # provenance, of the first plane
    warnings: list[str] = field(default_factory=list)  # what the core warned of, each once
    result: MergeResult | None = None  # the core's own result of the last plane
    # top, left, height and width of what is held within the source's planes
    area: tuple[int, int, int, int] | None = None

    @property
    def placement(self) -> Placement:
        """Placement of what is held; of ``stages`` without their stage axis, at the resolution of the frames."""
        return self.source.placement.sampled(self.area[:2] if self.area else (0, 0))

    @property
    def grey(self) -> bool:
        """True if the radiance has no colour axis."""
        return self.radiance.ndim == len(self.source.planes) + 2

    @property
    def is_preview(self) -> bool:
        """True if only a part of the frames was merged, or only every so many pixels."""
        return self.source.window is not None

    @property
    def linear(self) -> bool:
        """True if values are light; exposure fusion gives a picture for the screen instead."""
        return self.info.get("output") != "display"


def merge_source(
    source: BracketSource,
    settings: MergeSettings,
    on_progress: Progress | None = None,
    should_cancel: Callable[[], bool] | None = None,
) -> Outcome:
    """Merge plane after plane; progress comes from this thread, a cancel raises."""
    source = source.of_channel(settings.channel)
    total = source.plane_count
    outcome: Outcome | None = None
    basis: FeatureBasis | None = None  # of the first plane, so that a colour means the same in every plane
    cropped = settings.border == "crop"
    # Cropped each for itself, the planes of a stack would differ in size.
    plane_settings = settings.replace(border="fill") if source.planes else settings
    for number, (index, frames) in enumerate(source):
        report = _plane_progress(on_progress, number, total)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            of_plane = plane_settings.replace(regions=_regions_of(index, settings.regions))
            result, maps = _merge_plane(frames, source, of_plane, report, should_cancel)
            views, basis = _stage_views(result, settings, basis)
        if outcome is None:
            outcome = Outcome(source, settings, np.zeros((*source.planes, *result.radiance.shape), np.float32))
            outcome.info = dict(result.info)
        outcome.radiance[index] = result.radiance
        outcome.result = result
        _store(outcome.maps, maps, source.planes, index)
        _store(outcome.stages, views, source.planes, index, before=1)
        texts = [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]
        outcome.warnings = list(dict.fromkeys(outcome.warnings + texts))
    assert outcome is not None, "a bracket source has at least one plane"
    if source.planes and settings.regions:
        outcome.info["regions"] = settings.regions
    if source.planes and cropped:
        outcome.warnings.append("Stacks are not cropped: at the border the reference stands in.")
    elif cropped:
        outcome.area = tuple(outcome.info["area"])
    return outcome


def with_regions(
    outcome: Outcome,
    regions: tuple[Any, ...],
    on_progress: Progress | None = None,
    should_cancel: Callable[[], bool] | None = None,
) -> Outcome:
    """Return an outcome with other regions from single frames; of a stack, planes they differ in are merged again."""
    settings, result = outcome.settings.replace(regions=regions), outcome.result
    if not outcome.source.planes:
        assert result is not None
        result = result.with_regions(regions)
        return replace(outcome, settings=settings, result=result, radiance=result.radiance, info=result.info)
    radiance, before = outcome.radiance.copy(), outcome.settings.regions
    planes = np.ndindex(outcome.source.planes)
    for index in [each for each in planes if _regions_of(each, regions) != _regions_of(each, before)]:
        of_plane = settings.replace(regions=_regions_of(index, regions), stages=False, ghost_map=False, border="fill")
        radiance[index] = merge_source(outcome.source.at(index), of_plane, on_progress, should_cancel).radiance
    return replace(outcome, settings=settings, radiance=radiance, info=outcome.info | {"regions": regions})


def _regions_of(index: tuple[int, ...], regions: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the regions of one plane: those of its index, and those that name no plane."""
    return tuple(
        (frame, tuple(tuple(corner[-2:]) for corner in corners))
        for frame, corners in regions
        if tuple(corners[0][:-2]) in ((), index)
    )


def _merge_plane(
    frames: list[np.ndarray],
    source: BracketSource,
    settings: MergeSettings,
    on_progress: Callable[[int, int, str], None],
    should_cancel: Callable[[], bool] | None,
) -> tuple[MergeResult, Arrays]:
    from afunet_core.bracket.bracket import Bracket
    from afunet_core.bracket.files import channel_of_dark_frame
    from afunet_core.merging import pipeline

    metadata: dict[str, Any] = {"paths": list(source.paths)} if any(source.paths) else {}
    if settings.channel is not None:
        metadata["channel"] = settings.channel
    elif source.colour is not None:
        metadata["colour"] = source.colour
    arguments = settings.bracket_arguments()
    arguments["black_level"] = channel_of_dark_frame(settings.black_level, settings.channel)
    bracket = Bracket(frames, names=source.names, metadata=metadata or None, **arguments)
    result = pipeline.merge(bracket, **settings.merge_arguments(), on_progress=on_progress, should_cancel=should_cancel)
    maps: Arrays = {}
    names = [name for name in result.maps if name != "stages_hdr"]
    for name in names if settings.ghost_map else ():
        if should_cancel is not None and should_cancel():
            raise MergeCancelled("The merge was cancelled.")
        maps[name] = map_picture(name, np.asarray(result.maps[name], np.float32))
    return result, maps


def _stage_views(
    result: MergeResult, settings: MergeSettings, basis: FeatureBasis | None
) -> tuple[Arrays, FeatureBasis | None]:
    """Features as colours, per side ``(stage, H, W, 3)``, the images decoded from them, and the colours' basis."""
    if not (settings.stages and result.stages):
        return {}, basis
    from afunet_core.inspection import feature_basis, stage_rgb

    basis = basis or feature_basis(result.stages)
    views: Arrays = {side: _bytes(stage_rgb(result.stages, side, basis=basis)) for side in SIDES}
    views["decoded"] = result.maps["stages_hdr"].astype(np.float16)  # half precision is what EXR files keep, too
    return views, basis


def _plane_progress(on_progress: Progress | None, number: int, total: int) -> Callable[[int, int, str], None]:
    def report(done: int, of: int, message: str) -> None:
        if on_progress is not None:
            prefix = f"Plane {number + 1} of {total}: " if total > 1 else ""
            on_progress((number + done / max(of, 1)) / total, prefix + message)

    return report


def _store(kept: Arrays, new: Arrays, planes: tuple[int, ...], index: tuple[int, ...], before: int = 0) -> None:
    """Keep the arrays of a plane; the plane axes follow the first axes, as many as ``before``."""
    for name, value in new.items():
        if name not in kept:
            kept[name] = np.zeros((*value.shape[:before], *planes, *value.shape[before:]), value.dtype)
        place: tuple[Any, ...] = (*[slice(None)] * before, *index)
        kept[name][place] = value


def map_picture(name: str, values: np.ndarray) -> np.ndarray:
    """Return a map as it is shown: where each pixel holds shares of several sources, these become mixed colours."""
    return _bytes(values @ SOURCE_COLOURS) if name == "source" else values


def _bytes(picture: np.ndarray) -> np.ndarray:
    """Display values in [0, 1] as 8 bits: a quarter of the memory, and all a screen shows."""
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)

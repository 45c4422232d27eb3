"""Predict registration failures on downscaled frames, before anything is merged."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QWidget

from afunet_core.errors import AFUNetError
from napari_afunet.jobs.worker import run_in_background
from napari_afunet.layers.source import BracketSource
from napari_afunet.settings import MergeSettings

if TYPE_CHECKING:
    from afunet_core.registration.frames import Registration

__all__ = ["AlignmentPrecheck", "Request", "alignment_warnings"]

Request = tuple[Hashable, BracketSource, MergeSettings]

_DELAY = 400
"""Milliseconds without a change before a check begins."""
_SIDE = 320
"""Pixels along the longer side of the copies."""
_FOLLOWED = 32
"""Pixels of motion that the network follows by itself."""
_SHARP = 1.5
"""Pixels of motion that a mean of the frames forgives."""
_CERTAIN = 0.8
"""Confidence from which on a motion is worth a warning before the merge."""


class AlignmentPrecheck(QObject):
    """Background pre-merge alignment check; a newer request cancels the older.

    Args:
        request: returns what identifies the pixels (hashable, the same as long as they are), their source and the
            settings, or ``None`` while there is nothing to merge.
        parent: ends the check with it.

    Attributes:
        warnings: the sentences of the last check.
        answered: emitted when they changed.
    """

    answered = Signal()

    def __init__(self, request: Callable[[], Request | None], parent: QWidget) -> None:
        super().__init__(parent)
        self.warnings: list[str] = []
        self._request = request
        self._checked: Hashable = None
        self._stop = threading.Event()
        self._ready = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_DELAY)
        self._timer.timeout.connect(self._check)
        self.destroyed.connect(lambda *_: self._stop.set())

    def begin(self) -> None:
        """Check from now on: torch is loaded."""
        self._ready = True
        self.schedule()

    def schedule(self) -> None:
        """Check soon: frames or settings changed."""
        if self._ready:
            self._timer.start()

    def stop(self) -> None:
        """Stop what runs: a merge begins."""
        self._timer.stop()
        self._stop.set()
        self._checked = None

    def _check(self) -> None:
        try:
            request = self._request()
        except AFUNetError:
            request = None
        checked = None if request is None else (request[0], request[1].names, *_relevant(request[2]))
        if checked == self._checked:
            return
        self._stop.set()
        self._stop = stop = threading.Event()
        self._checked = checked
        self._set_warnings([])
        if request is None:
            return

        def answer(warnings: list[str]) -> None:
            if not stop.is_set():
                self._set_warnings(warnings)

        run_in_background(alignment_warnings, *request[1:], stop.is_set, done=answer)

    def _set_warnings(self, warnings: list[str]) -> None:
        if warnings != self.warnings:
            self.warnings = warnings
            self.answered.emit()


def _relevant(settings: MergeSettings) -> tuple[Hashable, ...]:
    """Return the settings that the answer depends on."""
    exposures = settings.ev or settings.times
    pixels = settings.encoding, settings.bit_depth, settings.channel
    return exposures, settings.reference, settings.align, settings.method, *pixels


def alignment_warnings(source: BracketSource, settings: MergeSettings, should_cancel: Callable[[], bool]) -> list[str]:
    """Return sentences about frames that lie too far apart, for the method and alignment chosen.

    Loads torch and reads the middle plane: for the background. It takes a fraction of a second whatever the size.

    Args:
        source: the pixels.
        settings: with the exposures of all frames.
        should_cancel: asked often; the answer is empty once it returned true.
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
    stride = max(1, step // 4)
    pixels = (
        np.asarray(plane[::stride, ::stride])[..., :3] if plane.ndim == 3 else np.asarray(plane[::stride, ::stride])
    )
    side = step // stride
    rows, columns = (size // side * side for size in pixels.shape[:2])
    if side <= 1 or not rows or not columns:
        return pixels
    blocks = pixels[:rows, :columns].reshape(rows // side, side, columns // side, side, *pixels.shape[2:])
    means = blocks.mean((1, 3), dtype=np.float32)
    return np.round(means).astype(pixels.dtype) if pixels.dtype.kind == "u" else means

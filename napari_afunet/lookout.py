"""Looks ahead in the background while the user still sets things up; of several questions the last is answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable

from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QWidget

from afunet_core.errors import AFUNetError
from napari_afunet.foresight import alignment_warnings
from napari_afunet.inputs import BracketSource
from napari_afunet.settings import MergeSettings

__all__ = ["Lookout", "Question"]

Question = tuple[Hashable, BracketSource, MergeSettings]

_AFTER = 400  # ms without a change, after which it is worth to look


class Lookout(QObject):
    """Keeps what :func:`~napari_afunet.foresight.alignment_warnings` says of the frames chosen now.

    Args:
        ask: gives what the pixels are known by (hashable, the same as long as they are), their source and the settings,
            or ``None`` while there is nothing to merge.
        parent: it ends with this.

    Attributes:
        warnings: the sentences.
        answered: emitted when they are new.
    """

    answered = Signal()

    def __init__(self, ask: Callable[[], Question | None], parent: QWidget) -> None:
        super().__init__(parent)
        self.warnings: list[str] = []
        self._ask = ask
        self._question: Hashable = None
        self._stop = threading.Event()
        self._closed = threading.Event()
        self._ready = False
        self.destroyed.connect(self._closed.set)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_AFTER)
        self._timer.timeout.connect(self._look)

    def begin(self) -> None:
        """From now on there is something to look with: torch is loaded."""
        self._ready = True
        self.changed()

    def changed(self) -> None:
        """Frames or settings changed: look again soon."""
        if self._ready:
            self._timer.start()

    def stop(self) -> None:
        """Nobody waits for the answer any more: a merge begins."""
        self._timer.stop()
        self._stop.set()
        self._question = None

    def _look(self) -> None:
        try:
            asked = self._ask()
        except AFUNetError:
            asked = None
        question = None if asked is None else (asked[0], asked[1].names, *_that_matter(asked[2]))
        if question == self._question:
            return
        self._stop.set()
        self._stop, self._question = threading.Event(), question
        self._say([])
        if asked is not None:
            self._start(*asked[1:], self._stop)

    def _start(self, source: BracketSource, settings: MergeSettings, stop: threading.Event) -> None:
        closed = self._closed

        def should_stop() -> bool:
            return stop.is_set() or closed.is_set()

        def answer(warnings: list[str]) -> None:
            if not should_stop():
                self._say(warnings)

        create_worker(
            alignment_warnings, source, settings, should_stop, _connect={"returned": answer}, _ignore_errors=True
        )

    def _say(self, warnings: list[str]) -> None:
        if warnings != self.warnings:
            self.warnings = warnings
            self.answered.emit()


def _that_matter(settings: MergeSettings) -> tuple[Hashable, ...]:
    """The settings that the answer depends on."""
    exposures = settings.ev or settings.times
    pixels = settings.encoding, settings.bit_depth, settings.channel
    return exposures, settings.reference, settings.align, settings.method, *pixels

"""Progress over all phases of a long job, its cancellation, warnings, and seconds per phase."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from afunet_core.errors import MergeCancelled

__all__ = ["OnProgress", "ProgressReporter", "ShouldCancel"]

OnProgress = Callable[[int, int, str], None]
ShouldCancel = Callable[[], bool]


class ProgressReporter:
    """Progress of one job, and the place where a cancel takes effect.

    Inside the package a step that may take longer than a moment calls :meth:`check`, which raises, several times a
    second; ``should_cancel`` is what callers from outside pass.

    Args:
        on_progress: called with ``(done, total, message)``; ``done`` counts thousandths of the whole and never falls.
        should_cancel: asked at every report and every check.
    """

    total = 1000

    def __init__(self, on_progress: OnProgress | None = None, should_cancel: ShouldCancel | None = None) -> None:
        self._on_progress, self._should_cancel = on_progress, should_cancel
        self._start = self._end = self._shown = 0
        self.seconds: dict[str, float] = {}
        self.warnings: list[str] = []

    @contextmanager
    def phase(self, message: str, end: int) -> Iterator[None]:
        """Run a part of the work that takes progress up to ``end`` thousandths."""
        self._start, self._end = self._shown, max(end, self._shown)
        self.report(0, 1, message)
        begin = time.perf_counter()
        yield
        self.seconds[message] = round(time.perf_counter() - begin, 4)
        self.report(1, 1, message)

    def report(self, done: int, total: int, message: str) -> None:
        """Report progress inside the phase.

        Raises:
            MergeCancelled: after ``should_cancel`` returned true.
        """
        self.check()
        position = self._start + (self._end - self._start) * done // max(total, 1)
        self._shown = max(self._shown, min(position, self._end))
        if self._on_progress is not None:
            self._on_progress(self._shown, self.total, message)

    def check(self) -> None:
        """Raise if the job was cancelled.

        Raises:
            MergeCancelled: after ``should_cancel`` returned true.
        """
        if self.cancelled():
            raise MergeCancelled("The merge was cancelled; nothing was written.")

    def cancelled(self) -> bool:
        """Return True if the caller asked to stop."""
        return self._should_cancel is not None and bool(self._should_cancel())

    def warn(self, message: str) -> None:
        """Tell the user, and keep the message for the provenance."""
        self.warnings.append(message)
        warnings.warn(message, UserWarning, stacklevel=_level_of_caller())


def _level_of_caller() -> int:
    """Return the stack level, as seen from the function that asks, of the first caller outside this package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("afunet_core."):
        frame, level = frame.f_back, level + 1
    return level

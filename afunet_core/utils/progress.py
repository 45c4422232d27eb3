"""A long job as its caller sees it: progress over all phases, cancel, warnings, seconds per phase."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from afunet_core.errors import MergeCancelled

__all__ = ["OnProgress", "Run", "ShouldCancel"]

OnProgress = Callable[[int, int, str], None]
ShouldCancel = Callable[[], bool]


class Run:
    """One job under way.

    Args:
        on_progress: called with ``(done, total, message)``; ``done`` counts thousandths of the whole and never falls.
        should_cancel: asked at every report.
    """

    total = 1000

    def __init__(self, on_progress: OnProgress | None, should_cancel: ShouldCancel | None) -> None:
        self._on_progress, self._should_cancel = on_progress, should_cancel
        self._start = self._end = self._shown = 0
        self.seconds: dict[str, float] = {}
        self.warnings: list[str] = []

    @contextmanager
    def phase(self, message: str, end: int) -> Iterator[None]:
        """A part of the work that takes progress up to ``end`` thousandths."""
        self._start, self._end = self._shown, max(end, self._shown)
        self.report(0, 1, message)
        begin = time.perf_counter()
        yield
        self.seconds[message] = round(time.perf_counter() - begin, 4)
        self.report(1, 1, message)

    def report(self, done: int, total: int, message: str) -> None:
        """Progress inside the phase; the place where a cancel takes effect."""
        self.check()
        place = self._start + (self._end - self._start) * done // max(total, 1)
        self._shown = max(self._shown, min(place, self._end))
        if self._on_progress is not None:
            self._on_progress(self._shown, self.total, message)

    def check(self) -> None:
        if self.cancelled():
            raise MergeCancelled("The merge was cancelled; nothing was written.")

    def cancelled(self) -> bool:
        return self._should_cancel is not None and bool(self._should_cancel())

    def warn(self, message: str) -> None:
        """Tell the user, and keep it in the provenance."""
        self.warnings.append(message)
        warnings.warn(message, UserWarning, stacklevel=4)

"""Progress over all phases of a long job, its cancellation, warnings, and seconds per phase."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from afunet_core.errors import ArgumentError, MergeCancelled

OnProgress = Callable[[int, int, str], None]
ShouldCancel = Callable[[], bool]


class ProgressReporter:
    """Progress of one job, and the place where a cancel takes effect.

    A step that may take longer than a moment calls :meth:`check`, which raises, several times a second. Make the
    reporter in the public function that callers from outside call: warnings name the line of that call.
    ``on_progress`` gets ``(done, total, message)``; ``done`` counts thousandths and never decreases.
    """

    total = 1000

    def __init__(self, on_progress: OnProgress | None = None, should_cancel: ShouldCancel | None = None) -> None:
        for name, given in (("on_progress", on_progress), ("should_cancel", should_cancel)):
            if given is not None and not callable(given):
                raise ArgumentError(name, "a function or None", repr(given))
        self._on_progress, self._should_cancel = on_progress, should_cancel
        self._start = self._end = self._shown = 0
        # Warnings name the line that asked for the job, however deep in the package they come up.
        self._caller = sys._getframe(2)
        self._line = self._caller.f_lineno
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
        """Report progress inside the phase; raises as :meth:`check` does."""
        self.check()
        position = self._start + (self._end - self._start) * done // max(total, 1)
        self._shown = max(self._shown, min(position, self._end))
        if self._on_progress is not None:
            self._on_progress(self._shown, self.total, message)

    def check(self) -> None:
        """Raise :class:`MergeCancelled` after ``should_cancel`` returned true."""
        if self.cancelled():
            raise MergeCancelled("The merge was cancelled; nothing was written.")

    def cancelled(self) -> bool:
        """Return True if the caller asked to stop."""
        return self._should_cancel is not None and bool(self._should_cancel())

    def warn(self, message: str) -> None:
        """Tell the user, and keep the message for the provenance."""
        self.warnings.append(message)
        source = self._caller
        registry = source.f_globals.setdefault("__warningregistry__", {})
        warnings.warn_explicit(message, UserWarning, source.f_code.co_filename, self._line, registry=registry)

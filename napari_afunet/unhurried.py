"""Work for the window's own thread in pieces, so that the window draws and answers in between."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QWidget

__all__ = ["Unhurried"]

_PAUSE = 5  # ms in which the window draws and answers


class Unhurried(QObject):
    """Takes one item of an iterator a turn of the event loop, and lets the window draw in a turn of its own.

    It is a child of a widget and ends with it, or when the window is closed: nothing is done after that.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._widget = parent
        self._steps: Iterator[Any] = iter(())
        self._on_done: Callable[[Any], None] | None = None
        self._on_error: Callable[[Exception], None] | None = None
        self._last: Any = None
        self._drawing = False
        self._window = weakref.ref(parent.window())
        self._was_shown = False
        self._timer = QTimer(self)
        self._timer.setInterval(_PAUSE)
        self._timer.timeout.connect(self._next)

    @property
    def is_active(self) -> bool:
        """Whether something is under way."""
        return self._timer.isActive()

    def start(
        self,
        steps: Iterator[Any],
        on_done: Callable[[Any], None] | None = None,
        on_error: Callable[[Exception], None] | None = None,
    ) -> None:
        """Go through ``steps``; what was under way before is dropped.

        Args:
            steps: does a piece of the work each time it is asked.
            on_done: gets the last item.
            on_error: gets the exception that ended it.
        """
        self._steps, self._on_done, self._on_error, self._last = steps, on_done, on_error, None
        window = self._widget.window()
        self._window, self._was_shown = weakref.ref(window), window.isVisible()
        self._drawing = True  # so that the first turn is one of work
        self._timer.start()

    def _next(self) -> None:
        """Draw in one turn, do the next piece in another: each is short, together they would be noticed."""
        window = self._window()
        if window is None or (self._was_shown and not window.isVisible()):
            self._stop()
            return
        self._drawing = not self._drawing
        window.setUpdatesEnabled(self._drawing)
        if not self._drawing:
            self._do_next()

    def _do_next(self) -> None:
        try:
            self._last = next(self._steps)
        except StopIteration:
            last, on_done = self._last, self._on_done
            self._stop()
            if on_done is not None:
                on_done(last)
        except Exception as error:
            on_error = self._on_error
            self._stop()
            if on_error is None:
                raise
            on_error(error)

    def _stop(self) -> None:
        self._timer.stop()
        self._steps, self._on_done, self._on_error, self._last = iter(()), None, None, None
        self._drawing = False
        if (window := self._window()) is not None:
            window.setUpdatesEnabled(True)

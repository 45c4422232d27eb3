"""``python tools/demonstration.py``: napari with the sample bracket, merged through the widget.

With ``--headless FOLDER`` it leaves ``screenshot.png``, ``merged.exr`` and ``merged.png`` there and exits.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_afunet.widget import MergeWidget

__all__ = ["main"]

PLUGIN, WIDGET = "napari-afunet", "Merge exposure bracket"


def main(arguments: list[str] | None = None) -> int:
    """Run the demonstration; the exit status is 0 when the merge succeeded."""
    parser = argparse.ArgumentParser(prog="python tools/demonstration.py", description=__doc__)
    parser.add_argument("--headless", metavar="FOLDER", type=Path, help="write the results there and exit")
    parser.add_argument("--method", default="auto", choices=["auto", "afunet", "weighted", "mertens"])
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds to wait for the merge (headless)")
    options = parser.parse_args(arguments)

    import napari

    register_plugin()
    viewer = napari.Viewer(show=options.headless is None)
    viewer.window.resize(1500, 940)
    widget = open_sample(viewer)
    widget.options.set_settings(widget.options.settings().replace(method=options.method))
    widget.merge()
    if options.headless is None:
        from qtpy.QtCore import QTimer

        QTimer.singleShot(500, viewer.reset_view)  # the widget took room from the canvas
        napari.run()
        return 0
    try:
        return _leave_results(viewer, widget, options.headless, options.timeout)
    finally:
        viewer.close()


def register_plugin() -> None:
    """Make the plugin known to napari where the package is used from its source folder without being installed."""
    from npe2 import PluginManager, PluginManifest

    manager = PluginManager.instance()
    manager.discover()
    if PLUGIN not in manager:
        manager.register(PluginManifest.from_file(Path(__file__).parents[1] / "napari.yaml"))


def open_sample(viewer: Viewer) -> MergeWidget:
    """The sample bracket and the widget, opened as the menus do."""
    viewer.open_sample(PLUGIN, "moving")
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    return widget


def wait(milliseconds: int) -> None:
    """Let the event loop run, asleep between events.

    ``QTest.qWait`` is not asleep where vispy replaces it (PySide6): it would take one core from the merge.
    """
    from qtpy.QtCore import QEventLoop, QTimer

    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec_()


def wait_for_merge(widget: Any, timeout: float) -> bool:
    """Let the event loop run until the merge is over; whether it succeeded."""
    end = time.monotonic() + timeout
    while widget.is_running and time.monotonic() < end:
        wait(20)
    if widget.is_running:
        widget.cancel()
    return widget.outcome is not None


def _leave_results(viewer: Viewer, widget: MergeWidget, folder: Path, timeout: float) -> int:
    from qtpy.QtTest import QTest

    from afunet_core import write_image
    from napari_afunet.display.tone_view import render

    if not wait_for_merge(widget, timeout) or widget.outcome is None:
        print(f"No result within {timeout:.0f} s: {widget.controls.status_label.text()}", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    outcome = widget.outcome
    write_image(folder / "merged.exr", outcome.radiance, metadata=outcome.info)
    picture = (
        render(outcome.radiance, widget.display.settings(), rgb=not outcome.grey)
        if outcome.linear
        else outcome.radiance
    )
    write_image(folder / "merged.png", picture)
    viewer.window._qt_window.show()
    QTest.qWait(200)
    viewer.reset_view()
    QTest.qWait(300)
    viewer.screenshot(str(folder / "screenshot.png"), canvas_only=False, flash=False)
    names = "screenshot.png, merged.exr, merged.png"
    print(f"{widget.controls.status_label.text()} {names} are in {folder}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The widget as a person meets it: time to the first picture, pauses of the window, memory, live display.

    sh tools/with-display.sh --virtual python benchmarks/plugin.py [--size 1000x1500] [--method auto] [--runs 2]

Opens napari and the widget, drops three photographs of the demonstration bracket, enlarged to the size, on the widget,
and five seconds later merges as a click does. The first picture is there when the first drawing after that merge is
over; its time counts from the click. A timer beats every 5 ms in the window's own thread: the longest pause between two
beats is the longest time in which the window did not answer; beside it stand the longest time that the thread itself
was at work between two (on a busy computer it also waits for others) and the longest garbage collection. Memory is that
of the process, after every merge, and once more after the C library gave back what is free. Then the script moves the
exposure slider, the gamma and the operator, and measures from the change to the end of the drawing that shows it.
``--where 60`` prints where the thread was during pauses above 60 ms; ``--runs 0`` only opens the widget.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import statistics
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_afunet.widget import MergeWidget

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))  # demonstration.py is no part of the package

BEAT = 0.005
STEPS = 8


class Heartbeat:
    """Beats in the thread of the window; remembers the longest pause of every phase, and where it was spent."""

    def __init__(self, suspicious: float | None) -> None:
        from qtpy.QtCore import Qt, QTimer

        self.longest: dict[str, float] = {}
        self.busy: dict[str, float] = {}  # most that the thread itself was at work between two beats
        self.collections: dict[str, float] = {}
        self.pauses: Counter[str] = Counter()
        self.places: Counter[str] = Counter()
        self.phase = "start"
        self.suspicious = suspicious
        self._last, self._worked, self._collecting = time.perf_counter(), time.thread_time(), 0.0
        gc.callbacks.append(self._on_collection)
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(round(BEAT * 1000))
        self._timer.timeout.connect(self._beat)
        self._timer.start()
        if suspicious is not None:
            thread = threading.get_ident()
            threading.Thread(target=self._watch, args=(thread,), daemon=True).start()

    def enter(self, phase: str) -> None:
        """Begin a phase."""
        self._note(time.perf_counter())
        self.phase = phase

    def _beat(self) -> None:
        self._note(time.perf_counter())

    def _note(self, now: float) -> None:
        worked = time.thread_time()
        pause, busy = now - self._last, worked - self._worked
        self._last, self._worked = now, worked
        self.longest[self.phase] = max(pause, self.longest.get(self.phase, 0.0))
        self.busy[self.phase] = max(busy, self.busy.get(self.phase, 0.0))
        self.pauses[self.phase] += pause > 0.1

    def _on_collection(self, when: str, _: object) -> None:
        now = time.perf_counter()
        if when == "start":
            self._collecting = now
        else:
            self.collections[self.phase] = max(self.collections.get(self.phase, 0.0), now - self._collecting)

    def _watch(self, thread: int) -> None:
        while True:
            time.sleep(0.01)
            if time.perf_counter() - self._last > (self.suspicious or 0.0):
                stack = traceback.extract_stack(sys._current_frames().get(thread))
                ours = [f"{entry.filename.split('site-packages/')[-1]}:{entry.lineno} {entry.name}" for entry in stack]
                self.places[f"{self.phase}: " + " < ".join(reversed(ours[-9:]))] += 1


def photographs(size: tuple[int, int], folder: Path) -> list[str]:
    """Write the demonstration bracket as JPEG files of this size, with exposures; return the paths."""
    from PIL import Image
    from PIL.TiffImagePlugin import IFDRational

    from afunet_core.data.demo import demo_bracket

    frames, evs, _ = demo_bracket()
    rows, columns = (np.arange(count) * old // count for count, old in zip(size, frames[0].shape, strict=False))
    paths = []
    for index, (frame, ev) in enumerate(zip(frames, evs, strict=True)):
        exif = Image.Exif()
        exif[0x010F] = "Maker"  # without a plain field Pillow takes the block for empty
        exif[0x8769] = {0x829A: IFDRational(round(2 ** (ev + 8)), 25600)}
        paths.append(str(folder / f"IMG_{index}.jpg"))
        picture = (frame >> 8).astype(np.uint8)[rows[:, None], columns]
        Image.fromarray(picture).save(paths[-1], exif=exif, quality=95)
    return paths


def drop(widget: MergeWidget, paths: list[str]) -> None:
    """Drop files on the widget."""
    from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
    from qtpy.QtGui import QDropEvent

    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(path) for path in paths])
    none = Qt.KeyboardModifier.NoModifier
    action, button = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
    widget.dropEvent(QDropEvent(QPointF(5, 5), action, data, button, none))


def merge(viewer: Viewer, widget: MergeWidget, timeout: float) -> None:
    """Press Merge; ends with the drawing that shows the result."""
    from demonstration import wait
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + timeout
    widget.merge()
    while widget.is_running and time.monotonic() < end:
        wait(5)
    viewer.window._qt_viewer.canvas.native.update()
    QApplication.processEvents()


def memory(trimmed: bool = False) -> int:
    """MiB that the process holds; ``trimmed`` after glibc gave back what is free."""
    import psutil

    if trimmed and sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return round(psutil.Process().memory_info().rss / 1024**2)


def display_step(viewer: Viewer, change: Callable[[], Any]) -> float:
    """Seconds from a change to the end of the first drawing that shows it."""
    from qtpy.QtWidgets import QApplication

    drawn: list[bool] = []
    scene = viewer.window._qt_viewer.canvas._scene_canvas

    def on_draw(event: Any) -> None:
        drawn.append(True)

    scene.events.draw.connect(on_draw, position="last")
    begin = time.perf_counter()
    change()
    while not drawn and time.perf_counter() - begin < 5:
        QApplication.processEvents()
    seconds = time.perf_counter() - begin
    scene.events.draw.disconnect(on_draw)
    return seconds


def display_steps(viewer: Viewer, widget: MergeWidget) -> dict[str, list[float]]:
    """Every control of the display, several times, with the tone-mapped view on top."""
    from napari_afunet.display.tone_view import OPERATORS

    panel = widget.display
    seconds: dict[str, list[float]] = {"exposure": [], "gamma": [], "operator": [], "highlight warning": []}

    def measure(name: str, change: Callable[[], Any]) -> None:
        seconds[name].append(display_step(viewer, change))

    for step in range(STEPS):
        measure("exposure", partial(panel.ev_slider.setValue, 0.5 * (1 + step % 4)))
        measure("gamma", partial(panel.gamma_slider.setValue, 1.2 + 0.1 * (step % 4)))
        panel.operator_box.setCurrentIndex(step % len(OPERATORS))
        measure("operator", partial(panel.apply, create=True))
        measure("highlight warning", panel.warn_check.click)
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="1000x1500", help="height x width of the frames")
    parser.add_argument("--method", default="auto")
    parser.add_argument("--model", default="default")
    parser.add_argument("--runs", type=int, default=2, help="merges; the first also loads libraries and adds layers")
    parser.add_argument("--stages", action="store_true")
    parser.add_argument("--where", type=float, metavar="MS", help="print where the window's thread was in long pauses")
    parser.add_argument("--timeout", type=float, default=3000)
    options = parser.parse_args()
    height, width = (int(part) for part in options.size.split("x"))

    import napari
    from demonstration import PLUGIN, WIDGET, register_plugin, wait

    register_plugin()
    viewer = napari.Viewer()
    viewer.window.resize(1500, 940)
    wait(1000)
    heart = Heartbeat(options.where and options.where / 1000)
    with tempfile.TemporaryDirectory() as folder:
        paths = photographs((height, width), Path(folder))
        heart.enter("opening the widget")
        _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
        wait(1)
        heart.enter("opening the files")
        drop(widget, paths)
        heart.enter("libraries load in the background")
        wait(5000)
        begin, worked = time.perf_counter(), time.process_time()
        settings = widget.options.settings().replace(method=options.method, model=options.model)
        widget.options.set_settings(settings.replace(stages=options.stages))
        for run in range(options.runs):
            heart.enter("first merge" if run == 0 else "further merges")
            merge(viewer, widget, options.timeout)
            if run == 0:
                seconds, worked = time.perf_counter() - begin, time.process_time() - worked
                print(f"first picture after {seconds:.1f} s, {worked:.1f} s of processor time")
            wait(300)  # what the layers still cause: drawing, thumbnails
            print(f"run {run + 1}: {widget.controls.status_label.text()} {memory()} MiB", flush=True)
    heart.enter("after")
    print(f"freed memory given back: {memory(trimmed=True)} MiB")
    print(f"\n{height}x{width}, method {options.method}, model {options.model}, {len(viewer.layers)} layers\n")
    print("| phase | longest pause, ms | longest work, ms | longest collection, ms | pauses above 100 ms |")
    print("|---|---:|---:|---:|---:|")
    for phase, pause in heart.longest.items():
        if phase not in ("start", "after"):
            numbers = (pause, heart.busy[phase], heart.collections.get(phase, 0.0))
            cells = " | ".join(f"{1000 * number:.0f}" for number in numbers)
            print(f"| {phase} | {cells} | {heart.pauses[phase]} |")
    if not options.runs:
        report_places(heart)
        viewer.close()
        return
    heart.enter("display")
    print("\n| display step | median, ms | longest, ms |\n|---|---:|---:|")
    for name, values in display_steps(viewer, widget).items():
        print(f"| {name} | {1000 * statistics.median(values):.0f} | {1000 * max(values):.0f} |")
    report_places(heart)
    viewer.close()


def report_places(heart: Heartbeat) -> None:
    """Print the most frequent places of the window's thread; nothing unless asked for."""
    for place, count in heart.places.most_common(25):
        print(f"{count:4d} × {place}")


if __name__ == "__main__":
    main()

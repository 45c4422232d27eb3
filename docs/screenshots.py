"""The pictures of the documentation, taken from the real plugin: ``make screenshots``.

Opens napari, loads the sample bracket, merges it through the widget and photographs the window at every step, so that
they cannot differ from what users see.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import napari
from PIL import Image
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QWidget

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))  # demonstration.py is no part of the package

from demonstration import open_sample, register_plugin, wait, wait_for_merge

if TYPE_CHECKING:
    from napari_afunet.widget import MergeWidget

IMAGES = Path(__file__).parent / "images"
SIZE = (1280, 860)
"""Of the window: its texts can be read where a page is 690 pixels wide."""
WIDEST = 1400
"""Pixels: twice the width of a page."""


class Photographer:
    """Takes pictures of a viewer, small enough for a repository."""

    def __init__(self, viewer: napari.Viewer) -> None:
        self.viewer = viewer

    def window(self, name: str) -> None:
        """The whole window."""
        QTest.qWait(600)  # layers, thumbnails and notifications settle
        self._save(Image.fromarray(self.viewer.screenshot(canvas_only=False, flash=False)), name)

    def panel(self, widget: QWidget, name: str) -> None:
        """One panel of the widget alone."""
        QTest.qWait(300)
        grabbed = widget.grab()
        path = IMAGES / f"{name}.png"
        grabbed.save(str(path))
        picture = Image.open(path).convert("RGB")
        path.unlink()
        self._save(picture, name)

    def canvas(self, name: str) -> None:
        """The canvas alone, without the empty space around the image."""
        self.viewer.reset_view()
        QTest.qWait(600)
        picture = Image.fromarray(self.viewer.screenshot(canvas_only=True, flash=False)).convert("RGB")
        self._save(picture.crop(picture.getbbox()), name)

    @staticmethod
    def _save(picture: Image.Image, name: str) -> None:
        path = IMAGES / f"{name}.jpg"
        if picture.width > WIDEST:
            picture = picture.resize((WIDEST, round(picture.height * WIDEST / picture.width)), Image.Resampling.LANCZOS)
        picture.convert("RGB").save(path, quality=90, subsampling=0, optimize=True)
        print(f"{path.relative_to(IMAGES.parents[1])}: {path.stat().st_size // 1024} kB")


def take_pictures(model: str) -> None:
    """The whole tour."""
    IMAGES.mkdir(exist_ok=True)
    register_plugin()
    viewer = napari.Viewer()
    viewer.window.resize(*SIZE)
    photographer = Photographer(viewer)

    widget: MergeWidget = open_sample(viewer)
    widget.options.set_settings(widget.options.settings().replace(model=model))
    QTest.qWait(600)
    viewer.reset_view()  # the widget took room from the canvas
    photographer.window("bracket")
    widget.options.groups["camera"].toggleButton().click()
    photographer.panel(widget.options.groups["camera"], "camera")
    widget.options.groups["camera"].toggleButton().click()

    widget.merge()
    if not wait_for_merge(widget, timeout=3000):
        raise SystemExit(f"The merge did not succeed: {widget.controls.status_label.text()}")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # beside the merge, what a person does
        Path("Pictures").mkdir()
        widget.save_button.save("Pictures/garage.exr")
        while not widget.controls.status_label.text().startswith("Saved"):
            wait(100)
    photographer.window("merged")

    viewer.reset_view()
    widget.views.comparisons["side by side"].click()
    photographer.window("side-by-side")
    widget.views.comparisons["side by side"].click()

    viewer.window.resize(round(1.53 * SIZE[0]), SIZE[1])  # the canvas has the shape of the picture
    widget.views.maps["ghost"].click()
    wait(8000)  # the map is computed in the background
    photographer.canvas("ghost-map")
    widget.views.tidy_button.click()

    viewer.window.resize(2 * SIZE[0], SIZE[1])
    widget.views.comparisons["stages"].click()  # merges again, with stages
    wait(500)
    wait_for_merge(widget, timeout=3000)
    photographer.canvas("stages")
    viewer.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="default", help="the model that merges (default: the shipped default)")
    take_pictures(parser.parse_args().model)

"""Sample data for File › Open Sample: brackets of one scene, hand-held and from a tripod."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

LayerData = tuple[Any, dict[str, Any], str]


def moving_bracket() -> list[LayerData]:
    """Return a hand-held bracket: the camera shakes and a ball rolls through the garage."""
    return _responsive(lambda: _bracket("garage", motion=True))


def static_bracket() -> list[LayerData]:
    """Return the same scene from a tripod, everything at rest."""
    return _responsive(lambda: _bracket("garage on tripod", motion=False))


def _bracket(name: str, *, motion: bool) -> list[LayerData]:
    from afunet_core.data.demo import demo_bracket

    # As a camera's JPEGs; napari draws no thumbnails of 16-bit colour.
    frames, evs, _ = demo_bracket(motion=motion)
    shown = {"contrast_limits": (0, 255), "rgb": True}
    return [
        (
            (frame >> 8).astype("uint8"),
            {"name": f"{name} {ev:+.0f} EV", "metadata": {"ev": ev, "encoding": "gamma"}, **shown},
            "image",
        )
        for frame, ev in zip(frames, evs, strict=True)
    ]


def _responsive(compute: Callable[[], list[LayerData]]) -> list[LayerData]:
    """Compute in a thread while the window, if there is one, draws and answers: rendering takes a second or two."""
    from qtpy.QtCore import QCoreApplication, QThread

    application = QCoreApplication.instance()
    if application is None or QThread.currentThread() is not application.thread():
        return compute()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(compute)
        while not future.done():
            application.processEvents()
            time.sleep(0.005)
        return future.result()

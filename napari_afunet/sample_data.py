"""Sample data for File › Open Sample: brackets of a scene whose true radiance is known."""

from __future__ import annotations

from typing import Any

__all__ = ["moving_bracket", "static_bracket"]

LayerData = tuple[Any, dict[str, Any], str]


def moving_bracket() -> list[LayerData]:
    """A hand-held bracket: the camera shakes and a ball rolls through the garage."""
    return _bracket("garage", motion=True)


def static_bracket() -> list[LayerData]:
    """The same scene from a tripod, everything at rest."""
    return _bracket("garage on tripod", motion=False)


def _bracket(name: str, *, motion: bool) -> list[LayerData]:
    from afunet_core.data.demo import demo_bracket

    # As a camera's JPEGs; napari draws no thumbnails of 16-bit colour.
    frames, evs, truth = demo_bracket(motion=motion)
    shown = {"contrast_limits": (0, 255), "rgb": True}
    layers: list[LayerData] = [
        (
            (frame >> 8).astype("uint8"),
            {"name": f"{name} {ev:+.0f} EV", "metadata": {"ev": ev, "encoding": "gamma"}, **shown},
            "image",
        )
        for frame, ev in zip(frames, evs, strict=True)
    ]
    # Shown as bright as a merge of the frames.
    exposures = {"ev": [ev - min(evs) for ev in evs], "reference": len(evs) // 2}
    true = {
        "name": f"{name} truth",
        "metadata": {"afunet": {"role": "truth", "info": exposures}, "encoding": "linear"},
        "contrast_limits": (0, 1),
        "gamma": 1 / 2.2,
        "rgb": True,
        "visible": False,
    }
    return [(truth, true, "image"), *layers]

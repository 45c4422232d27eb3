"""Light to screen: a tone-mapped picture of an HDR layer, fast enough to follow a slider."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image

from napari_afunet.layers.selection import KEY

if TYPE_CHECKING:
    from afunet_core.tonemap_lut import LivePicture

# value → what the user reads
OPERATORS = {
    "reinhard": "Reinhard (photographic)",
    "filmic": "Filmic (soft shoulder)",
    "mu_law": "μ-law (as in the papers)",
    "exposure": "Exposure only (clips)",
}
CLIPPED = np.array((255, 0, 160), np.uint8)
SCREEN_GAMMA = 2.2
_THUMBNAIL = 32  # pixels along its sides
_GREY, _GAIN = 0.18, 16.0  # middle grey, and the gain of Reinhard's operator
# The image that was last shown, prepared: the next step of a slider finds it ready. It goes when its data goes.
_prepared: dict[int, LivePicture] = {}


@dataclass(frozen=True)
class DisplaySettings:
    """Settings of the display of an HDR layer."""

    operator: str = "reinhard"  # one of `OPERATORS`
    ev: float = 0.0  # exposure compensation in EV; +1 is twice as bright
    gamma: float = SCREEN_GAMMA  # of the screen; 2.2 is neutral, more brightens the mid-tones
    warn: bool = False  # paint what is shown clipped


def render(
    radiance: Any, settings: DisplaySettings, base_ev: float = 0.0, unit_ev: float = 0.0, *, rgb: bool = True
) -> Any:
    """Radiance ``(…, H, W[, 3])`` as a ``uint8`` picture ``(…, H, W, 3)``; planes of a stack are computed when shown.

    Grey becomes colour too: the highlight warning is one. ``base_ev`` and ``unit_ev`` are what exposure 0 means,
    see :func:`shown_exposures`; a grey image (not ``rgb``) may be three pixels wide.
    """
    settings = replace(settings, ev=settings.ev + (base_ev if settings.operator == "exposure" else unit_ev))
    planes = radiance.ndim - 2 - rgb
    if planes == 0 and isinstance(radiance, np.ndarray):
        return _finish(prepare(radiance).render(settings.operator, settings.ev), settings)
    import dask.array as da

    chunks = (1,) * planes + radiance.shape[planes:]
    lazy = da.from_array(radiance, chunks=chunks) if isinstance(radiance, np.ndarray) else radiance.rechunk(chunks)
    colours: dict[str, Any] = {"chunks": (*lazy.chunks[: planes + 2], (3,))}
    if not rgb:
        colours["new_axis"] = lazy.ndim
    return lazy.map_blocks(_render_block, settings, planes, dtype=np.uint8, **colours)


def render_layer(layer: Image, settings: DisplaySettings) -> Any:
    """An HDR layer as a ``uint8`` picture, as :func:`render` makes it."""
    return render(layer.data, settings, *shown_exposures(layer), rgb=layer.rgb)


def shown_exposures(layer: Image) -> tuple[float, float]:
    """The exposure in EV at which a linear layer looks right, and that after which 1.0 is what the operators expect.

    Of a merged image they are the exposure of its reference frame, and saturation of the shortest. Of HDR files from
    elsewhere, whose unit can be anything, all but the brightest hundredth fits the screen, and the log-average is as
    Reinhard et al. propose, yet so that no more than that hundredth is beyond white.
    """
    note = layer.metadata.get(KEY, {})
    info = note.get("info") or {}
    known = reference_exposure(info)
    if known is not None:
        return known, _unit_exposure(info)
    if "shown_exposures" not in note:  # what one plane suggests
        step = max(1, round((layer.data.size / 300_000) ** 0.5))
        first = (0,) * (layer.data.ndim - (3 if layer.rgb else 2))
        plane = np.asarray(layer.data[first][::step, ::step], np.float32)
        lit = plane[np.isfinite(plane) & (plane > 0)]
        base = unit = 0.0
        if lit.size:
            base = -float(np.log2(np.percentile(lit, 99)))
            unit = min(base, math.log2(_GREY / _GAIN) - float(np.log2(lit).mean()))
        layer.metadata[KEY] = note = note | {"shown_exposures": (base, unit)}
    return note["shown_exposures"]


def reference_exposure(info: Mapping[str, Any]) -> float | None:
    """EV at which a merged image is as bright as its reference frame, from the merge's provenance."""
    try:
        return float(info["ev"][info["reference"]]) + _unit_exposure(info)
    except (KeyError, IndexError, TypeError):
        return None


def _unit_exposure(info: Mapping[str, Any]) -> float:
    """EV that makes 1.0 the saturation of the shortest frame, as the operators expect it: not 0 for counts."""
    return -math.log2(info["scale"]) if info.get("units") == "counts" else 0.0


def display_options(settings: DisplaySettings, base_ev: float) -> dict[str, Any]:
    """Contrast limits and gamma under which a linear layer is shown so: the shader does it, the data stays."""
    return {"contrast_limits": (0.0, 2.0 ** -(settings.ev + base_ev)), "gamma": 1 / settings.gamma}


def set_display(layer: Image, settings: DisplaySettings) -> None:
    """Show a linear layer with an exposure and a gamma."""
    options = display_options(settings, shown_exposures(layer)[0])
    if layer.gamma != options["gamma"]:
        layer.gamma = options["gamma"]
    if tuple(layer.contrast_limits) != options["contrast_limits"]:
        layer.contrast_limits = options["contrast_limits"]


def show_in_thumbnail(layer: Image) -> None:
    """Let the thumbnail of a linear colour layer show what the canvas does; napari's own ignores limits and gamma."""
    if not layer.rgb:
        return

    def update(event: Any = None) -> None:
        plane = layer.data[(0,) * (layer.ndim - 2)]
        step = max(1, math.ceil(max(plane.shape[:2]) / _THUMBNAIL))
        small = np.nan_to_num(np.asarray(plane[::step, ::step, :3], np.float32)) / layer.contrast_limits[1]
        shown = np.full((*small.shape[:2], 4), 255, np.uint8)
        shown[..., :3] = np.round(255 * np.clip(small, 0, 1) ** layer.gamma)
        with layer.events.thumbnail.blocker(update):
            layer.thumbnail = shown

    layer.events.thumbnail.connect(update)
    layer.events.gamma.connect(update)
    update()


def is_hdr(layer: Any) -> bool:
    """Return True for a layer of floating-point light, which a display has to compress."""
    if not isinstance(layer, Image) or layer.multiscale or not np.issubdtype(layer.dtype, np.floating):
        return False
    role = layer.metadata.get(KEY, {}).get("role")
    if role is not None:
        return role in ("radiance", "decoded")
    return layer.rgb or layer.ndim == 2


def prepare(radiance: np.ndarray) -> LivePicture:
    """Radiance ``H×W[×3]`` prepared for live display; the last one asked for is kept while its data lives."""
    from afunet_core.tonemap_lut import LivePicture

    picture = _prepared.get(id(radiance))
    if picture is None:
        picture = LivePicture(radiance)
        _prepared.clear()
        _prepared[id(radiance)] = picture
        weakref.finalize(radiance, _prepared.pop, id(radiance), None)
    return picture


def _render_block(block: np.ndarray, settings: DisplaySettings, planes: int) -> np.ndarray:
    from afunet_core.tonemap_lut import LivePicture

    plane = LivePicture(block[(0,) * planes])
    return _finish(plane.render(settings.operator, settings.ev), settings)[(np.newaxis,) * planes]


def _finish(picture: np.ndarray, settings: DisplaySettings) -> np.ndarray:
    """In colour, and with what is clipped painted over where that is wanted."""
    if picture.ndim == 2:
        picture = np.repeat(picture[..., np.newaxis], 3, axis=-1)
    if settings.warn:
        white = picture[..., 0] == 255
        for channel in (1, 2):
            white |= picture[..., channel] == 255
        picture[white] = CLIPPED
    return picture

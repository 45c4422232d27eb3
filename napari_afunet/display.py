"""Light to screen: a tone-mapped picture of an HDR layer, fast enough to follow a slider."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_afunet.choosing import KEY

if TYPE_CHECKING:
    from napari.layers import Image

__all__ = ["OPERATORS", "DisplaySettings", "base_exposure", "is_hdr", "render", "set_exposure"]

# value → what the user reads
OPERATORS = {
    "reinhard": "Reinhard (photographic)",
    "filmic": "Filmic (soft shoulder)",
    "mu_law": "μ-law (as in the papers)",
    "exposure": "Exposure only (clips)",
}
CLIPPED = np.array((255, 0, 160), np.uint8)
GAMMA = 1 / 2.2


@dataclass(frozen=True)
class DisplaySettings:
    """How an HDR layer is shown.

    Attributes:
        operator: one of :data:`OPERATORS`.
        ev: exposure compensation in EV; +1 is twice as bright.
        warn: paint what is shown clipped.
    """

    operator: str = "reinhard"
    ev: float = 0.0
    warn: bool = False


def render(radiance: Any, settings: DisplaySettings, base_ev: float = 0.0, *, rgb: bool = True) -> Any:
    """Radiance ``(…, H, W[, 3])`` as a ``uint8`` picture ``(…, H, W, 3)``; planes of a stack are computed when shown.

    Grey becomes colour too, because the highlight warning is one.

    Args:
        radiance: linear light, NumPy or dask.
        settings: how to show it.
        base_ev: what exposure 0 means to the operator that does not adapt to the image; see :func:`base_exposure`.
        rgb: whether the last axis is colour (a grey image may be three pixels wide).
    """
    grey = not rgb
    if settings.operator == "exposure":
        settings = replace(settings, ev=settings.ev + base_ev)
    planes = radiance.ndim - (2 if grey else 3)
    if planes == 0 and isinstance(radiance, np.ndarray):
        return _render_plane(radiance, settings, grey)
    import dask.array as da

    chunks = (1,) * planes + radiance.shape[planes:]
    lazy = da.from_array(radiance, chunks=chunks) if isinstance(radiance, np.ndarray) else radiance.rechunk(chunks)
    colours: dict[str, Any] = {"chunks": (*lazy.chunks[: planes + 2], (3,))}
    if grey:
        colours["new_axis"] = lazy.ndim
    return lazy.map_blocks(_render_block, settings, grey, planes, dtype=np.uint8, **colours)


def base_exposure(layer: Image) -> float:
    """The exposure in EV at which a linear layer looks right: that of the bracket's reference frame where it is known.

    For HDR files from elsewhere, whose unit can be anything, all but the brightest hundredth fits the screen.
    """
    note = layer.metadata.get(KEY, {})
    info = note.get("info") or {}
    try:
        return float(info["ev"][info["reference"]])
    except (KeyError, IndexError, TypeError):
        pass
    if "base_ev" not in note:
        step = max(1, round((layer.data.size / 300_000) ** 0.5))
        spatial = layer.data.shape[-3:] if layer.rgb else layer.data.shape[-2:]
        plane = np.asarray(layer.data[tuple(0 for _ in layer.data.shape[: -len(spatial)])][::step, ::step], np.float32)
        bright = float(np.nanpercentile(np.where(np.isfinite(plane), plane, np.nan), 99)) if plane.size else 1.0
        layer.metadata[KEY] = note | {"base_ev": -float(np.log2(bright)) if bright > 0 else 0.0}
    return float(layer.metadata[KEY]["base_ev"])


def set_exposure(layer: Image, ev: float) -> None:
    """Show a linear layer brighter or darker by its contrast limits: the shader does it, the data stays."""
    layer.gamma = GAMMA
    layer.contrast_limits = (0.0, 2.0 ** -(ev + base_exposure(layer)))


def is_hdr(layer: Any) -> bool:
    """Whether a layer holds floating-point light that a display has to compress."""
    from napari.layers import Image

    if not isinstance(layer, Image) or layer.multiscale or not np.issubdtype(layer.dtype, np.floating):
        return False
    role = layer.metadata.get(KEY, {}).get("role")
    if role is not None:
        return role in ("radiance", "decoded", "truth")
    return layer.rgb or layer.ndim == 2


def _render_block(block: np.ndarray, settings: DisplaySettings, grey: bool, planes: int) -> np.ndarray:
    return _render_plane(block[(0,) * planes], settings, grey)[(np.newaxis,) * planes]


def _render_plane(radiance: np.ndarray, settings: DisplaySettings, grey: bool) -> np.ndarray:
    import torch

    from afunet_core.tonemap import tone_map

    light = np.nan_to_num(np.ascontiguousarray(radiance, dtype=np.float32), posinf=3e38, neginf=0.0)
    picture = torch.from_numpy(light[None] if grey else light[..., :3].transpose(2, 0, 1))[None]
    with torch.inference_mode():
        shown = tone_map(picture, settings.operator, ev=settings.ev)
        pixels = shown[0].mul(255).round_().clamp_(0, 255).to(torch.uint8)
    result = np.ascontiguousarray(pixels.expand(3, -1, -1).permute(1, 2, 0).numpy())
    if settings.warn:
        result[(result == 255).any(-1)] = CLIPPED
    return result

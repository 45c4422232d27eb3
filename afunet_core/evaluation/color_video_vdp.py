"""ColorVideoVDP as a metric of this package: would a person see the difference, in just-objectionable differences.

R. Mantiuk, P. Hanji, M. Ashraf, Y. Asano, A. Chapiro, "ColorVideoVDP: A visual difference predictor for image,
video and display distortions", ACM Transactions on Graphics 43, 2024: by the authors of HDR-VDP, whose successor it is.
The computation is theirs, in the package ``cvvdp`` (MIT), which the extra ``metrics`` installs.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from afunet_core.errors import DependencyError, ShapeError
from afunet_core.evaluation.display import Display
from afunet_core.metrics import Metric

__all__ = ["color_video_vdp"]


def color_video_vdp(display: Display | None = None) -> Metric:
    """ColorVideoVDP on a display: 10 where nobody sees a difference, 9 where three in four prefer the truth.

    Args:
        display: what the pictures are looked at on; ``Display()`` by default.

    Returns:
        A metric whose function takes radiance B×3×H×W (or B×1×H×W), image and truth, and returns JOD (B,). It is
        differentiable. Its definition names the version and the display. Pass it to
        :func:`~afunet_core.evaluation.evaluator.evaluate` as one of ``more_metrics``.

    Raises:
        DependencyError: without the package ``cvvdp``.
    """
    display = display or Display()
    library = _library()
    photometry = library.vvdp_display_photo_eotf(
        display.peak, contrast=display.contrast, source_colorspace="BT.709-linear", E_ambient=display.ambient
    )
    geometry = library.vvdp_display_geometry((3840, 2160), ppd=display.pixels_per_degree)
    measures: dict[torch.device, Any] = {}

    def jod(image: Tensor, truth: Tensor) -> Tensor:
        if image.ndim != 4 or image.shape != truth.shape or image.shape[1] not in (1, 3):
            raise ShapeError("image", f"B×3×H×W like the truth {tuple(truth.shape)}", tuple(image.shape))
        if image.device not in measures:
            measures[image.device] = library.cvvdp(
                display_photometry=photometry, display_geometry=geometry, device=image.device, quiet=True
            )
        # Theirs are videos, B×C×F×H×W; one frame makes it the metric of still pictures.
        shown, wanted = (display.luminance(x).unsqueeze(2) for x in (image, truth))
        scores = [measures[image.device].predict(a[None], b[None])[0] for a, b in zip(shown, wanted, strict=True)]
        return torch.stack([score.reshape(()) for score in scores])

    version = importlib.metadata.version("cvvdp")
    return Metric(jod, f"ColorVideoVDP {version}, 10 where no difference is visible; {display.definition}", "JOD", 10.0)


def _library() -> Any:
    try:
        with _blur_without_torchvision():
            import pycvvdp
    except ImportError as error:
        raise DependencyError(
            f"ColorVideoVDP needs the package cvvdp ({error}): pip install 'napari-afunet[metrics]'."
        ) from error
    return pycvvdp


class _GaussianBlur(nn.Module):
    """What ColorVideoVDP uses of torchvision, by kornia: a blur with reflected borders."""

    def __init__(self, kernel_size: int, sigma: float) -> None:
        super().__init__()
        self.size, self.sigma = (int(kernel_size),) * 2, (float(sigma),) * 2

    def forward(self, x: Tensor) -> Tensor:
        import kornia

        return kornia.filters.gaussian_blur2d(x, self.size, self.sigma, border_type="reflect")


@contextmanager
def _blur_without_torchvision() -> Iterator[None]:
    """Where torchvision does not import (it must match torch's build exactly), stand in for it during the import.

    Only the blur is used by the metric itself. ``MLP`` belongs to learned variants, which are not offered here.
    """
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):  # absent, or built for another torch
        stand_ins = {name: ModuleType(name) for name in ("torchvision", "torchvision.transforms", "torchvision.ops")}
        stand_ins["torchvision.transforms"].__dict__["GaussianBlur"] = _GaussianBlur
        stand_ins["torchvision.ops"].__dict__["MLP"] = nn.Module
        sys.modules.update(stand_ins)
        try:
            yield
        finally:
            for name in stand_ins:
                del sys.modules[name]
    else:
        yield

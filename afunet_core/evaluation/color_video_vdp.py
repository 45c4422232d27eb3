"""ColorVideoVDP as a metric: visible differences, in just-objectionable differences (JOD).

Mantiuk et al., "ColorVideoVDP: A visual difference predictor for image, video and display distortions", ACM
Transactions on Graphics 43, 2024; computed by the authors' package ``cvvdp`` (MIT) of the extra ``metrics``.
"""

from __future__ import annotations

import importlib.metadata
from functools import cache
from typing import Any

import torch
from torch import Tensor

from afunet_core.errors import DependencyError, ShapeError
from afunet_core.metrics import Metric
from afunet_core.ops.arguments import check_positive

# Of the library's display ``standard_hdr_linear``.
CONTRAST = 1e6  # peak over black
AMBIENT = 10.0  # light on the screen, in lux


def color_video_vdp(peak: float = 1500.0, pixels_per_degree: float = 75.4) -> Metric:
    """Make the metric for a linear display: 10 where no difference is visible, 9 where three in four prefer the truth.

    Its function takes radiance B×3×H×W (or B×1×H×W), image and truth, and returns JOD (B,), differentiable. Pass it
    to :func:`~afunet_core.evaluation.evaluator.evaluate` as one of ``more_metrics``. The defaults are a screen of 30
    inches and 4K at two heights.

    Args:
        peak: luminance at which radiance 1.0 (the saturation of the shortest frame) is shown, in cd/m²; no more can be.
        pixels_per_degree: of the viewer's vision.

    Raises:
        ArgumentError: for values that no display has.
        DependencyError: without the packages ``cvvdp`` and torchvision.
    """
    check_positive("peak", peak)
    check_positive("pixels_per_degree", pixels_per_degree)
    library = _library()

    @cache
    def measure(device: torch.device) -> Any:
        photometry = library.vvdp_display_photo_eotf(
            peak, contrast=CONTRAST, source_colorspace="BT.709-linear", E_ambient=AMBIENT
        )
        geometry = library.vvdp_display_geometry((3840, 2160), ppd=pixels_per_degree)
        return library.cvvdp(display_photometry=photometry, display_geometry=geometry, device=device, quiet=True)

    def jod(image: Tensor, truth: Tensor) -> Tensor:
        if image.ndim != 4 or image.shape != truth.shape or image.shape[1] not in (1, 3):
            raise ShapeError("image", f"B×3×H×W like the truth {tuple(truth.shape)}", tuple(image.shape))
        # In cd/m², without reflections. Theirs are videos, B×C×F×H×W; one frame makes it the metric of pictures.
        luminance = ((x.float() * peak).clamp(peak / CONTRAST, peak) for x in (image, truth))
        shown, wanted = (x.expand(-1, 3, -1, -1).unsqueeze(2) for x in luminance)
        pairs = zip(shown, wanted, strict=True)
        return torch.stack([measure(image.device).predict(a[None], b[None])[0].reshape(()) for a, b in pairs])

    display = (
        f"linear BT.709, 1.0 shown at {peak:g} cd/m², black at {peak / CONTRAST:g} cd/m², "
        f"ambient {AMBIENT:g} lux, {pixels_per_degree:g} pixels per degree"
    )
    version = importlib.metadata.version("cvvdp")
    return Metric(jod, f"ColorVideoVDP {version}, 10 where no difference is visible; {display}", "JOD", 10.0)


def _library() -> Any:
    """Import the package; torchvision, which it uses, raises RuntimeError where it was built for another torch."""
    try:
        import pycvvdp
    except (ImportError, RuntimeError) as error:
        raise DependencyError(
            f"ColorVideoVDP needs the package cvvdp, and a torchvision that fits torch {torch.__version__} ({error}): "
            "pip install 'napari-afunet[metrics]'."
        ) from error
    return pycvvdp

"""ColorVideoVDP as a metric: visible differences, in just-objectionable differences (JOD).

Mantiuk et al., "ColorVideoVDP: A visual difference predictor for image, video and display distortions", ACM
Transactions on Graphics 43, 2024; computed by the authors' package ``cvvdp`` (MIT) of the extra ``metrics``.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from afunet_core.errors import ArgumentError, DependencyError, ShapeError
from afunet_core.metrics import Metric

__all__ = ["DisplayModel", "color_video_vdp"]


@dataclass(frozen=True)
class DisplayModel:
    """A linear display. The defaults are ColorVideoVDP's ``standard_hdr_linear``: 30 inches, 4K, at two heights.

    Raises:
        ArgumentError: for values no display has.

    Example:
        >>> DisplayModel(pixels_per_degree=50).definition
        'linear BT.709, 1.0 shown at 1500 cd/m², black at 0.0015 cd/m², ambient 10 lux, 50 pixels per degree'
    """

    # luminance at which radiance 1.0 (the saturation of the shortest frame) is shown, in cd/m²; no more can be
    peak: float = 1500.0
    contrast: float = 1e6  # peak over black
    ambient: float = 10.0  # light on the screen, in lux
    pixels_per_degree: float = 75.4  # of the viewer's vision

    def __post_init__(self) -> None:
        for name, value, least in (
            ("peak", self.peak, 0.0),
            ("contrast", self.contrast, 1.0),
            ("pixels_per_degree", self.pixels_per_degree, 0.0),
        ):
            if not value > least:
                raise ArgumentError(name, f"above {least:g}", value)
        if not self.ambient >= 0:
            raise ArgumentError("ambient", "at least 0 lux", self.ambient)

    @property
    def definition(self) -> str:
        """The description for labels."""
        return (
            f"linear BT.709, 1.0 shown at {self.peak:g} cd/m², black at {self.peak / self.contrast:g} cd/m², "
            f"ambient {self.ambient:g} lux, {self.pixels_per_degree:g} pixels per degree"
        )

    def luminance(self, radiance: Tensor) -> Tensor:
        """Compute what the display shows: B×3×H×W float32 in cd/m², without reflections; grey becomes three channels.

        Example:
            >>> import torch
            >>> DisplayModel(peak=100, contrast=1000).luminance(torch.tensor([0, 0.5, 7]).view(1, 3, 1, 1)).flatten()
            tensor([  0.1000,  50.0000, 100.0000])
        """
        shown = (radiance.float() * self.peak).clamp(self.peak / self.contrast, self.peak)
        return shown.expand(-1, 3, -1, -1) if radiance.shape[1] == 1 else shown


def color_video_vdp(display: DisplayModel | None = None) -> Metric:
    """Make the metric for a display: 10 where no difference is visible, 9 where three in four prefer the truth.

    Its function takes radiance B×3×H×W (or B×1×H×W), image and truth, and returns JOD (B,), differentiable. Pass it
    to :func:`~afunet_core.evaluation.evaluator.evaluate` as one of ``more_metrics``.

    Raises:
        DependencyError: without the packages ``cvvdp`` and torchvision.
    """
    display = display or DisplayModel()
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
    """Import the package; torchvision, which it uses, raises RuntimeError where it was built for another torch."""
    try:
        import pycvvdp
    except (ImportError, RuntimeError) as error:
        raise DependencyError(
            f"ColorVideoVDP needs the package cvvdp, and a torchvision that fits torch {torch.__version__} ({error}): "
            "pip install 'napari-afunet[metrics]'."
        ) from error
    return pycvvdp

"""What the paper reports for AFUNet and its variants, to print beside a measurement.

X. Li, Z. Ni, W. Yang, "AFUNet: Cross-Iterative Alignment-Fusion Synergy for HDR Reconstruction via Deep Unfolding
Paradigm", ICCV 2025, Tables 1 to 6. The ablations (Tables 4 to 6) are on Kalantari's test set.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["PUBLISHED_ROWS", "PublishedRow"]


class PublishedRow(NamedTuple):
    """One row: where it stands, and its averages over the test set (PSNR in dB).

    ``hdr_vdp_2`` is the score as printed; the paper names neither version, display, pixels per degree nor encoding.
    """

    table: str
    psnr_mu: float
    psnr_l: float
    ssim_mu: float
    ssim_l: float
    hdr_vdp_2: float | None = None

    def scores(self) -> dict[str, float]:
        """By the names of :data:`afunet_core.metrics.METRICS`."""
        return {"PSNR-μ": self.psnr_mu, "PSNR-l": self.psnr_l, "SSIM-μ": self.ssim_mu, "SSIM-l": self.ssim_l}


PUBLISHED_ROWS = {
    "kalantari": PublishedRow("Table 1", 44.91, 42.59, 0.9923, 0.9906, 66.75),
    "hu": PublishedRow("Table 2", 48.83, 52.13, 0.9968, 0.9991, 77.44),
    "tel": PublishedRow("Table 3", 43.31, 47.83, 0.9876, 0.9959, 71.08),
    "M1": PublishedRow("Table 4", 43.94, 42.04, 0.9917, 0.9890),
    "M2": PublishedRow("Table 4", 44.48, 42.40, 0.9918, 0.9893),
    "M3": PublishedRow("Table 4", 44.62, 42.56, 0.9921, 0.9895),
    "M4": PublishedRow("Table 4", 44.45, 42.39, 0.9919, 0.9899),
    "FA": PublishedRow("Table 5", 44.72, 42.32, 0.9923, 0.9904),
    "stages-2": PublishedRow("Table 6", 44.40, 41.45, 0.9918, 0.9881),
    "stages-3": PublishedRow("Table 6", 44.83, 42.62, 0.9923, 0.9903),
    "stages-4": PublishedRow("Table 6", 44.91, 42.59, 0.9923, 0.9906),
    "stages-5": PublishedRow("Table 6", 44.85, 42.91, 0.9923, 0.9908),
    "stages-6": PublishedRow("Table 6", 44.93, 42.84, 0.9923, 0.9910),
}
"""By data set, and by the names of :data:`afunet_core.model.config.VARIANTS`."""

"""HDR pictures for screens: AVIF in PQ (SMPTE ST 2084, Rec. 2020), with imagecodecs (the extra ``hdr``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from afunet_core.errors import DependencyError
from afunet_core.io.colour import PQ, PQ_WHITE, REC2020, primaries_to_srgb
from afunet_core.io.metadata import to_xmp

_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # the UUID of boxes with XMP: ISO 16684-1, part 3

_BITS = 10
_REC2020, _PQ, _REC2020_MATRIX = 9, 16, 9  # code points of ITU-T H.273


def encode_pq_avif(image: np.ndarray, quality: int = 95, metadata: Mapping[str, Any] | None = None) -> bytes:
    """Encode linear sRGB, 1.0 diffuse white (203 cd/m²), as an AVIF of 10 bits, limited to 10,000 cd/m²."""
    try:
        import imagecodecs
    except ImportError as error:
        raise DependencyError("HDR AVIF needs imagecodecs: pip install 'napari-afunet[hdr]'.") from error
    light = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image[..., :3]
    matrix = primaries_to_srgb(REC2020)
    assert matrix is not None
    light = np.maximum(light @ np.linalg.inv(matrix).T, 0.0)
    codes = np.rint(encode_pq(light * PQ_WHITE) * (2**_BITS - 1)).astype(np.uint16)
    encoded = imagecodecs.avif_encode(
        np.ascontiguousarray(codes),
        level=quality,
        bitspersample=_BITS,
        primaries=_REC2020,
        transfer=_PQ,
        matrix=_REC2020_MATRIX,
        pixelformat="yuv444",
    )
    if not metadata:
        return bytes(encoded)
    content = _XMP_BOX + to_xmp(metadata)
    return bytes(encoded) + (len(content) + 8).to_bytes(4, "big") + b"uuid" + content


def encode_pq(candela: np.ndarray) -> np.ndarray:
    """The PQ code, 0 to 1, of a luminance in cd/m² (SMPTE ST 2084)."""
    m1, m2, c1, c2, c3 = PQ
    power = np.clip(candela / 10000.0, 0.0, 1.0) ** m1
    return np.where(power > 0, ((c1 + c2 * power) / (1 + c3 * power)) ** m2, 0.0)

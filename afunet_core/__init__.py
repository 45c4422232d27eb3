"""AFUNet as real software: brackets in, ghost-free linear radiance out.

The public names are loaded on first use, so that importing the package costs nothing until torch is needed.

Example:
    >>> import afunet_core as af
    >>> round(float(af.mu_law(0.5)), 3)
    0.919
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "AFUNet": "afunet_core.model.afunet",
    "AFUNetConfig": "afunet_core.model.config",
    "AFUNetError": "afunet_core.errors",
    "ArgumentError": "afunet_core.errors",
    "Bracket": "afunet_core.bracket",
    "BracketError": "afunet_core.errors",
    "CheckpointError": "afunet_core.errors",
    "ExposureError": "afunet_core.errors",
    "ImageFileError": "afunet_core.errors",
    "InverseMuLaw": "afunet_core.radiometry",
    "MergeCancelled": "afunet_core.errors",
    "MergeResult": "afunet_core.merging",
    "MuLaw": "afunet_core.radiometry",
    "ShapeError": "afunet_core.errors",
    "StageState": "afunet_core.model.afunet",
    "inverse_mu_law": "afunet_core.radiometry",
    "load_model": "afunet_core.model.checkpoint",
    "merge": "afunet_core.merging",
    "mu_law": "afunet_core.radiometry",
    "read_image": "afunet_core.io",
    "save_model": "afunet_core.model.checkpoint",
    "write_image": "afunet_core.io",
}

__all__ = [*sorted(_PUBLIC), "__version__"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])

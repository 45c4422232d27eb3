"""AFUNet as real software: brackets in, ghost-free linear radiance out.

The public names are loaded on first use, so that importing the package costs nothing until torch is needed.

Example:
    >>> import afunet_core as af
    >>> round(float(af.mu_law(0.5)), 3)
    0.919
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]

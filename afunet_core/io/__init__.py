"""Image files in and out, and what they know about light, colours and exposure.

OpenImageIO reads and writes most formats: it is right where the common readers are not (16-bit RGB PNG, EXR, Radiance).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

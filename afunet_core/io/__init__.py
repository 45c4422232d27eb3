"""Image files in and out: EXR, Radiance, TIFF, PNG, JPEG, and what they know about their exposure.

OpenImageIO reads and writes every format but the written TIFF (tifffile): it is right where the common readers are not
(16-bit RGB PNG, EXR, Radiance). Every failure becomes an :class:`~afunet_core.errors.ImageFileError`, every file is
written beside its destination first and then renamed, so that a crash or a full disk never leaves half a picture
behind.

The names are loaded on first use. A package that loads its parts while it is loaded itself can make two threads wait
for each other: Python locks a part before its package.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Classical merges: reference frame, weighted mean, exposure fusion, and OpenCV's for comparison."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""napari plugin for AFUNet: ghost-free HDR from exposure brackets.

Nothing heavy is imported here: napari discovers the plugin at start-up, torch loads on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

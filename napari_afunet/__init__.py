"""napari plugin for AFUNet: ghost-free HDR from exposure brackets.

Nothing heavy is imported here: napari discovers the plugin at start-up, torch loads on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_afunet.api import merge_layers

__all__ = ["merge_layers"]


def __getattr__(name: str) -> Any:
    if name == "merge_layers":
        from napari_afunet.api import merge_layers

        return merge_layers
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Menu commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.viewer import Viewer

__all__ = ["merge_bracket", "toggle_compare", "toggle_side_by_side"]


def merge_bracket(viewer: Viewer) -> None:
    """Open the widget and press its Merge button."""
    _, widget = viewer.window.add_plugin_dock_widget("napari-afunet", "Merge exposure bracket")
    widget.merge()


def toggle_compare(viewer: Viewer) -> None:
    """Show the reference frame in the place of the result, or return to the usual view."""
    from napari_afunet.display.compare import toggle

    toggle(viewer)


def toggle_side_by_side(viewer: Viewer) -> None:
    """Show the reference frame and the result side by side, or return to the usual view."""
    from napari_afunet.display.compare import toggle

    toggle(viewer, "side by side")

"""Commands of the menus, the command palette and the keyboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.viewer import Viewer

__all__ = ["merge_bracket", "save_result", "toggle_compare", "toggle_side_by_side"]


def merge_bracket(viewer: Viewer) -> None:
    """Press Merge in the panel, which is opened if it is not."""
    _panel(viewer).merge()


def save_result(viewer: Viewer) -> None:
    """Press Save in the panel, which is opened if it is not."""
    _panel(viewer).controls.save_button.click()


def toggle_compare(viewer: Viewer) -> None:
    """Show the reference frame in the place of the result, or return to the usual view."""
    from napari_afunet.display.compare import toggle

    toggle(viewer)


def toggle_side_by_side(viewer: Viewer) -> None:
    """Show the reference frame and the result side by side, or return to the usual view."""
    from napari_afunet.display.compare import toggle

    toggle(viewer, "side by side")


def _panel(viewer: Viewer) -> Any:
    """Return the panel that is open, or a new one; napari never opens a second."""
    _, panel = viewer.window.add_plugin_dock_widget("napari-afunet", "Merge exposure bracket")
    return panel

"""Commands of the menus, the command palette and the keyboard."""

from typing import Any

from napari.viewer import Viewer

_NAME = "Merge exposure bracket (AFUNet HDR)"  # of the panel, as napari makes it of the manifest


def merge_bracket(viewer: Viewer) -> None:
    """Press Merge in the panel, which is opened if it is not."""
    _panel(viewer).merge()


def save_result(viewer: Viewer) -> None:
    """Press Save in the panel, which is opened if it is not."""
    _panel(viewer).save_button.ask()


def toggle_compare(viewer: Viewer) -> None:
    """Show the reference frame in the place of the result, or return to the usual view."""
    _panel(viewer).views.toggle_comparison("reference")


def toggle_side_by_side(viewer: Viewer) -> None:
    """Show the reference frame and the result side by side, or return to the usual view."""
    _panel(viewer).views.toggle_comparison("side by side")


def _panel(viewer: Viewer) -> Any:
    """Return the panel that is open, or open it under the name that napari's menu gives it: there is never a second."""
    from napari_afunet.widget import MergeWidget

    panel = next((each for each in viewer.window.dock_widgets.values() if isinstance(each, MergeWidget)), None)
    if panel is None:
        panel = MergeWidget(viewer)
        viewer.window.add_dock_widget(panel, name=_NAME)
    dock = panel.parentWidget()
    if dock is not None:
        dock.show()
        dock.raise_()
    return panel

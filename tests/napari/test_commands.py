"""Menu commands, through napari's own registry."""

from __future__ import annotations

WAIT = 300_000


def test_the_commands_in_the_menus_work(widget, qtbot, add_bracket, frames):
    """Through napari's own registry, as a click on Layers › Register does."""
    from napari._app_model import get_app_model

    viewer, commands = widget.viewer, get_app_model().commands
    layers = add_bracket(viewer, frames)
    commands.execute_command("napari-afunet.merge_layers").result()
    qtbot.waitUntil(lambda: widget.worker is None, timeout=WAIT)
    assert viewer.layers["scene HDR"].visible
    commands.execute_command("napari-afunet.compare").result()
    assert not viewer.layers["scene HDR"].visible
    assert layers[1].visible
    commands.execute_command("napari-afunet.compare").result()
    commands.execute_command("napari-afunet.compare_side_by_side").result()
    assert viewer.canvas.grid.enabled
    commands.execute_command("napari-afunet.compare_side_by_side").result()

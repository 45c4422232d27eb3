"""Menu commands, through napari's own registry."""

from scenes import add_bracket


def test_the_commands_in_the_menus_work(widget, qtbot, frames):
    """Through napari's own registry, as a click on Layers › Register does."""
    from napari._app_model import get_app_model

    viewer, commands = widget.viewer, get_app_model().commands
    layers = add_bracket(viewer, frames)
    commands.execute_command("napari-afunet.merge_layers").result()
    qtbot.waitUntil(lambda: not widget.is_running)
    assert viewer.layers["scene HDR"].visible
    commands.execute_command("napari-afunet.compare").result()
    assert not viewer.layers["scene HDR"].visible
    assert layers[1].visible
    commands.execute_command("napari-afunet.compare").result()
    commands.execute_command("napari-afunet.compare_side_by_side").result()
    assert viewer.canvas.grid.enabled
    commands.execute_command("napari-afunet.compare_side_by_side").result()


def test_one_command_one_panel_whichever_comes_first(viewer, qtbot, frames):
    from napari._app_model import get_app_model

    from napari_afunet.widget import MergeWidget

    def panels():
        return [each for each in viewer.window.dock_widgets.values() if isinstance(each, MergeWidget)]

    commands = get_app_model().commands
    commands.execute_command("napari-afunet.save").result()
    [panel] = panels()
    commands.execute_command("napari-afunet.merge_widget").result()  # the menu shows and hides the same
    assert panels() == [panel]
    panel.parentWidget().hide()
    add_bracket(viewer, frames)
    panel.options.choose("method", "weighted")
    commands.execute_command("napari-afunet.merge_layers").result()
    assert panels() == [panel]
    assert not panel.parentWidget().isHidden()
    qtbot.waitUntil(lambda: not panel.is_running)
    assert viewer.layers["scene HDR"].metadata["afunet"]["settings"]["method"] == "weighted"  # as the panel says

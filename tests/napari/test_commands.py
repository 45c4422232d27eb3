"""Menu commands, through napari's own registry."""

from scenes import add_bracket


def test_the_commands_in_the_menus_work_with_one_panel_whichever_comes_first(viewer, qtbot, frames):
    """Through napari's own registry, as a click on Layers › Register does."""
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
    layers = add_bracket(viewer, frames)
    panel.options.choose("method", "weighted")
    commands.execute_command("napari-afunet.merge_layers").result()
    assert panels() == [panel]
    assert not panel.parentWidget().isHidden()
    qtbot.waitUntil(lambda: not panel.is_running)
    assert viewer.layers["scene HDR"].metadata["afunet"]["settings"]["method"] == "weighted"  # as the panel says
    for name in ("compare", "compare_side_by_side"):
        commands.execute_command(f"napari-afunet.{name}").result()
        assert layers[1].visible
        assert not layers[0].visible
        assert viewer.canvas.grid.enabled == viewer.layers["scene tone mapped"].visible == (name != "compare")
        commands.execute_command(f"napari-afunet.{name}").result()
        assert layers[0].visible
        assert not viewer.canvas.grid.enabled

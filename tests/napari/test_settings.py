"""Settings and preferences."""

from __future__ import annotations

from napari_afunet.settings import GIGABYTE, MergeSettings


def test_preferences_become_the_defaults(plugin_settings, plugin):
    from napari.settings import get_plugin_settings

    assert MergeSettings.from_preferences() == MergeSettings()
    preferences = get_plugin_settings("napari-afunet")
    preferences.merge.method, preferences.merge.memory_gb = "weighted", 1.5
    preferences.layers.stages = False
    preferences.camera.bit_depth, preferences.camera.black_level, preferences.camera.drift = 12, "64", True
    preferences.camera.noise, preferences.merge.units = "0.5, 4", "counts"
    settings = MergeSettings.from_preferences()
    assert (settings.bit_depth, settings.black_level, settings.drift) == (12, 64.0, "auto")
    assert (settings.noise, settings.units, settings.response) == ((0.5, 4.0), "counts", None)
    assert (settings.method, settings.memory_budget, settings.stages) == ("weighted", round(1.5 * GIGABYTE), False)


def test_everything_that_the_core_offers_is_a_setting():
    """Whoever adds an option to the core is reminded of the widget, and of a preference for cameras."""
    import inspect

    from afunet_core import Bracket, merge

    offered = set(inspect.signature(merge).parameters) - {"bracket", "on_progress", "should_cancel"}
    assert offered == set(MergeSettings().core_arguments())
    offered = set(inspect.signature(Bracket.__init__).parameters) - {"self", "frames", "names", "metadata"}
    assert offered == set(MergeSettings().bracket_arguments())

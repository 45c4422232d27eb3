"""Settings and preferences."""

import inspect
from pathlib import Path

import pytest
import yaml

from afunet_core import Bracket, merge
from afunet_core.errors import ArgumentError
from afunet_core.utils.options import GROUPS
from napari_afunet.settings import MergeSettings, form_options

ROOT = Path(__file__).parents[2]


def test_preferences_become_the_defaults(plugin_settings, plugin):
    from napari.settings import get_plugin_settings

    assert MergeSettings.from_preferences() == MergeSettings()
    preferences = get_plugin_settings("napari-afunet")
    preferences.merging.method, preferences.network.memory_budget = "weighted", 1.5
    preferences.result.stages, preferences.result.units = True, "counts"
    preferences.frames.bit_depth, preferences.camera.black_level = "12 bit", "64,5"
    preferences.camera.drift, preferences.camera.noise, preferences.camera.gamma = "auto", "0.5, 4", 1.8
    camera = {"bit_depth": 12, "black_level": 64.5, "drift": "auto", "noise": (0.5, 4.0), "gamma": 1.8}
    merging = {"method": "weighted", "memory_budget": round(1.5 * 1024**3), "stages": True, "units": "counts"}
    assert MergeSettings.from_preferences() == MergeSettings(**camera, **merging)
    preferences.frames.bit_depth, preferences.camera.noise = "twelve", "little"  # the panel opens all the same
    assert MergeSettings.from_preferences() == MergeSettings(
        **camera | {"bit_depth": None, "noise": "estimate"}, **merging
    )


def test_the_preferences_in_the_manifest_are_the_declared_options():
    manifest = yaml.safe_load((ROOT / "napari.yaml").read_text(encoding="utf-8"))
    groups = manifest["contributions"]["configurations"]
    stated = {name: (key, entry) for key, group in groups.items() for name, entry in group["properties"].items()}
    assert stated.pop("paces")[0] == "forecast"
    assert {key: group["title"] for key, group in groups.items() if key != "forecast"} == GROUPS
    declared = form_options()
    assert set(stated) == set(declared) - {"channel", "override"}  # those are of one bracket, never of all
    for name, (group, entry) in stated.items():
        each = declared[name]
        assert (group, entry["title"], entry["description"]) == (each.group, each.label, each.help)
        assert entry["type"] == {"flag": "boolean", "number": "number"}.get(each.kind, "string")
        assert entry.get("enum") == (list(each.choices) if each.kind == "choice" else None)
        if each.kind == "number":
            assert (entry["minimum"], entry["maximum"]) == (each.minimum, each.maximum)


def test_everything_that_the_core_offers_is_a_setting():
    offered = set(inspect.signature(merge).parameters) - {"bracket", "on_progress", "should_cancel"}
    assert offered == set(MergeSettings().merge_arguments())
    offered = set(inspect.signature(Bracket.__init__).parameters) - {"self", "frames", "names", "metadata"}
    assert offered == set(MergeSettings().bracket_arguments())


def test_the_form_offers_no_choice_that_only_files_can_answer():
    assert set(form_options()["encoding"].choices) == {"gamma", "srgb", "linear"}
    with pytest.raises(ArgumentError, match="encoding"):
        MergeSettings(encoding="auto")

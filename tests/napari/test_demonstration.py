"""The demonstration."""

from pathlib import Path


def test_the_demonstration_leaves_its_three_files(plugin, make_napari_viewer, monkeypatch, tmp_path):
    import functools

    import napari

    import afunet_core.data.demo as scenes
    from afunet_core import read_image

    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
    import demonstration

    small = functools.partial(scenes.demo_bracket, reduction=8)
    monkeypatch.setattr(scenes, "demo_bracket", small)
    monkeypatch.setattr(napari, "Viewer", lambda show: make_napari_viewer())
    monkeypatch.setattr(demonstration, "register_plugin", lambda: None)
    assert demonstration.main(["--headless", str(tmp_path / "out"), "--method", "weighted"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["merged.exr", "merged.png", "screenshot.png"]
    merged = read_image(tmp_path / "out" / "merged.exr")
    assert merged.metadata["method"] == "weighted"
    assert merged.pixels.shape == small().truth.shape
    assert read_image(tmp_path / "out" / "screenshot.png").pixels.std() > 10

"""Readers."""

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from npe2 import PluginManifest, read

from afunet_core.errors import AFUNetError
from scenes import EV, write_dng, write_oiio


def test_raw_files_open_as_linear_frames_with_their_exposure(plugin, tmp_path):
    pytest.importorskip("rawpy")
    light = np.full((64, 96, 3), 0.2)
    paths = [str(write_dng(tmp_path / f"{n}.dng", light * t, (t, 100))) for n, t in (("b", 1), ("a", 4))]
    viewer = ViewerModel()
    layers = viewer.open(paths, plugin="napari-afunet", stack=False)
    assert [layer.metadata["encoding"] for layer in layers] == ["linear", "linear"]
    assert [layer.metadata["exposure_time"] for layer in layers] == pytest.approx([0.01, 0.04])
    assert layers[0].rgb


def test_a_bracket_folder_opens_as_frames_with_exposures(plugin, tmp_path, frames):
    import imageio.v3 as iio

    folder = tmp_path / "walk"
    folder.mkdir()
    for name, frame in zip("cab", frames, strict=True):  # names in another order than exposures
        iio.imwrite(folder / f"{name}.png", frame)
    (folder / "exposure.txt").write_text("0\n2\n-2\n")
    viewer = ViewerModel()
    layers = viewer.open(str(folder), plugin="napari-afunet", stack=False)
    assert [layer.metadata["ev"] for layer in layers] == list(EV)
    for layer, frame in zip(layers, frames, strict=True):
        np.testing.assert_array_equal(layer.data, frame)
    assert len(viewer.open(str(folder / "exposure.txt"), plugin="napari-afunet")) == 3
    (folder / "exposure.txt").write_text("0\n2\n")
    with pytest.raises(AFUNetError, match="exposure"):
        viewer.open(str(folder), plugin="napari-afunet", stack=False)


def test_photographs_dropped_on_the_canvas_are_a_bracket_with_exposures(plugin, photographs):
    """As napari opens a drop: file by file, asking nothing, for the plugin claims no common picture type."""
    import napari_builtins

    from napari_afunet.api import as_script, merge_layers, resolve_source
    from napari_afunet.settings import MergeSettings

    plugin.register(PluginManifest.from_file(Path(napari_builtins.__file__).with_name("builtins.yaml")))
    viewer = ViewerModel()
    viewer.open(sorted(photographs), plugin=None, stack=False)
    source, layers = resolve_source(viewer, None)
    times = (1 / 400, 1 / 100, 1 / 25)
    # The script of a merge opens the files by itself where they are not open yet.
    settings = MergeSettings(times=times, method="weighted", align="off")
    script = as_script(source, [layer.name for layer in layers], settings)
    script = script.replace("napari.current_viewer()", "ViewerModel()")
    exec(compile(script, "<script>", "exec"), names := {"ViewerModel": ViewerModel})
    here = merge_layers(viewer, layers, times=times, method="weighted", align="off", show=False)
    np.testing.assert_array_equal(names["result"].radiance, here.radiance)
    assert len(names["viewer"].layers) > 3


def test_folders_and_files_of_others_are_left_to_others(tmp_path):
    from napari_afunet.readers import get_bracket_reader, get_hdr_reader

    assert get_bracket_reader(str(tmp_path)) is None
    assert get_bracket_reader(str(tmp_path / "a.tif")) is None
    assert get_bracket_reader([str(tmp_path), str(tmp_path)]) is None
    assert get_hdr_reader(str(tmp_path / "a.tif")) is None
    assert get_hdr_reader([]) is None


@pytest.mark.parametrize("suffix", [".exr", ".hdr"])
def test_damaged_files_are_refused_with_a_sentence(plugin, tmp_path, suffix):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(b"#?not an image at all")  # as a Radiance file begins
    with pytest.raises(AFUNetError, match="broken"):
        read([str(path)], stack=False, plugin_name="napari-afunet")


def test_an_exr_with_layers_and_depth_opens_as_one_layer_each(plugin, tmp_path):
    pixels = np.random.default_rng(0).random((6, 8, 7), dtype=np.float32)
    write_oiio(tmp_path / "render.exr", ("", ("B", "G", "R", "Z", "sun.B", "sun.G", "sun.R"), pixels))
    viewer = ViewerModel()
    viewer.open(str(tmp_path / "render.exr"), plugin="napari-afunet")
    assert [layer.name for layer in viewer.layers] == ["render sun", "render Z", "render"]  # the colours on top
    assert [layer.rgb for layer in viewer.layers] == [True, False, True]
    np.testing.assert_array_equal(viewer.layers["render"].data, pixels[..., [2, 1, 0]])
    np.testing.assert_array_equal(viewer.layers["render Z"].data, pixels[..., 3])

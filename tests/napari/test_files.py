"""Every contribution of the manifest: readers, writers, samples; and that none of it costs anything at start-up."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from npe2 import PluginManifest, read, write

from afunet_core.errors import AFUNetError

EV = (-2.0, 0.0, 2.0)
ROOT = Path(__file__).parents[2]


def test_the_manifest_is_valid_and_everything_in_it_exists():
    manifest = PluginManifest.from_file(ROOT / "napari.yaml")
    manifest.validate_imports()
    assert (ROOT / "napari_afunet" / "napari.yaml").resolve() == ROOT / "napari.yaml"


def test_finding_the_plugin_does_not_load_torch():
    code = (
        "import sys\n"
        "import napari_afunet, napari_afunet.commands, napari_afunet.readers, napari_afunet.writers\n"
        "import napari_afunet.samples, napari_afunet.widget\n"
        "print([name for name in ('torch', 'kornia', 'OpenImageIO') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.parametrize("key", ["moving", "static"])
def test_samples_are_brackets_with_known_truth(plugin, key):
    from afunet_core import Bracket
    from napari_afunet.choosing import guess_layers
    from napari_afunet.exposures import layer_exposure

    viewer = ViewerModel()
    layers = viewer.open_sample("napari-afunet", key)
    chosen = guess_layers(viewer.layers)
    assert [layer_exposure(layer).ev for layer in chosen] == list(EV)
    bracket = Bracket([layer.data for layer in chosen], ev=EV)
    assert bracket.shape == (480, 720)
    [truth] = [layer for layer in layers if "truth" in layer.name]
    reference = bracket.radiance(1)[0].permute(1, 2, 0).numpy()
    inside = (truth.data > 0.01) & (truth.data < 0.2)  # neither noisy nor saturated in the reference
    assert np.median(np.abs(reference / truth.data - 1)[inside]) < 0.05
    moved = np.abs(bracket.radiance(0)[0].permute(1, 2, 0).numpy() / truth.data - 1)[inside]
    assert (np.median(moved) > 0.08) == (key == "moving")


@pytest.mark.parametrize(("suffix", "tolerance"), [(".exr", 0), (".hdr", 0.01), (".tif", 0)])
@pytest.mark.parametrize("shape", [(9, 7, 3), (9, 7)])
def test_what_is_written_is_read_back(plugin, tmp_path, suffix, tolerance, shape):
    radiance = np.random.default_rng(0).uniform(0, 40, shape).astype(np.float32)
    info = {"method": "weighted", "ev": [0.0, 2.0, 4.0], "reference": 1}
    layer = Image(radiance, rgb=len(shape) == 3, metadata={"afunet": {"role": "radiance", "info": info}})
    path = str(tmp_path / f"merged{suffix}")
    written = write(path, [layer.as_layer_data_tuple()], plugin_name="napari-afunet")
    assert [Path(name).name for name in written] == [f"merged{suffix}"]
    if suffix == ".tif":
        from afunet_core import read_image

        pixels = read_image(path).pixels
    else:
        [(pixels, attributes, kind)] = read([path], stack=False, plugin_name="napari-afunet")
        assert kind == "image"
        assert attributes["rgb"] == (pixels.ndim == 3)
        assert attributes["gamma"] == pytest.approx(1 / 2.2)
        assert attributes["metadata"]["afunet"]["info"]["ev"] == [0.0, 2.0, 4.0]
    if suffix == ".hdr" and len(shape) == 2:
        pixels = pixels[..., 0]
    assert pixels.shape == shape
    assert np.max(np.abs(pixels - radiance)) <= tolerance * radiance.max()


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(("shape", "axes"), [((4, 9, 7), "ZYX"), ((2, 3, 9, 7, 3), "TZYXS")])
def test_a_stack_is_written_as_one_tiff_that_others_understand(plugin, tmp_path, shape, axes, lazy):
    import dask.array as da
    import tifffile

    values = np.random.default_rng(0).uniform(0, 40, shape).astype(np.float32)
    rgb = axes.endswith("S")
    labels = [letter.lower() for letter in axes.removesuffix("S")]
    stack = Image(da.from_array(values, chunks=4) if lazy else values, rgb=rgb, axis_labels=labels)
    path = str(tmp_path / "series.tif")
    assert write(path, [stack.as_layer_data_tuple()], plugin_name="napari-afunet") == [path]
    with tifffile.TiffFile(path) as file:
        assert file.series[0].axes == axes
        np.testing.assert_array_equal(file.asarray(), values)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("suffix", [".exr", ".hdr"])
def test_a_stack_is_written_as_numbered_files_where_a_file_holds_one_image(plugin, tmp_path, suffix):
    values = np.random.default_rng(0).uniform(0, 40, (3, 9, 7, 3)).astype(np.float32)
    info = {"method": "weighted"}
    stack = Image(values, rgb=True, metadata={"afunet": {"role": "radiance", "info": info}})
    written = write(str(tmp_path / f"s{suffix}"), [stack.as_layer_data_tuple()], plugin_name="napari-afunet")
    assert [Path(name).name for name in written] == [f"s_000{number}{suffix}" for number in range(3)]
    for name, plane in zip(written, values, strict=True):
        from afunet_core import read_image

        image = read_image(name)
        np.testing.assert_allclose(image.pixels, plane, atol=0 if suffix == ".exr" else 0.01 * plane.max())
        assert image.metadata["method"] == "weighted"


def test_raw_files_open_as_linear_frames_with_their_exposure(plugin, tmp_path):
    pytest.importorskip("rawpy")
    write_dng = runpy.run_path(str(ROOT / "tests" / "core" / "test_raw.py"))["write_dng"]
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


def test_a_stack_knows_its_exposures_from_metadata_or_from_the_list_beside_its_file(tmp_path):
    from napari_afunet.exposures import common_exposures, stack_exposures

    planes = np.zeros((3, 9, 7), np.uint16)
    for metadata, expected in [
        ({"ev": [-2, 0, 2]}, (EV, None)),
        ({"exposure_times": ["1/100", 0.04, "160 ms"]}, (None, (0.01, 0.04, 0.16))),
        ({"exposures": [1, 4, 16]}, (None, (1.0, 4.0, 16.0))),
        ({"ev": [0, 2]}, (None, None)),
        ({"ev": 0.0}, (None, None)),
    ]:
        assert common_exposures(stack_exposures(Image(planes, metadata=metadata), 3)) == expected
    (tmp_path / "exposure.txt").write_text("-2\n0\n2\n")
    layer = Image(planes, metadata={"path": str(tmp_path / "planes.tif")})
    assert common_exposures(stack_exposures(layer, 3)) == (EV, None)
    assert common_exposures(stack_exposures(layer, 2)) == (None, None)


def test_photographs_dropped_on_the_canvas_are_a_bracket_with_exposures(plugin, photographs):
    """As napari opens a drop: file by file, asking nothing, for the plugin claims no common picture type."""
    import napari_builtins

    from napari_afunet.session import as_script, merge_layers, resolve_exposures, resolve_source
    from napari_afunet.settings import MergeSettings

    plugin.register(PluginManifest.from_file(Path(napari_builtins.__file__).with_name("builtins.yaml")))
    viewer = ViewerModel()
    viewer.open(sorted(photographs), plugin=None, stack=False)
    source, layers = resolve_source(viewer, None)
    assert list(source.paths) == photographs
    assert source.shape == (40, 48)
    times = (1 / 400, 1 / 100, 1 / 25)
    assert resolve_exposures(layers, 3) == (None, times)

    # The script of a merge opens the files by itself where they are not open yet.
    settings = MergeSettings(times=times, method="weighted", align="off")
    script = as_script(source, [layer.name for layer in layers], settings)
    script = script.replace("napari.current_viewer() or napari.Viewer()", "ViewerModel()")
    exec(compile(script, "<script>", "exec"), names := {"ViewerModel": ViewerModel})
    here = merge_layers(viewer, layers, times=times, method="weighted", align="off", show=False)
    np.testing.assert_array_equal(names["result"].radiance, here.radiance)
    assert len(names["viewer"].layers) > 3


def test_photographs_dropped_on_the_widget_are_the_bracket(photographs):
    from qtpy.QtCore import QMimeData, QUrl

    from napari_afunet.dropping import dropped_frames, open_frames
    from napari_afunet.session import resolve_exposures, resolve_source

    def drop(*paths):
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(path) for path in paths])
        return dropped_frames(data)

    assert drop(*photographs) == photographs
    assert drop(photographs[0]) == drop() == drop(*photographs, "/a/merged.exr") == drop(*photographs * 4) == []
    viewer = ViewerModel()
    viewer.add_image(np.zeros((9, 7)), name="something else")
    layers = open_frames(viewer, sorted(photographs))
    assert [layer.name for layer in layers] == ["b", "c", "a"]
    source, layers = resolve_source(viewer, layers)
    assert list(source.paths) == photographs
    assert resolve_exposures(layers, 3) == (None, (1 / 400, 1 / 100, 1 / 25))
    Path(photographs[0]).write_bytes(b"not an image")
    with pytest.raises(AFUNetError, match=r"b\.jpg"):
        open_frames(viewer, photographs)
    assert len(viewer.layers) == 4


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
    path.write_bytes(b"not an image at all")
    with pytest.raises(AFUNetError, match="broken"):
        read([str(path)], stack=False, plugin_name="napari-afunet")


def test_an_exr_with_layers_and_depth_opens_as_one_layer_each(plugin, tmp_path):
    import OpenImageIO as oiio

    pixels = np.random.default_rng(0).random((6, 8, 7), dtype=np.float32)
    spec = oiio.ImageSpec(8, 6, 7, "float")
    spec.channelnames = ("B", "G", "R", "Z", "sun.B", "sun.G", "sun.R")
    output = oiio.ImageOutput.create(str(tmp_path / "render.exr"))
    assert output.open(str(tmp_path / "render.exr"), spec)
    assert output.write_image(pixels)
    assert output.close()
    viewer = ViewerModel()
    viewer.open(str(tmp_path / "render.exr"), plugin="napari-afunet")
    assert [layer.name for layer in viewer.layers] == ["render sun", "render Z", "render"]  # the colours on top
    assert [layer.rgb for layer in viewer.layers] == [True, False, True]
    np.testing.assert_array_equal(viewer.layers["render"].data, pixels[..., [2, 1, 0]])
    np.testing.assert_array_equal(viewer.layers["render Z"].data, pixels[..., 3])

"""Writers."""

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from npe2 import read, write

from afunet_core import read_image
from napari_afunet import merge_layers
from napari_afunet.layers.selection import candidate_layers
from napari_afunet.writers import write_tif
from scenes import add_bracket

ROOT = Path(__file__).parents[2]


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


@pytest.mark.parametrize("suffix", [".exr", ".hdr"])
def test_a_stack_is_written_as_numbered_files_where_a_file_holds_one_image(plugin, tmp_path, suffix):
    values = np.random.default_rng(0).uniform(0, 40, (3, 9, 7, 3)).astype(np.float32)
    stack = Image(values, rgb=True, metadata={"afunet": {"role": "radiance", "info": {"method": "weighted"}}})
    written = write(str(tmp_path / f"s{suffix}"), [stack.as_layer_data_tuple()], plugin_name="napari-afunet")
    assert [Path(name).name for name in written] == [f"s_000{number}{suffix}" for number in range(3)]
    for name, plane in zip(written, values, strict=True):
        image = read_image(name)
        np.testing.assert_allclose(image.pixels, plane, atol=0 if suffix == ".exr" else 0.01 * plane.max())
        assert image.metadata["method"] == "weighted"


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


def test_a_result_saved_by_napari_and_opened_again_is_the_same(plugin, frames, tmp_path):
    viewer = ViewerModel()
    add_bracket(viewer, frames)
    result = merge_layers(viewer, method="weighted", align="off")
    data, attributes, _ = viewer.layers["scene HDR"].as_layer_data_tuple()
    for typed, written in (("plain", "plain.tif"), ("named.exr", "named.exr")):  # napari chooses the writer
        assert write_tif(str(tmp_path / typed), data, attributes) == [str(tmp_path / written)]
        np.testing.assert_array_equal(read_image(tmp_path / written).pixels, result.radiance)
    [path] = viewer.layers["scene HDR"].save(str(tmp_path / "scene.exr"), plugin="napari-afunet")
    [layer] = viewer.open(path, plugin="napari-afunet")
    np.testing.assert_array_equal(layer.data, result.radiance)
    assert layer.contrast_limits == pytest.approx(viewer.layers["scene HDR"].contrast_limits)  # as bright as before
    assert layer.metadata["afunet"]["info"]["versions"] == result.info["versions"]
    assert layer not in candidate_layers(viewer.layers)

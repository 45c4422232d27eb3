"""One merge without a viewer: planes, progress, cancel, every option."""

import numpy as np
import pytest
import torch
from napari.components import ViewerModel

from afunet_core.camera.response import ResponseCurve
from afunet_core.errors import AFUNetError, MergeCancelled
from napari_afunet import merge_layers
from napari_afunet.api import as_script
from napari_afunet.jobs.merge_job import merge_source
from napari_afunet.layers.source import bracket_source
from napari_afunet.settings import MergeSettings
from scenes import EV, add_bracket, make_frames

FAST = {"method": "weighted", "align": "off"}


def test_progress_rises_over_all_planes_and_a_cancel_between_them_leaves_no_work():
    frames = make_frames(channels=1)[0]
    source = bracket_source(add_bracket(ViewerModel(), [np.stack([frame] * 3) for frame in frames]))
    seen, settings = [], MergeSettings(ev=EV, **FAST)
    merge_source(source, settings, lambda fraction, message: seen.append((fraction, message)))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] < 0.9 < fractions[-1] <= 1
    assert "Plane 2 of 3" in str(seen)
    seen.clear()
    with pytest.raises(MergeCancelled):
        merge_source(source, settings, lambda _, text: seen.append(text), lambda: "Plane 2" in "".join(seen))
    assert "Plane 3" not in "".join(seen)


def test_what_is_known_of_the_camera_is_used_noted_and_in_the_script(tmp_path):
    """A camera with gamma 1.8 whose shortest frame came out a fifth of a stop too bright."""
    viewer, (frames, truth) = ViewerModel(), make_frames(72, 96, dtype=np.float64, encoding="linear")
    frames[0] = frames[0] * 2**0.2
    layers = add_bracket(viewer, [np.round(255 * frame.clip(0, 1) ** (1 / 1.8)).astype(np.uint8) for frame in frames])
    light = torch.linspace(0, 1, 256, dtype=torch.float64)[None] ** 1.8
    ResponseCurve(light, source="bench").save(tmp_path / "camera.json")
    settings = MergeSettings(ev=EV, response=str(tmp_path / "camera.json"), drift="auto", **FAST)
    outcome = merge_source(bracket_source(layers), settings)
    info = outcome.info
    assert info["drift"][0]["exposure"] == pytest.approx(0.2, abs=0.05)
    assert info["response"]["source"] == "camera.json"
    ratio = outcome.radiance / truth
    assert abs(np.log2(np.median(ratio[(truth > 0.02) & (truth < 0.2)]))) < 0.1
    script = as_script(bracket_source(layers), [layer.name for layer in layers], settings)
    script = script.replace("napari.current_viewer()", "viewer")
    names = {"viewer": viewer}
    exec(compile(script, "<script>", "exec"), names)
    np.testing.assert_array_equal(names["result"].radiance, outcome.radiance)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("planes", [0, 2])
def test_one_channel_of_colour_frames_is_merged_as_greyscale(lazy, planes):
    import dask.array as da

    from afunet_core import Bracket, merge

    viewer, frames = ViewerModel(), make_frames()[0]
    data = [np.stack([frame] * planes) if planes else frame for frame in frames]
    layers = add_bracket(viewer, [da.from_array(values) for values in data] if lazy else data, rgb=True)
    result = merge_layers(viewer, layers, channel="green", **FAST)
    expected = merge(Bracket([frame[..., 1] for frame in frames], ev=EV), **FAST).radiance
    for plane in result.radiance if planes else [result.radiance]:
        np.testing.assert_array_equal(plane, expected)
    assert result.info["channel"] == "green"
    assert not viewer.layers["scene HDR"].rgb
    script = as_script(bracket_source(layers), ["a", "b", "c"], MergeSettings(ev=EV, channel="green"))
    assert "channel='green'" in script
    with pytest.raises(AFUNetError, match="infrared"):
        merge_layers(viewer, layers, channel="infrared", **FAST)


def test_of_a_dark_frame_the_same_channel_is_taken(tmp_path):
    import imageio.v3 as iio

    viewer, dark = ViewerModel(), np.full((24, 32, 3), (0, 400, 9), np.uint16)
    iio.imwrite(tmp_path / "dark.tif", dark)
    linear = make_frames(encoding="linear", dtype=np.float64)[0]
    layers = add_bracket(viewer, [np.round(3600 * frame + dark).astype(np.uint16) for frame in linear])
    options = FAST | {"encoding": "linear", "bit_depth": 12, "channel": "green"}
    with_frame = merge_layers(viewer, layers, black_level=str(tmp_path / "dark.tif"), **options)
    np.testing.assert_allclose(with_frame.radiance, merge_layers(viewer, layers, black_level=400, **options).radiance)

"""Summary of a merge in one line, and the core's messages in the widget's words."""

from types import SimpleNamespace

import pytest

from napari_afunet.jobs.summary import in_widget_words, result_warnings, what_happened
from napari_afunet.settings import MergeSettings

FRAMES = {"frames": ["IMG_1", "IMG_2", "IMG_3"], "reference": 1}


def outcome(settings=None, warnings=(), **info):
    return SimpleNamespace(info={**FRAMES, **info}, settings=settings or MergeSettings(), warnings=list(warnings))


def moved(name, pixels, decision="warped"):
    return {"name": name, "displacement": pixels, "decision": decision, "reason": "nothing in common"}


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"at_rest": True}, ["Nothing moved, frames averaged", "reference IMG_2"]),
        ({"registration": [moved("IMG_1", 12.04), moved("IMG_3", 8.0)]}, ["Aligned by 12 and 8 px"]),
        ({"method": "weighted", "registration": []}, ["Frames averaged"]),
        ({"guessed": 0.034, "followed": {"IMG_1": 0.2}}, ["3% guessed", "motion followed in 20%"]),
        ({"response": {"source": "found in the frames"}}, ["tone curve of the camera found"]),
        ({"frames_used": {"left_out": ["IMG_9"]}}, ["left out: IMG_9"]),
        ({"regions": [[0, []]]}, ["1 region taken"]),
    ],
)
def test_one_line_says_what_happened(info, words):
    text = what_happened(outcome(**info))
    assert "\n" not in text
    for word in words:
        assert word in text


def test_a_frame_that_could_not_be_aligned_is_told_unless_nothing_moved():
    refused = [moved("IMG_1", 0.0, "refused")]
    assert "IMG_1" in result_warnings(outcome(registration=refused))[0]
    assert result_warnings(outcome(registration=refused, at_rest=True)) == []
    assert result_warnings(outcome(MergeSettings(align="off"), registration=refused)) == []


def test_warnings_are_in_the_words_of_the_form():
    [text] = result_warnings(outcome(warnings=["Use override=True, or encoding='linear', with x=3."]))
    assert text == "Use “Trust the exposures”, or Encoding “Linear (sensor, microscope, raw)”, with x=3."
    assert in_widget_words("gamma: not bit_depth, a_b.") == "“Gamma”: not “Bit depth”, a_b."
    assert in_widget_words("no option here") == "no option here"

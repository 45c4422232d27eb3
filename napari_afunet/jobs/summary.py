"""Summary of a merge in one line, its warnings, and messages of the core in the widget's words."""

import re
from typing import Any

from afunet_core.utils.options import Option
from napari_afunet.jobs.merge_job import Outcome
from napari_afunet.settings import form_options

_SHOWN_MOTION = 0.5  # pixels of motion from which on it is mentioned
_SHOWN_SHARE = 0.001  # share of the picture from which on it is mentioned


def what_happened(outcome: Outcome) -> str:
    """Return what a merge did, in one line: motion, reference, what was guessed, the tone curve that was found."""
    info = outcome.info
    facts = [_motion(info)]
    if (followed := max((info.get("followed") or {"": 0.0}).values())) >= _SHOWN_SHARE:
        facts.append(f"motion followed in {_percent(followed)}")
    if (guessed := info.get("guessed") or 0.0) >= _SHOWN_SHARE:
        facts.append(f"{_percent(guessed)} guessed")
    frames, reference = info.get("frames") or [], info.get("reference")
    if reference is not None and reference < len(frames):
        facts.append(f"reference {frames[reference]}")
    response = info.get("response")
    if response:
        source = response.get("source", "")
        facts.append(
            "tone curve of the camera found" if source in ("found in the frames", "estimated") else f"curve {source}"
        )
    if left_out := (info.get("frames_used") or {}).get("left_out"):
        facts.append(f"left out: {', '.join(left_out)}")
    if regions := info.get("regions"):
        facts.append(f"{len(regions)} region{'s' * (len(regions) > 1)} taken from other frames")
    text = " · ".join(fact for fact in facts if fact)
    return text[:1].upper() + text[1:] + "." if text else ""


def _motion(info: dict[str, Any]) -> str:
    moved = [entry for entry in info.get("registration") or [] if entry["decision"] == "warped"]
    distances = [entry["displacement"] for entry in moved if entry["displacement"] >= _SHOWN_MOTION]
    if distances:
        numbers = " and ".join(f"{distance:.3g}" for distance in distances[:4])
        return f"aligned by {numbers} px"
    if info.get("method") == "weighted":
        return "frames averaged"
    if info.get("method") == "mertens":
        return "exposures fused, a picture for the screen and no light"
    return "nothing moved, frames averaged" if info.get("at_rest") else "merged by the network"


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else f"{share:.1%}"


def result_warnings(outcome: Outcome) -> list[str]:
    """Return sentences about what is wrong with a result, in the widget's words."""
    sentences = list(outcome.warnings)
    for entry in outcome.info.get("registration") or []:
        if entry["decision"] == "refused" and outcome.settings.align != "off" and not outcome.info.get("at_rest"):
            sentences.append(
                f"“{entry['name']}” could not be aligned: {entry['reason']}. "
                "Where it differs from the reference, the result follows the reference: press “Show ghosts”."
            )
    return [in_widget_words(sentence) for sentence in sentences]


def duration(seconds: float) -> str:
    """Return seconds as people say them.

    Example:
        >>> duration(0.4), duration(42.3), duration(190), duration(5400)
        ('1 s', '42 s', '3 min', '1 h 30 min')
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def in_widget_words(message: str) -> str:
    """Return a message of the core with Python's ``name=value`` as the form calls it.

    Example:
        >>> in_widget_words("Use align='off'; override=True merges them all the same.")
        'Use Align “Never”; “Trust the exposures” merges them all the same.'
        >>> in_widget_words("State bit_depth=, or convert to uint8. Or align='off'.")
        'State “Bit depth”, or convert to uint8. Or Align “Never”.'
    """
    options = form_options()

    def replaced(match: re.Match[str]) -> str:
        declared = options.get(match[1] or match[3])
        if declared is None:
            return match[0]
        return f"“{declared.label}”" if match[2] is None else _in_words(declared, match[2])

    with_value = r"\b(\w+)=(?:('[^']*'|\"[^\"]*\"|[\w.]*\w)|(?=[\s,;]))"
    return re.sub(with_value + r"|(^\w+(?=: )|\b[a-z]+_[a-z_]+\b)", replaced, message)  # or a name alone


def _in_words(declared: Option, literal: str) -> str:
    value: Any = {"True": True, "False": False, "None": None}.get(literal, literal.strip("'\""))
    if value is True:
        return f"“{declared.label}”"
    if value is False:
        return f"“{declared.label}” switched off"
    return f"{declared.label} “{declared.choices.get(value, value)}”"

"""Options of reading a bracket: every keyword argument of ``Bracket.from_files`` but the exposures, declared once."""

from __future__ import annotations

from dataclasses import dataclass

from afunet_core.utils.options import option

CHANNELS = ("red", "green", "blue")


def _response(text: str) -> str | None:
    """A word or the path of a file; ``none`` for none."""
    return None if text in ("", "none") else text


def _number(text: str) -> float:
    """A number; a comma may stand for the decimal point."""
    return float(text.replace(",", "."))


def _black_level(text: str) -> float | str:
    """A number, a word, or the path of a dark frame."""
    try:
        return _number(text)
    except ValueError:
        return text


def _white_level(text: str) -> float | str | None:
    """A number, a word, or ``none`` for none."""
    return None if text == "none" else _black_level(text)


@dataclass(frozen=True)
class BracketOptions:
    """Options of :meth:`Bracket.from_files <afunet_core.bracket.bracket.Bracket.from_files>`, save the exposures.

    A test holds that method to this class. :mod:`afunet_core.utils.options` tells how an interface is built from it.
    """

    encoding: str = option(
        "auto",
        label="Encoding",
        help="How stored values relate to light.",
        group="frames",
        choices={
            "auto": "By the file type",
            "gamma": "Photograph (gamma 2.2)",
            "srgb": "Photograph (sRGB curve)",
            "linear": "Linear (sensor, microscope, raw)",
        },
        needs_files=("auto",),
    )
    bit_depth: int | None = option(
        None,
        label="Bit depth",
        help="Bits in use where fewer than the data type has: 12-bit cameras often store their values in 16-bit files.",
        group="frames",
        choices={None: "As stored", **{bits: f"{bits} bit" for bits in (8, 10, 12, 14, 16)}},
        is_open=True,
        parse=int,
        metavar="BITS",
    )
    reference: int | None = option(
        None,
        label="Reference",
        help="Frame that the result is aligned to, counted from 0 in the order given; chosen by itself if not stated.",
        group="frames",
        parse=int,
        metavar="INDEX",
        form=False,
    )
    channel: str | None = option(
        None,
        label="Channel",
        help="Of colour frames, one channel alone, as greyscale: for a dye that shines in one and only leaks "
        "into the others, where its own saturates.",
        group="camera",
        choices={None: "All", **{name: f"{name.title()} alone" for name in CHANNELS}},
    )
    gamma: float = option(
        2.2,
        label="Gamma",
        help="Exponent of the gamma encoding, without a unit: light = value to this power.",
        group="camera",
        parse=_number,
        minimum=0.5,
        maximum=5.0,
        step=0.1,
        decimals=2,
    )
    response: str | None = option(
        "auto",
        label="Response",
        help="Camera response in place of the encoding: found where the frames contradict their encoding (auto),"
        " estimated from a bracket on a tripod (estimate), or the file of a curve that 'afunet response' "
        "made.",
        group="camera",
        choices={
            "auto": "Find if the frames contradict it",
            None: "As the encoding says",
            "estimate": "Estimate from this bracket",
        },
        is_open=True,
        parse=_response,
        files="Response curves (*.json)",
        metavar="FILE|estimate|auto|none",
    )
    black_level: float | str = option(
        0.0,
        label="Black level",
        help="Value of a pixel without light, in the units of the data; auto finds it from the exposures (linear"
        " data only); or the path of a dark frame.",
        group="camera",
        choices={0.0: "0", "auto": "auto"},
        is_open=True,
        parse=_black_level,
        files="Images (*)",
        metavar="VALUE|FILE|auto",
    )
    white_level: float | str | None = option(
        None,
        label="White level",
        help="Value of a pixel at saturation, in the units of the data (of raw files, counts of the sensor), for a "
        "camera that clips below the largest number. Found by itself where frames pile up; auto does so untold.",
        group="camera",
        choices={None: "Found and told", "auto": "Found"},
        is_open=True,
        parse=_white_level,
        metavar="VALUE|auto",
    )
    plane: int | None = option(
        None,
        label="Plane",
        help="Of files with several pages each, one page, counted from 0; all of them, one by one, if not stated.",
        group="frames",
        parse=int,
        metavar="INDEX",
        form=False,
    )
    override: bool = option(
        False,
        label="Trust the exposures",
        help="Merge even where the frames' brightness contradicts their exposures.",
        group="camera",
    )

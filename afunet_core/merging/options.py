"""Options of a merge, declared once for Python, the command line, the widget and the documentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from afunet_core.errors import ArgumentError
from afunet_core.utils.options import check_choices, option

if TYPE_CHECKING:
    import os

    import torch

    from afunet_core.camera.noise import NoiseModel
    from afunet_core.model.afunet import AFUNet

GIGABYTE = 1024**3

Region = tuple[int, tuple[tuple[float, float], ...]]


def _noise(text: str) -> str | tuple[float, float]:
    """A word, or gain and read noise: ``0.5,4``, or ``0,5; 4`` with decimal commas."""
    parts = text.replace(",", ".").split(";") if ";" in text else text.split(",")
    if len(parts) == 1:
        return text
    gain, read_noise = (float(part) for part in parts)
    return gain, read_noise


@dataclass(frozen=True)
class MergeOptions:
    """Options of :func:`afunet_core.merge`, which a test holds to this class; see there what they mean.

    A new option is a field here and an argument of ``merge()``. :mod:`afunet_core.utils.options` tells how the command
    line, a form, preferences and the documentation's table are built from the fields.
    """

    method: str = option(
        "auto",
        label="Method",
        help="How frames are merged: automatic uses the network where things move and the weighted mean where "
        "nothing does.",
        group="merging",
        choices={
            "auto": "Automatic: best of both",
            "afunet": "AFUNet (removes ghosts)",
            "weighted": "Weighted average (nothing moved)",
            "mertens": "Exposure fusion (display only)",
        },
    )
    align: str = option(
        "auto",
        label="Align",
        help="Register hand-held frames before merging, and follow what moved in them; camera: register only.",
        group="merging",
        choices={"auto": "If the frames need it", "camera": "The camera's motion only", "on": "Always", "off": "Never"},
    )
    border: str = option(
        "fill",
        label="Border",
        help="Where a registered frame shows nothing at the edges, the reference frame stands in, or the result "
        "is cropped to what all frames show.",
        group="result",
        choices={"fill": "Fill from the reference", "crop": "Crop to what all frames show"},
    )
    model: str | os.PathLike[str] | AFUNet = option(
        "default",
        label="Model",
        help="A shipped or fetched name, or a .safetensors or published .pth file. Files are never executed.",
        group="network",
        choices={"default": "default"},
        is_open=True,
        files="Weights (*.safetensors *.pth *.pt)",
        metavar="NAME|FILE",
    )
    device: str | torch.device = option(
        "auto",
        label="Device",
        help="Device of the network: auto, cpu, cuda, cuda:N or mps.",
        group="network",
        choices={"auto": "auto", "cpu": "cpu"},
        is_open=True,
        metavar="DEVICE",
    )
    precision: str = option(
        "auto",
        label="Precision",
        help="Arithmetic of the network. Automatic: bfloat16 on recent GPUs, else 32 bit.",
        group="network",
        choices={"auto": "Automatic", "float32": "32-bit float", "bfloat16": "bfloat16", "float16": "16-bit float"},
    )
    memory_budget: int | str | None = option(
        None,
        label="Memory",
        help="Most memory the network may use beside its input and output, such as 2GB. A lower limit "
        "is slower, with the same result.",
        group="network",
        minimum=0,
        maximum=1024,
        decimals=1,
        suffix=" GB",
        scale=GIGABYTE,
        empty="what is free",
        flag="--memory",
        metavar="SIZE",
    )
    working_scale: str = option(
        "auto",
        label="Working scale",
        help="Reduction of the frames that the network looks at; the merge itself keeps the full resolution. "
        "Full runs the network exactly; half and quarter are faster, and reach further.",
        group="network",
        choices={
            "auto": "By size, sharpness and motion",
            "full": "Full size",
            "half": "Half size",
            "quarter": "Quarter size",
        },
    )
    drift: str = option(
        "off",
        label="Drift",
        help="Measure how light and white balance changed between the frames, up to half a stop, and divide it out.",
        group="camera",
        choices={"off": "Leave as recorded", "auto": "Compensate"},
    )
    noise: NoiseModel | str | tuple[float, float] = option(
        "estimate",
        label="Noise",
        help="Noise of the camera: learned from the bracket (estimate); by exposure time alone, for the weighted"
        " average (photons); or gain in counts an electron and read noise in counts, such as 0.5,4.",
        group="camera",
        choices={"estimate": "estimate", "photons": "photons"},
        is_open=True,
        parse=_noise,
        metavar="GAIN,READ|estimate|photons",
    )
    units: str = option(
        "relative",
        label="Units",
        help="Units of the result. Relative: 1 is saturation of the shortest frame. Counts: those of the data "
        "above black, as the shortest frame would have counted them without noise and saturation.",
        group="result",
        choices={"relative": "Relative (1 = saturation)", "counts": "Counts, as in the data"},
    )
    stages: bool = option(
        False,
        label="Alignment stages",
        help="Keep what every stage of the network aligned.",
        group="result",
        command_line=False,
    )
    regions: tuple[Region, ...] = option(
        (),
        label="Regions",
        help="Regions that are taken from single frames, where another moment is wanted: frame, shortest exposure "
        "first, and the corners of a polygon.",
        group="result",
        is_open=True,
        command_line=False,
        form=False,
    )

    def __post_init__(self) -> None:
        check_choices(self)
        _check_noise(self.noise)


def _check_noise(noise: Any) -> None:
    if isinstance(noise, tuple) and len(noise) == 2:
        return
    if not isinstance(noise, str):
        from afunet_core.camera.noise import NoiseModel

        if isinstance(noise, NoiseModel):
            return
    if noise not in ("estimate", "photons"):
        expected = "a NoiseModel, gain and read noise in counts, or one of estimate, photons"
        raise ArgumentError("noise", expected, repr(noise))

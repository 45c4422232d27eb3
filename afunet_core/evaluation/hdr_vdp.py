"""HDR-VDP-2 and HDR-VDP-3 through GNU Octave, for those who have the toolbox.

The authors publish HDR-VDP as MATLAB code under their own terms; none of it comes with this package. Download it from
them, and give the folder with ``hdrvdp.m`` (version 2) or ``hdrvdp3.m`` (version 3). Pictures go to Octave as plain
float32 files and the score comes back as text; nothing is loaded into this process.

R. Mantiuk, K. J. Kim, A. G. Rempel, W. Heidrich, "HDR-VDP-2: A calibrated visual metric for visibility and quality
predictions in all luminance conditions", ACM Transactions on Graphics 30(4), 2011. R. Mantiuk, D. Hammou, P. Hanji,
"HDR-VDP-3: A multi-metric for predicting image differences, quality and contrast distortions in high dynamic range and
regular content", 2023.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from afunet_core.errors import AFUNetError, ArgumentError, DependencyError, ShapeError
from afunet_core.evaluation.display import DisplayModel
from afunet_core.metrics import Metric

__all__ = ["hdr_vdp"]

# Octave looks for functions below the toolbox too. The pictures are stored column by column, channel by channel.
_SCRIPT = """\
function picture = read_picture(name, height, width)
  file = fopen(name, 'r', 'ieee-le');
  picture = reshape(double(fread(file, Inf, 'single')), [height, width, 3]);
  fclose(file);
end
warning('off', 'all');
addpath(genpath({toolbox}));
image = read_picture({image}, {height}, {width});
truth = read_picture({truth}, {height}, {width});
{call}
file = fopen({score}, 'w');
fprintf(file, '%.9g', score);
fclose(file);
"""
_CALLS = {
    "2": "result = hdrvdp(image, truth, 'rgb-bt.709', {ppd}, {{}}); score = result.Q;",
    "3": "result = hdrvdp3('quality', image, truth, 'rgb-bt.709', {ppd}, {{}}); score = result.Q_JOD;",
}
_UNITS = {"2": ("", 100.0, "quality Q, 100 at best"), "3": ("JOD", 10.0, "task quality, 10 at best")}


def hdr_vdp(
    toolbox: str | os.PathLike[str],
    display: DisplayModel | None = None,
    *,
    octave: str = "octave",
    timeout: float = 1800.0,
) -> Metric:
    """Make the metric HDR-VDP for a display, computed by the authors' code in Octave.

    Args:
        toolbox: folder with ``hdrvdp3.m`` or ``hdrvdp.m``; where both are, version 3 is taken.
        display: the viewer's; ``DisplayModel()`` by default. HDR-VDP takes luminance, so of a display its peak, its
            black and its pixels per degree matter; ambient light has no part, and the label says so.
        octave: the program.
        timeout: seconds that one picture may take.

    Returns:
        A metric whose function takes radiance B×3×H×W (or B×1×H×W), image and truth, and returns scores (B,): Q
        (0 to 100) for version 2, Q_JOD (up to 10) for version 3. Its definition names version, encoding and display.

    Raises:
        DependencyError: if the program or the toolbox is not there; the message says how to get it.
        ArgumentError: if ``timeout`` is not above 0.
    """
    folder, display = Path(toolbox).expanduser().resolve(), display or DisplayModel()
    if not timeout > 0:
        raise ArgumentError("timeout", "above 0 seconds", timeout)
    program = shutil.which(octave)
    if program is None:
        raise DependencyError(f"HDR-VDP runs in GNU Octave, and {octave!r} was not found: apt install octave.")
    series = next((key for key, name in (("3", "hdrvdp3.m"), ("2", "hdrvdp.m")) if (folder / name).is_file()), None)
    if series is None:
        raise DependencyError(
            f"{folder} holds neither hdrvdp3.m nor hdrvdp.m. Download HDR-VDP from its authors "
            "(hdrvdp.sourceforge.net) and give the folder with that file."
        )
    call = _CALLS[series].format(ppd=f"{display.pixels_per_degree:.9g}")

    def score(image: Tensor, truth: Tensor) -> Tensor:
        if image.ndim != 4 or image.shape != truth.shape or image.shape[1] not in (1, 3):
            raise ShapeError("image", f"B×3×H×W like the truth {tuple(truth.shape)}", tuple(image.shape))
        pairs = zip(display.luminance(image.detach()), display.luminance(truth.detach()), strict=True)
        scores = [_ask(program, folder, call, shown, wanted, timeout) for shown, wanted in pairs]
        return torch.tensor(scores, dtype=torch.float32, device=image.device)

    unit, best, scale = _UNITS[series]
    label = display.definition.replace(f"ambient {display.ambient:g} lux", "no ambient light")
    version = _version(folder, series)
    return Metric(score, f"HDR-VDP {version} in Octave, {scale}, encoding rgb-bt.709; {label}", unit, best)


def _version(folder: Path, series: str) -> str:
    """As the toolbox's change log or the name of its folder says; at least the number before the first point."""
    texts = [folder.name]
    log = folder / "ChangeLog.txt"
    if log.is_file():
        texts.insert(0, log.read_text(encoding="utf-8", errors="replace"))
    for text in texts:
        if found := re.search(rf"\b{series}(\.\d+)+", text):
            return found[0]
    return f"{series} (release unknown)"


def _ask(program: str, toolbox: Path, call: str, image: Tensor, truth: Tensor, timeout: float) -> float:
    """Score one picture 3×H×W against its truth, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="afunet-hdrvdp-") as name:
        work = Path(name)
        for picture, file in ((image, "image.f32"), (truth, "truth.f32")):
            picture.transpose(1, 2).contiguous().cpu().numpy().astype(np.dtype("<f4")).tofile(work / file)
        paths = {"toolbox": toolbox, "image": work / "image.f32", "truth": work / "truth.f32", "score": work / "score"}
        quoted = {key: _quoted(path) for key, path in paths.items()}
        script = work / "ask.m"
        script.write_text(
            "1;\n" + _SCRIPT.format(call=call, height=image.shape[1], width=image.shape[2], **quoted), encoding="utf-8"
        )
        words = [program, "--no-gui", "--no-init-file", "--no-history", "--quiet", str(script)]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired as error:
            raise AFUNetError(f"HDR-VDP took longer than {timeout:g} s. Give a larger timeout.") from error
        try:
            return float((work / "score").read_text())
        except (OSError, ValueError) as error:
            said = " ".join(done.stderr.split())[-500:] or "nothing"
            raise AFUNetError(f"HDR-VDP gave no score (exit {done.returncode}); Octave said: {said}") from error


def _quoted(path: Path) -> str:
    """Quote a path as a string of Octave.

    Example:
        >>> _quoted(Path("it's"))
        "'it''s'"
    """
    return "'" + str(path).replace("'", "''") + "'"

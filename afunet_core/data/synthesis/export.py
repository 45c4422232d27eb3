"""Looking at synthetic brackets, and writing them as the data sets of the field are stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.data.synthesis.brackets import SyntheticBatch
from afunet_core.io.write import write_image
from afunet_core.radiometry import encode, mu_law


def contact_sheet(batch: SyntheticBatch) -> np.ndarray:
    """Lay out a row for each bracket, H×W×3 uint8: the frames, the truth (μ-law, then plain gamma), the moved mask."""
    truth, gap = batch.truth.clamp(0, 1), 4
    columns = [*batch.frames.unbind(1), mu_law(truth), encode(truth), batch.moved.expand(-1, 3, -1, -1)]
    rows = torch.cat([F.pad(picture.cpu(), (gap, 0, gap, 0), value=1.0) for picture in columns], dim=-1)
    return _to_uint(F.pad(torch.cat(list(rows), dim=-2), (0, gap, 0, gap), value=1.0), 255, np.uint8)


def write_bracket_folder(batch: SyntheticBatch, folder: Path | str) -> Path:
    """Write the only bracket of a batch in Kalantari's layout: three TIFFs, ``exposure.txt`` and ``HDRImg.hdr``."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(batch.frames[0], 1):
        write_image(folder / f"{number}.tif", _to_uint(frame, 65535, np.uint16))
    evs = torch.log2(batch.times[0].double()).tolist()
    (folder / "exposure.txt").write_text("".join(f"{ev:.6f}\n" for ev in evs), encoding="utf-8")
    write_image(folder / "HDRImg.hdr", batch.truth[0])
    return folder


def _to_uint(picture: Tensor, levels: int, dtype: type) -> np.ndarray:
    return (picture.clamp(0, 1) * levels).round().permute(1, 2, 0).cpu().numpy().astype(dtype)

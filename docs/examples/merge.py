"""Three lines of Python: a bracket in, an EXR and a picture for the screen out.

The bracket is the sample that comes with the package; with files of your own the first line is
``bracket = af.Bracket.from_files(["under.jpg", "normal.jpg", "over.jpg"])``. Run it with a folder for the results::

    python docs/examples/merge.py results
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import afunet_core as af
from afunet_core.data.demo import demo_bracket
from afunet_core.tonemap import tone_map


def merge_sample(folder: Path, reduction: int = 1) -> af.MergeResult:
    """Merge the sample bracket and write ``merged.exr`` and ``merged.png``."""
    frames, ev, _ = demo_bracket(reduction=reduction)

    # The three lines.
    bracket = af.Bracket(frames, ev=ev)
    result = af.merge(bracket)
    af.write_image(folder / "merged.exr", result.radiance, metadata=result.info)

    picture = tone_map(torch.from_numpy(result.radiance).permute(2, 0, 1), "filmic", ev=1.0)
    af.write_image(folder / "merged.png", picture.permute(1, 2, 0).numpy())
    return result


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    target.mkdir(parents=True, exist_ok=True)
    info = merge_sample(target).info
    print(f"{target / 'merged.exr'}: {info['method']} on {info['device']}")

"""Merge a small bracket where only the core is installed, and make sure that it needed nothing else."""

import sys
import tempfile
from pathlib import Path

import numpy as np

import afunet_core as af


def main() -> None:
    rng = np.random.default_rng(0)
    scene = rng.random((48, 64, 3), np.float32) * 0.2
    frames = [np.clip(scene * 2.0**ev, 0, 1) ** (1 / 2.2) for ev in (0, 2, 4)]
    for method in ("auto", "weighted", "mertens"):
        result = af.merge(af.Bracket(frames, ev=(0, 2, 4)), method=method, model="compact")
        for suffix in (".exr", ".hdr", ".tif", ".png"):
            path = Path(tempfile.mkdtemp()) / f"merged{suffix}"
            af.write_image(path, result.radiance.clip(0, 1), metadata=result.info)
            assert af.read_image(path).pixels.shape == scene.shape, path
    extra = {"napari", "qtpy", "superqt", "npe2", "magicgui", "scipy", "skimage", "dask"} & set(sys.modules)
    assert not extra, f"the core loaded {sorted(extra)}"
    print("The core works alone.")


if __name__ == "__main__":
    main()

"""Merge a small bracket with the core alone: napari, Qt and every extra are refused, installed or not."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

REFUSED = {
    *("napari", "qtpy", "superqt", "npe2", "magicgui", "PySide6", "PyQt6"),
    *("scipy", "skimage", "dask", "distributed", "lightning", "matplotlib", "rawpy", "cv2", "onnx", "torchvision"),
}


def main() -> None:
    """Merge by every method, in Python and on the command line, and read every format back."""
    for name in REFUSED:
        sys.modules[name] = None  # type: ignore[assignment]  # an import fails, and a look for it finds nothing
    import numpy as np

    import afunet_core as af
    from afunet_core.cli import main as afunet

    rng = np.random.default_rng(0)
    scene = rng.random((48, 64, 3), np.float32) * 0.2
    frames = [np.clip(scene * 2.0**ev, 0, 1) ** (1 / 2.2) for ev in (0, 2, 4)]
    folder = Path(tempfile.mkdtemp())
    for method in ("auto", "weighted", "mertens"):
        result = af.merge(af.Bracket(frames, ev=(0, 2, 4)), method=method, model="compact")
        for suffix in (".exr", ".hdr", ".tif", ".png"):
            path = folder / f"{method}{suffix}"
            af.write_image(path, result.radiance.clip(0, 1), metadata=result.info)
            assert af.read_image(path).pixels.shape == scene.shape, path
    paths = [folder / f"{number}.png" for number in range(3)]
    for path, frame in zip(paths, frames, strict=True):
        af.write_image(path, frame)
    output = str(folder / "merged.exr")
    assert afunet(["merge", *map(str, paths), "-o", output, "--ev", "0", "2", "4", "--model", "compact", "-q"]) == 0
    assert afunet(["info", output]) == 0
    print("The core works alone.")


if __name__ == "__main__":
    main()

"""Export of the network to other runtimes: ``torch.export`` programs and ONNX files, for any height and width.

The padding is part of the exported program. It computes the whole image at once, as :meth:`AFUNet.forward` does.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim

from afunet_core.errors import ArgumentError, DependencyError
from afunet_core.io.atomic import write_atomically
from afunet_core.model.afunet import AFUNet

__all__ = ["FORMATS", "export_model"]

FORMATS = {".onnx": "ONNX", ".pt2": "torch.export"}
OPSET = 20
LARGEST = 1 << 15  # largest height and width that exported programs declare
MOST_SAMPLES = 1 << 10  # largest batch that ONNX files declare
EXPORTS_SINCE = (2, 13)  # PyTorch whose exporter keeps every size of the network open; that of 2.7 fails
SIZES: dict[int, Any] = {2: Dim("height", min=1, max=LARGEST), 3: Dim("width", min=1, max=LARGEST)}


def export_model(model: AFUNet, path: str | os.PathLike[str], verbose: bool = False) -> Path:
    """Write the network in the format that the suffix names, ``.onnx`` or ``.pt2``; ``verbose`` prints torch's steps.

    ONNX files take any number of samples and keep the configuration in their metadata, under ``afunet_config``;
    programs take one sample.

    Raises:
        ArgumentError: for any other suffix.
        DependencyError: with a PyTorch older than 2.13, and for ``.onnx`` without the extra ``onnx``.
    """
    target = Path(path)
    if target.suffix.lower() not in FORMATS:
        raise ArgumentError("path", f"a file name ending in {' or '.join(FORMATS)}", target.name)
    if tuple(map(int, torch.__version__.split(".")[:2])) < EXPORTS_SINCE:
        needed = ".".join(map(str, EXPORTS_SINCE))
        raise DependencyError(
            f"Export needs PyTorch {needed} or later, and {torch.__version__} is installed. Update it."
        )
    write = _onnx(model, verbose) if target.suffix.lower() == ".onnx" else _program(model)
    write_atomically(target, write)
    return target


def _program(model: AFUNet) -> Callable[[Path], object]:
    """Make a graph with symbolic height and width, from 1×1 up, that takes one sample."""
    with _any_size(model) as example:
        program = torch.export.export(model, (example[:1],), dynamic_shapes=(SIZES,))
    return lambda path: torch.export.save(program, path)


def _onnx(model: AFUNet, verbose: bool) -> Callable[[Path], object]:
    """Make an ONNX graph: input ``frames`` B×18×H×W, output ``radiance`` B×3×H×W, float32, of any size."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise DependencyError("ONNX export needs the extra: pip install 'napari-afunet[onnx]'.") from error
    batch = Dim("batch", min=1, max=MOST_SAMPLES)
    with _any_size(model) as example, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's remarks on its own deprecations
        program = torch.onnx.export(
            model,
            (example,),
            input_names=["frames"],
            output_names=["radiance"],
            opset_version=OPSET,
            dynamic_shapes=({0: batch, **SIZES},),
            dynamo=True,
            verbose=verbose,
        )
    assert program is not None
    program.model.metadata_props["afunet_config"] = json.dumps(model.config.to_dict())
    return lambda path: program.save(path, external_data=False)


@contextmanager
def _any_size(model: AFUNet) -> Iterator[torch.Tensor]:
    """Evaluate without the assumption of torch that no size is ever 1; gives two brackets of no special size."""
    from torch.fx.experimental import _config

    parameter, multiple, was_training = next(model.parameters()), model.config.multiple, model.training
    size = 3 * multiple + 1, 4 * multiple + 3
    model.eval()
    try:
        with _config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
            yield torch.rand(2, 18, *size, dtype=parameter.dtype, device=parameter.device)
    finally:
        model.train(was_training)

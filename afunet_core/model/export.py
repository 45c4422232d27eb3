"""Export of the network to other runtimes: ``torch.export`` programs and ONNX files, for any height and width.

The padding is part of the exported program. It computes the whole image at once, as :meth:`AFUNet.forward` does.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim, ExportedProgram

from afunet_core.errors import ArgumentError, DependencyError
from afunet_core.io.atomic import write_atomically
from afunet_core.model.afunet import AFUNet

__all__ = ["FORMATS", "export_model", "export_onnx", "export_program"]

FORMATS = {".onnx": "ONNX", ".pt2": "torch.export"}
OPSET = 20
LARGEST = 1 << 15  # largest height and width that exported programs declare
MOST_SAMPLES = 1 << 10  # largest batch that ONNX files declare
EXPORTS_SINCE = (2, 13)  # PyTorch whose exporter keeps every size of the network open; that of 2.7 fails
SIZES: dict[int, Any] = {2: Dim("height", min=1, max=LARGEST), 3: Dim("width", min=1, max=LARGEST)}


def export_model(model: AFUNet, path: str | os.PathLike[str], verbose: bool = False) -> Path:
    """Write the network in the format that the suffix names, ``.onnx`` or ``.pt2``; ``verbose`` prints torch's steps.

    Raises:
        ArgumentError: for any other suffix.
        DependencyError: with a PyTorch older than 2.13, and for ``.onnx`` without the extra ``onnx``.
    """
    target = Path(path)
    if target.suffix not in FORMATS:
        raise ArgumentError("path", f"a file name ending in {' or '.join(FORMATS)}", target.name)
    if target.suffix == ".onnx":
        return export_onnx(model, target, verbose)
    program = export_program(model)
    write_atomically(target, lambda temporary: torch.export.save(program, temporary))
    return target


def export_program(model: AFUNet, batch: int = 1) -> ExportedProgram:
    """Export the network as a graph with symbolic height and width, from 1×1 up, that takes so many samples.

    Raises:
        DependencyError: with a PyTorch older than 2.13.

    Example:
        >>> from afunet_core.model.config import AFUNetConfig
        >>> program = export_program(AFUNet(AFUNetConfig(embed_dim=6, depths=(0,), fusion_heads=1)))
        >>> program.module()(torch.rand(1, 18, 9, 21)).shape
        torch.Size([1, 3, 9, 21])
    """
    _check_exporter()
    with _evaluating(model), _any_size():
        return torch.export.export(model, (_example(model, batch),), dynamic_shapes=(SIZES,))


def export_onnx(model: AFUNet, path: str | os.PathLike[str], verbose: bool = False) -> Path:
    """Write the network as an ONNX file: input ``frames`` B×18×H×W, output ``radiance`` B×3×H×W, float32, of any size.

    The configuration is kept in the file's metadata under ``afunet_config``.

    Raises:
        DependencyError: without the extra ``onnx``, or with a PyTorch older than 2.13.
    """
    _check_exporter()
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise DependencyError("ONNX export needs the extra: pip install 'napari-afunet[onnx]'.") from error
    target = Path(path)
    batch = Dim("batch", min=1, max=MOST_SAMPLES)
    with _evaluating(model), _any_size(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's remarks on its own deprecations
        program = torch.onnx.export(
            model,
            (_example(model, 2),),
            input_names=["frames"],
            output_names=["radiance"],
            opset_version=OPSET,
            dynamic_shapes=({0: batch, **SIZES},),
            dynamo=True,
            verbose=verbose,
        )
    assert program is not None
    program.model.metadata_props["afunet_config"] = json.dumps(model.config.to_dict())
    write_atomically(target, lambda temporary: program.save(temporary, external_data=False))
    return target


def _check_exporter() -> None:
    if tuple(map(int, torch.__version__.split(".")[:2])) < EXPORTS_SINCE:
        needed = ".".join(map(str, EXPORTS_SINCE))
        raise DependencyError(
            f"Export needs PyTorch {needed} or later, and {torch.__version__} is installed. Update it."
        )


@contextmanager
def _any_size() -> Iterator[None]:
    """Trace without the assumption that no size is ever 1, which torch makes unless told otherwise."""
    from torch.fx.experimental import _config

    with _config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        yield


@contextmanager
def _evaluating(model: AFUNet) -> Iterator[None]:
    """Keep the caller's network in evaluation mode, and put it back in its own afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _example(model: AFUNet, batch: int) -> torch.Tensor:
    """Make a bracket to trace: no size in it is special."""
    parameter = next(model.parameters())
    multiple = model.config.multiple
    size = 3 * multiple + 1, 4 * multiple + 3
    return torch.rand(batch, 18, *size, dtype=parameter.dtype, device=parameter.device)

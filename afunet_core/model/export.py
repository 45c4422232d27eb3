"""The network for other runtimes: ``torch.export`` programs and ONNX files, for any height and width.

The padding is part of the exported program, so it takes brackets of any size from one window up. It computes the whole
image at once, as :meth:`AFUNet.forward` does; bounded memory is the business of :func:`stream`.
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
LARGEST = 1 << 15
"""Largest height and width the exported program is promised to take."""


def export_model(model: AFUNet, path: str | os.PathLike[str]) -> Path:
    """Write the network in the format that the suffix names: ``.onnx`` or ``.pt2``.

    Raises:
        ArgumentError: for any other suffix.
        DependencyError: for ``.onnx`` without the extra ``onnx``.
    """
    target = Path(path)
    if target.suffix not in FORMATS:
        raise ArgumentError("path", f"a file name ending in {' or '.join(FORMATS)}", target.name)
    if target.suffix == ".onnx":
        return export_onnx(model, target)
    program = export_program(model)
    write_atomically(target, lambda temporary: torch.export.save(program, temporary))
    return target


def export_program(model: AFUNet) -> ExportedProgram:
    """The network as a graph with symbolic height and width; batch 1.

    Height and width must be at least ``model.config.multiple`` when it runs.

    Example:
        >>> from afunet_core.model.config import AFUNetConfig
        >>> program = export_program(AFUNet(AFUNetConfig(embed_dim=6, depths=(0,), fusion_heads=1)))
        >>> program.module()(torch.rand(1, 18, 9, 21)).shape
        torch.Size([1, 3, 9, 21])
    """
    with _evaluating(model):
        return torch.export.export(model, (_example(model),), dynamic_shapes=_dynamic_shapes(model))


def export_onnx(model: AFUNet, path: str | os.PathLike[str]) -> Path:
    """The network as an ONNX file: input ``frames`` 1×18×H×W, output ``radiance`` 1×3×H×W, float32, atomically written.

    The configuration is kept in the file's metadata under ``afunet_config``.

    Raises:
        DependencyError: without the extra ``onnx``.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise DependencyError("ONNX export needs the extra: pip install 'napari-afunet[onnx]'.") from error
    target = Path(path)
    with _evaluating(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's remarks on its own deprecations
        program = torch.onnx.export(
            model,
            (_example(model),),
            input_names=["frames"],
            output_names=["radiance"],
            opset_version=OPSET,
            dynamic_shapes=_dynamic_shapes(model),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props["afunet_config"] = json.dumps(model.config.to_dict())
    write_atomically(target, lambda temporary: program.save(temporary, external_data=False))
    return target


@contextmanager
def _evaluating(model: AFUNet) -> Iterator[None]:
    """The caller's network in evaluation mode, and back in its own afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _example(model: AFUNet) -> torch.Tensor:
    """A bracket to trace: no size in it is special."""
    parameter = next(model.parameters())
    multiple = model.config.multiple
    return torch.rand(1, 18, 3 * multiple + 1, 4 * multiple + 3, dtype=parameter.dtype, device=parameter.device)


def _dynamic_shapes(model: AFUNet) -> tuple[dict[int, Any]]:
    smallest = model.config.multiple + 1
    return ({2: Dim.AUTO(min=smallest, max=LARGEST), 3: Dim.AUTO(min=smallest, max=LARGEST)},)

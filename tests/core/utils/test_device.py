"""Devices, precisions and amounts of memory that users name, and errors that mean that memory ran out."""

from __future__ import annotations

import pytest
import torch

from afunet_core.errors import ArgumentError
from afunet_core.utils.device import (
    automatic_budget,
    choose_device,
    choose_precision,
    choose_training_precision,
    is_out_of_memory,
    multiplies_bfloat16,
    parse_memory,
)


def test_devices_and_precisions() -> None:
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    assert choose_precision("auto", torch.device("cpu")) == torch.float32
    assert choose_precision("bfloat16", torch.device("cpu")) == torch.bfloat16
    own = multiplies_bfloat16(torch.device("cpu"))
    assert choose_training_precision("auto", torch.device("cpu")) == ("bf16-mixed" if own else "32-true")
    assert choose_training_precision("bf16-mixed", torch.device("cpu")) == "bf16-mixed"
    budget = automatic_budget(torch.device("cpu"))
    assert budget is None or budget >= 0


def test_amounts_of_memory() -> None:
    amounts = {"4GB": 4 * 1024**3, "1.5 gib": 3 * 2**29, "512m": 2**29, 1000: 1000, 2e9: 2 * 10**9, "auto": None}
    assert [parse_memory(text) for text in amounts] == list(amounts.values())
    for text in ("", "GB", "-1", "0", "nan", "1e400", "4 horses", "1.2.3", True):
        with pytest.raises(ArgumentError, match="memory_budget"):
            parse_memory(text)


@pytest.mark.parametrize("kind", [RuntimeError, OSError, ValueError])
@pytest.mark.parametrize(
    "said",
    [
        "std::bad_alloc", "bad allocation", "MPS backend out of memory", "Invalid buffer size: 12.00 GiB",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "CUDNN_STATUS_ALLOC_FAILED",
        "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried", "Cannot allocate memory",
        "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", "Allocation would exceed allowed memory.",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`", "shapes cannot be multiplied",
    ],
)  # fmt: skip
def test_errors_that_mean_a_lack_of_memory(said: str, kind: type[Exception]) -> None:
    assert is_out_of_memory(kind(said)) is (kind is not ValueError and "shapes" not in said)
    assert is_out_of_memory(MemoryError())

"""Choice of device, precision and memory for a merge, and detection of memory that ran out."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from afunet_core.errors import ArgumentError

# Precisions a merge can be asked for; sums over the image and the final image are float32 in all of them.
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_UNITS = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
# What libraries and systems say when memory runs out: torch on Linux and Windows, CUDA and its libraries, MPS, numpy,
# C and C++, oneDNN, Triton. cuBLAS is not initialized when its first workspace does not fit.
_OUT_OF_MEMORY = re.compile(
    r"(?:out of|not enough|insufficient|exceed allowed) memory"
    r"|(?:can't|cannot|unable to|failed to|could not) allocate|bad.alloc|alloc(?:ation)?_failed|memoryallocation"
    r"|cublas_status_not_initialized|invalid buffer size|resource_exhausted|mkldnn_memory|paging file is too small",
    re.IGNORECASE,
)


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """Choose the device to compute on: ``"auto"`` is the first of CUDA, MPS, CPU that is there."""
    has_mps = getattr(torch.backends, "mps", None) is not None and torch.backends.mps.is_available()
    there = {"cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0, "mps": int(has_mps), "cpu": 1}
    if isinstance(name, str) and name.strip().lower() == "auto":
        return torch.device(next(kind for kind, count in there.items() if count))
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = None
    if device is None or device.type not in there:
        raise ArgumentError("device", "auto, cpu, cuda, cuda:N or mps", repr(str(name)))
    if (device.index or 0) >= there[device.type]:
        advice = "Use device='auto' or 'cpu', or install a torch build for that device."
        raise ArgumentError("device", "a device of this machine", repr(str(name)), advice)
    return device


def cpu_by_default() -> AbstractContextManager[Any]:
    """Make the CPU the device of new tensors for a while, as merges expect, whatever ``torch.set_default_device`` set.

    (A context of a device costs time in every call of torch.)
    """
    return nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu")


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Choose the dtype of the network's features on ``device``.

    ``"auto"`` is float32, except on CUDA devices with bfloat16 matrix units, where the difference cannot be seen and
    the time is a fraction.
    """
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" and multiplies_bfloat16(device) else torch.float32
    if name not in PRECISIONS:
        raise ArgumentError("precision", "auto, " + ", ".join(PRECISIONS), repr(name))
    return PRECISIONS[name]


def choose_training_precision(name: str, device: torch.device) -> str:
    """Choose the precision of a training run; ``"auto"`` is ``"bf16-mixed"`` where the device multiplies bfloat16."""
    if name != "auto":
        return name
    return "bf16-mixed" if multiplies_bfloat16(device) else "32-true"


def multiplies_bfloat16(device: torch.device) -> bool:
    """Return True if the device multiplies bfloat16; emulation takes several times as long as float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def parse_memory(amount: int | float | str | None) -> int | None:
    """Parse an amount of memory: ``2e9``, ``"4GB"``, ``"1.5g"``; units count in 1024s. None, ``"auto"``: no limit."""
    advice = "Write bytes or a number with a unit, such as '4GB' or '512MB'."
    if amount is None or (isinstance(amount, str) and amount.strip().lower() == "auto"):
        return None
    match = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([bkmgt]?)(?:i?b)?\s*", str(amount).lower())
    try:
        size = float(match[1]) * _UNITS[match[2]] if match else 0.0
    except ValueError:
        size = 0.0
    if isinstance(amount, bool) or not 1 <= size < 2**62:
        raise ArgumentError("memory_budget", "an amount of memory above zero", repr(amount), advice)
    return int(size)


def automatic_budget(device: torch.device) -> int | None:
    """Choose how many bytes features may take by default: most of the free memory; None if that is unknown."""
    if device.type == "cuda":
        return int(0.7 * torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return int(0.7 * (torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()))
    free = _free_host_memory()
    return None if free is None else int(0.6 * free)


def _free_host_memory() -> int | None:
    """Return the memory that Linux has free for this process, container limits included; None elsewhere."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None
    try:
        limit, used = (int(Path("/sys/fs/cgroup", name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return free
    return max(min(free, limit - used), 0)


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if an exception means that memory ran out, on any device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError | OSError) and _OUT_OF_MEMORY.search(str(error)) is not None


def release_memory(device: torch.device) -> None:
    """Free cached memory for other programs and plugins on the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def describe_device(device: torch.device) -> str:
    """Describe the device, for provenance: ``"cuda:0 (NVIDIA H200)"``."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)

"""Devices and models to choose from: queried in the background, because the answer needs torch."""

from __future__ import annotations

from dataclasses import dataclass

GIGABYTE = 1024**3


@dataclass(frozen=True)
class Devices:
    """Devices and models a user can choose."""

    names: tuple[str, ...]  # of the devices, ``auto`` first
    badge: str  # the device that ``auto`` means, and its free memory, in words
    models: tuple[str, ...]  # names of the shipped models
    default_model: str  # which of them ``default`` is
    on_gpu: bool  # ``auto`` means a GPU


def query_devices() -> Devices:
    """Ask torch for devices and the package for its models (this loads torch: seconds, the first time)."""
    import torch

    from afunet_core.model.checkpoint import model_path, shipped_models
    from afunet_core.utils.device import choose_device

    best = choose_device("auto")
    devices = ["auto", "cpu"]
    if torch.cuda.is_available():
        devices += ["cuda", *(f"cuda:{index}" for index in range(1, torch.cuda.device_count()))]
    if best.type == "mps":
        devices.append("mps")
    if best.type == "cuda":
        free, _ = torch.cuda.mem_get_info(best)
        badge = f"GPU: {torch.cuda.get_device_name(best)}, {free / GIGABYTE:.0f} GB free"
    elif best.type == "mps":
        badge = "GPU: Apple Metal"
    else:
        threads = torch.get_num_threads()
        badge = f"CPU, {threads} thread{'s' * (threads > 1)}{_free_memory()}"
    return Devices(
        tuple(devices), badge, ("default", *shipped_models()), model_path("default").stem, best.type != "cpu"
    )


def _free_memory() -> str:
    import os

    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on every system
        return ""
    return f", {free / GIGABYTE:.0f} GB free" if free > 0 else ""

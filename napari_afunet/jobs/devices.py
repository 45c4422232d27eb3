"""Devices and models to choose from: queried in the background, because the answer needs torch."""

from typing import NamedTuple

_GIGABYTE = 1024**3


class Devices(NamedTuple):
    """Devices and models a user can choose."""

    names: tuple[str, ...]  # of the devices, ``auto`` first
    badge: str  # the device that ``auto`` means, and its free memory, in words
    models: tuple[str, ...]  # names of the shipped models
    default_model: str  # which of them ``default`` is
    on_gpu: bool  # ``auto`` means a GPU


def query_devices() -> Devices:
    """Ask torch for devices and the package for its models (this loads torch: seconds, the first time)."""
    import psutil
    import torch

    from afunet_core.model.checkpoint import model_path, shipped_models
    from afunet_core.utils.device import choose_device

    best = choose_device("auto").type
    devices = ["auto", "cpu", *(["mps"] if best == "mps" else [])]
    if torch.cuda.is_available():
        devices += ["cuda", *(f"cuda:{index}" for index in range(1, torch.cuda.device_count()))]
    if best == "cuda":
        free, _ = torch.cuda.mem_get_info()
        badge = f"GPU: {torch.cuda.get_device_name()}, {free / _GIGABYTE:.0f} GB free"
    elif best == "mps":
        badge = "GPU: Apple Metal"
    else:
        threads = torch.get_num_threads()
        free = psutil.virtual_memory().available
        badge = f"CPU, {threads} thread{'s' * (threads > 1)}, {free / _GIGABYTE:.0f} GB free"
    return Devices(tuple(devices), badge, ("default", *shipped_models()), model_path("default").stem, best != "cpu")

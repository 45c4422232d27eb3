"""Cost of the plugin before its first use: the import of every module the manifest names, beyond napari itself.

    python benchmarks/startup.py [--repeat 5]

napari reads the manifest when it starts, and imports a module of it when a command of it is used. For every module a
fresh interpreter imports napari's window first, then that module alone, and reports the time it took and how many
modules it loaded that napari had not. A library of the network that is loaded by then ends the run with an error.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from npe2 import PluginManifest

MANIFEST = Path(__file__).parents[1] / "napari.yaml"
HEAVY = ("torch", "kornia", "OpenImageIO", "scipy.ndimage", "skimage")
_PROBE = """
import importlib, json, sys, time
import napari, napari.qt, napari.viewer
before = set(sys.modules)
begin = time.perf_counter()
importlib.import_module(sys.argv[1])
seconds = time.perf_counter() - begin
new = set(sys.modules) - before
print(json.dumps({"ms": 1000 * seconds, "modules": len(new), "heavy": sorted(new & set(sys.argv[2:]))}))
"""


def contributed_modules() -> list[str]:
    """The modules that hold the manifest's commands, each once, as they come there."""
    commands = PluginManifest.from_file(MANIFEST).contributions.commands or []
    return list(dict.fromkeys(str(command.python_name).split(":")[0] for command in commands))


def import_cost(module: str, repeat: int) -> tuple[float, int, list[str]]:
    """Median milliseconds, number of new modules, and the names of heavy libraries among them."""
    command = [sys.executable, "-c", _PROBE, module, *HEAVY]
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    runs = [
        json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)
        for _ in range(repeat)
    ]
    return statistics.median(run["ms"] for run in runs), runs[0]["modules"], runs[0]["heavy"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--repeat", type=int, default=5, help="interpreters for each module, of which the median counts"
    )
    repeat = parser.parse_args().repeat
    print("| module of the manifest | import, ms | modules that napari had not loaded |\n|---|---:|---:|")
    begin = time.perf_counter()
    modules = contributed_modules()
    print(f"| the manifest itself | {1000 * (time.perf_counter() - begin):.0f} | |")
    heavy: dict[str, list[str]] = {}
    for module in ("napari_afunet", *modules):
        milliseconds, count, found = import_cost(module, repeat)
        print(f"| `{module}` | {milliseconds:.0f} | {count} |", flush=True)
        if found:
            heavy[module] = found
    if heavy:
        raise SystemExit(f"Loaded before first use: {heavy}")


if __name__ == "__main__":
    main()

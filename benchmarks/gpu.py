"""Check, time and train on one GPU within some minutes.

    python benchmarks/gpu.py --out FOLDER [--minutes 9] [--hdr FOLDER --photos FOLDER --held FOLDER --curves FILE.npz]

Three parts, each a process of its own with a deadline, so that none can take the time of another:

1. check: the network, its piecewise execution, `merge()`, the working scale and the synthesis, GPU against CPU.
2. time: 1.5, 24 and 100 megapixels of the networks beside the literal implementation (`literal.py`) and `merge()`, with
   the shares of the card's arithmetic and bandwidth that are reached, both measured on the spot.
3. train: what is left (`gpu_training.py`); its workers make brackets while the first two run.

Written to the folder, as it comes: checks.jsonl, table.md, log.txt, training.csv, validation.csv and the averaged
weights, full.safetensors and compact.safetensors. Nothing is downloaded. `--device cpu --small` tries it all out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECK_SECONDS, TIME_SECONDS = 50.0, 60.0
"""Most that the first two parts may take."""
RESTART_SECONDS = 60.0
"""A training that broke is started again, without CUDA graphs, if as much time is left."""


def start(script: str, log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """A script of this folder, writing to the log."""
    command = [sys.executable, "-u", str(HERE / script), *arguments]
    with log.open("ab") as sink:
        return subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT)


def finish(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """The exit status; a process that takes longer is ended."""
    try:
        return process.wait(max(seconds, 0.1))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def main() -> None:
    """Run the parts and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--minutes", type=float, default=9.0, help="for everything")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="small pictures and few brackets, to try it out")
    parser.add_argument("--only", choices=("check", "time", "train"), help="one part alone")
    parser.add_argument("--networks", nargs="+", default=["full", "compact"])
    for name in ("hdr", "photos", "held", "curves"):
        parser.add_argument(f"--{name}", help="as gpu_training.py takes it")
    options = parser.parse_args()
    out, began = Path(options.out), time.time()
    out.mkdir(parents=True, exist_ok=True)
    end, log = began + 60 * options.minutes, out / "log.txt"
    limits = {"check": CHECK_SECONDS, "time": TIME_SECONDS}
    parts = [part for part in limits if options.only in (None, part)]

    data = [
        part
        for name in ("hdr", "photos", "held", "curves")
        if (value := getattr(options, name))
        for part in (f"--{name}", value)
    ]
    small = ["--small", "--workers", "2", "--batch", "4", "--keep", "64", "--brackets", "2"] if options.small else []
    wanted = ["--out", str(out), "--device", options.device, "--networks", *options.networks, *data, *small]
    # Waits for the first two parts at most as long as they may take, and is told through a file when they are done.
    ready = out / "ready"
    ready.unlink(missing_ok=True)
    begin = began + sum(limits[part] for part in parts)
    times = ["--begin", f"{begin:.1f}", "--end", f"{end - 4:.1f}", "--ready", str(ready)]
    training = start("gpu_training.py", log, *wanted, *times) if options.only in (None, "train") else None

    for part in parts:
        until = str(time.time() + limits[part] - 3)
        arguments = [part, "--out", str(out), "--device", options.device, "--until", until]
        process = start("gpu_checks.py", log, *arguments, *(["--small"] if options.small else []))
        status = finish(process, limits[part])
        print(f"{time.time() - began:5.0f} s: {part} ended with {status}", flush=True)
    ready.touch()
    if training is not None:
        status = finish(training, end - time.time() + 8)
        if status not in (0, None) and end - time.time() > RESTART_SECONDS:
            print(f"{time.time() - began:5.0f} s: training ended with {status}; started again", flush=True)
            training = start("gpu_training.py", log, *wanted, *times, "--eager", "--resume")
            status = finish(training, end - time.time() + 8)
        print(f"{time.time() - began:5.0f} s: train ended with {status}", flush=True)
    ready.unlink(missing_ok=True)
    for leftover in out.glob("*.partial.safetensors"):
        leftover.unlink()
    report(out)


def report(out: Path) -> None:
    """Print the end of the log and all that was found, and write the table."""
    log = (out / "log.txt").read_text(errors="replace").splitlines() if (out / "log.txt").exists() else []
    print("\n".join(line[:300] for line in log[-25:]))
    found = out / "checks.jsonl"
    records = [json.loads(line) for line in found.read_text().splitlines()] if found.exists() else []
    lines = []
    for record in records:
        values = {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in record.items()}
        lines.append("- " + ", ".join(f"{key} {value}" for key, value in values.items()))
    (out / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()

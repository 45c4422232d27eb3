"""Helpers of the measuring scripts: sections of the performance page, CSV logs, the machine in words, peak memory."""

from __future__ import annotations

import csv
import os
import platform
import re
import threading
from datetime import date
from pathlib import Path
from typing import Any

import torch


def write_section(path: str | Path, title: str, text: str) -> None:
    """Put ``## title``, the date and a text into a Markdown page: in place of that section, or at the end.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = Path(folder, "page.md")
        ...     _ = page.write_text("# Page\\n")
        ...     for text in ("old", "new"):
        ...         write_section(page, "Times", text)
        ...     text = page.read_text()
        >>> text.count("## Times"), text.endswith("new\\n"), "Measured on 2" in text
        (1, True, True)
    """
    page = Path(path)
    before = page.read_text(encoding="utf-8") if page.exists() else ""
    section = f"## {title}\n\nMeasured on {date.today()}. {text.strip()}\n"
    pattern = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    if pattern.search(before):
        after = pattern.sub(lambda _: section + "\n", before, count=1)
    else:
        after = before.rstrip() + "\n\n" + section
    page.write_text(after.strip() + "\n", encoding="utf-8")


def write_row(path: Path, **values: Any) -> None:
    """Append a line to a CSV file, and the heading if it is the first."""
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(values))
        if fresh:
            writer.writeheader()
        writer.writerow({key: f"{value:.5g}" if isinstance(value, float) else value for key, value in values.items()})


def describe_machine() -> str:
    """Name the processor, its cores and PyTorch's version."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    vectors = torch.backends.cpu.get_cpu_capability()
    return f"{name}, {os.cpu_count()} cores, {vectors}, PyTorch {torch.__version__}"


class PeakMemory:
    """Largest resident size of this process inside the ``with`` above that at its start, sampled every 5 ms."""

    def __enter__(self) -> PeakMemory:
        self.start = self.peak = _resident()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.stop.wait(0.005):
            self.peak = max(self.peak, _resident())

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()
        self.peak = max(self.peak, _resident())


def _resident() -> int:
    """Return resident bytes of this process (Linux; elsewhere through psutil, 0 without it)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        try:
            import psutil
        except ImportError:
            return 0
        return int(psutil.Process().memory_info().rss)

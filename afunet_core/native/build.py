"""Compile the kernels with the user's compiler, once for each version of the sources and kind of CPU."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import secrets
import shutil
import subprocess
import warnings
from pathlib import Path

from afunet_core.model.checkpoint import cache_folder

__all__ = ["library"]

SOURCES = ("swin.cpp", "alignment.cpp")
# No -ffast-math: exponentials round by adding and subtracting a large number, which it would remove.
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fno-math-errno", "-ffp-contract=fast", "-fPIC", "-shared")
# Not every compiler has OpenMP; without it, one thread does all.
PARALLEL = ("-fopenmp",)


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where there is no compiler or it fails (then a warning says so)."""
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))), None)
    if compiler is None:
        return None
    try:
        return ctypes.CDLL(str(_with_or_without_threads(compiler)))
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        warnings.warn(
            f"The training kernels could not be compiled, the slower way is taken: {said[:500]}", stacklevel=2
        )
        return None


def _with_or_without_threads(compiler: str) -> Path:
    try:
        return _compiled(compiler, (*FLAGS, *PARALLEL))
    except subprocess.CalledProcessError:
        return _compiled(compiler, FLAGS)


def _compiled(compiler: str, flags: tuple[str, ...]) -> Path:
    folder = Path(__file__).parent
    key = hashlib.sha256(" ".join((compiler, *flags, _cpu())).encode())
    for source in sorted(folder.glob("*.[ch]pp")):
        key.update(source.read_bytes())
    target = cache_folder() / "native" / f"{key.hexdigest()[:24]}.so"
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{secrets.token_hex(4)}.so")
        sources = [str(folder / source) for source in SOURCES]
        try:
            command = [compiler, *flags, *sources, "-o", str(temporary)]
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    return target


def _cpu() -> str:
    """What the CPU can do: a library for another one may hold instructions that this one lacks."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() + platform.machine()
    return next((line for line in lines if line.lower().startswith(("flags", "features"))), platform.machine())

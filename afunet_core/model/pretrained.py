"""The authors' published weights: downloaded when the user asks, verified, kept in the user's cache.

They are not shipped: the authors' repository says MIT in its README but holds no licence file. A download is checked
against the git blob id of the file at a pinned commit, and stored as safetensors; nothing in it is executed.
"""

from __future__ import annotations

import hashlib
import http.client
import math
import os
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from afunet_core.errors import AFUNetError, ArgumentError, CheckpointError

if TYPE_CHECKING:
    from afunet_core.utils.progress import OnProgress

__all__ = ["LICENCE_STATEMENT", "PUBLISHED", "FetchError", "fetch", "fetched_models", "git_blob_id"]

COMMIT = "d57f7832f2d2a7d6d654a1d7f5668828d375c7dd"
BASE_URL = f"https://raw.githubusercontent.com/eezkni/AFUNet/{COMMIT}/pretrain_model/"

LICENCE_STATEMENT = (
    "These weights belong to the authors of AFUNet (github.com/eezkni/AFUNet). Their README says MIT, but their "
    "repository holds no licence file: whether you may use them for your purpose is for you to settle with them."
)
_LIMIT = 512 * 1024**2
_CHUNK = 256 * 1024
_SLOWEST = 1000  # bytes a second that must have come when the time for an answer is over; a server may drip for ever


class FetchError(AFUNetError, OSError):
    """A download that did not succeed or is not what it should be. Nothing is kept of it."""


# Files in the authors' repository, and their git blob ids at the pinned commit.
PUBLISHED = {
    "kalantari": ("Kalantari.pth", "9e4cd349b7508d819554609c2aab6f92eeacf394"),
    "tel": ("Tel.pth", "e373e5d26a5edbb07dac2785f26a6cf65a51570b"),
    "hu": ("Hu.pth", "9dcc2ff4cdeaa195331b740886ba43b91569cd04"),
}


def git_blob_id(content: bytes) -> str:
    """Compute the name git gives to a file of this content: SHA-1 of ``blob <size>\\0`` and the content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def fetched_models() -> dict[str, Path]:
    """List names and files of the weights in the user's cache."""
    from afunet_core.model.checkpoint import fetched_file

    found = {name: fetched_file(name) for name in PUBLISHED}
    return {name: path for name, path in found.items() if path is not None}


def fetch(
    name: str,
    *,
    base_url: str | None = None,
    blob: str | None = None,
    again: bool = False,
    on_progress: OnProgress | None = None,
    timeout: float = 30.0,
) -> Path:
    """Download published weights to a file in the cache; afterwards ``load_model(name)`` finds them.

    Args:
        name: ``"kalantari"``, ``"tel"`` or ``"hu"``.
        base_url: folder to download from; default the authors' repository, or ``AFUNET_FETCH_URL``.
        blob: expected git blob id, where it is not the authors' file.
        again: download even if the cache has it.
        on_progress: called with ``(bytes, total bytes, message)``.
        timeout: seconds without an answer before giving up.
    """
    from afunet_core.model.checkpoint import cache_folder, load_model, save_model

    if name not in PUBLISHED:
        raise ArgumentError("name", "one of " + ", ".join(PUBLISHED), repr(name))
    file, published = PUBLISHED[name]
    target = cache_folder() / f"{name}.safetensors"
    if target.is_file() and not again:
        return target
    url = (base_url or os.environ.get("AFUNET_FETCH_URL") or BASE_URL).rstrip("/") + "/" + file
    content = _download(url, timeout, on_progress)
    expected, actual = blob or published, git_blob_id(content)
    if actual != expected:
        advice = "It is not the published file; nothing was kept."
        raise FetchError(f"{url}: expected git blob {expected}, got {actual} ({len(content)} bytes). {advice}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            original = Path(folder) / file
            original.write_bytes(content)
            model = load_model(original)
        save_model(model, target, {"source": url, "git_blob": actual, "licence": LICENCE_STATEMENT})
    except CheckpointError:
        raise
    except OSError as error:
        advice = "Make room there, or set AFUNET_CACHE to another folder."
        raise FetchError(f"{target}: cannot be written: {error.strerror or error}. {advice}") from error
    return target


def _download(url: str, timeout: float, on_progress: OnProgress | None) -> bytes:
    """Download the whole content, of the length that the server announced; ``torch.hub`` has no timeout."""
    advice = "Check the connection and try again, or give --url a mirror."
    if not url.startswith(("https://", "http://")):
        raise FetchError(f"{url}: expected an http or https address.")
    content, deadline = bytearray(), time.monotonic() + timeout
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "napari-afunet"})  # may find the address odd
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            announced = int(answer.headers.get("Content-Length") or 0)
            while chunk := answer.read1(_CHUNK):
                content += chunk
                if time.monotonic() > deadline:
                    if len(content) < _SLOWEST * timeout:
                        raise FetchError(f"{url}: less than {_SLOWEST:,} bytes a second came. {advice}")
                    deadline = math.inf
                if len(content) > _LIMIT:
                    raise FetchError(f"{url}: more than {_LIMIT >> 20} MB came; that is no AFUNet checkpoint.")
                if on_progress is not None:
                    on_progress(len(content), max(announced, len(content)), "Downloading")
    except urllib.error.HTTPError as error:
        raise FetchError(f"{url}: the server answered {error.code} {error.reason}. {advice}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        said = str(getattr(error, "reason", None) or error) or type(error).__name__
        reason = " ".join("".join(c if c.isprintable() else " " for c in said).split())  # the server's own words
        raise FetchError(f"{url}: the download failed ({reason}). {advice}") from error
    if announced and len(content) != announced:
        raise FetchError(f"{url}: the connection was cut after {len(content)} of {announced} bytes. {advice}")
    return bytes(content)

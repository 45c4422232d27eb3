"""Fetching published weights, against a server of our own: right, wrong, cut off, silent, absent."""

from __future__ import annotations

import http.server
import io
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from afunet_core import AFUNet, load_model
from afunet_core.errors import ArgumentError, CheckpointError
from afunet_core.model.checkpoint import describe_checkpoint, model_path
from afunet_core.model.pretrained import PUBLISHED, FetchError, fetch, fetched_models, git_blob_id
from afunet_core.model.published_names import to_published
from scenes import tiny_network as tiny_model


@pytest.fixture
def server() -> Iterator[Any]:
    """Serves bytes by name; a file may be announced longer than it is, or answered with an error."""
    served = SimpleNamespace(files={}, missing_bytes=0, requests=[])

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.requests.append(self.path)
            content = served.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content) + served.missing_bytes))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        served.url = f"http://127.0.0.1:{running.server_port}/weights"
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield served
        running.shutdown()


@pytest.fixture
def content(server: Any) -> bytes:
    """The server has weights under every published name."""
    content = published_file(tiny_model())
    server.files |= {f"/weights/{name}.pth": content for name in ("Kalantari", "Tel", "Hu")}
    return content


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AFUNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("AFUNET_FETCH_URL", raising=False)
    return tmp_path / "cache"


def published_file(model: AFUNet) -> bytes:
    """A checkpoint in the form of the authors' files."""
    tensors = {f"module.{to_published(key)}": value.detach() for key, value in model.named_parameters()}
    buffer = io.BytesIO()
    torch.save({"epoch": 3, "state_dict": tensors}, buffer)
    return buffer.getvalue()


def kept(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*")) if cache.exists() else []


def test_a_verified_download_becomes_a_model(server: Any, cache: Path, content: bytes) -> None:
    seen: list[tuple[int, ...]] = []
    blob = git_blob_id(content)
    path = fetch("kalantari", base_url=server.url, blob=blob, on_progress=lambda *report: seen.append(report[:2]))
    assert path == cache / "kalantari.safetensors" == model_path("kalantari")
    assert kept(cache) == ["kalantari.safetensors"]
    assert fetched_models() == {"kalantari": path}
    loaded = dict(load_model("kalantari").named_parameters())
    assert all(torch.equal(value, loaded[key]) for key, value in tiny_model().named_parameters())
    notes = describe_checkpoint("kalantari")["metadata"]
    assert notes["git_blob"] == blob
    assert "no licence file" in notes["licence"]
    assert seen[-1] == (len(content), len(content))


def test_what_is_there_is_not_fetched_again(server: Any, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFUNET_FETCH_URL", server.url + "/")
    for again, requests in ((False, 1), (False, 1), (True, 2)):
        fetch("tel", blob=git_blob_id(content), again=again)
        assert len(server.requests) == requests


def test_another_file_is_refused(server: Any, cache: Path, content: bytes) -> None:
    with pytest.raises(FetchError, match=f"expected git blob {PUBLISHED['kalantari'][1]}.*nothing was kept"):
        fetch("kalantari", base_url=server.url)
    assert kept(cache) == []


@pytest.mark.parametrize(
    "content", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"<html>sorry</html>" * 1000]
)
def test_the_right_name_with_foreign_content(server: Any, cache: Path, content: bytes) -> None:
    """Even under the expected hash nothing but a checkpoint is taken in."""
    server.files["/weights/Kalantari.pth"] = content
    with pytest.raises(CheckpointError, match=r"Kalantari\.pth"):
        fetch("kalantari", base_url=server.url, blob=git_blob_id(content))
    assert kept(cache) == []


def test_a_cut_connection_keeps_what_was_there(server: Any, cache: Path, content: bytes) -> None:
    path = fetch("kalantari", base_url=server.url, blob=git_blob_id(content))
    before = path.read_bytes()
    server.missing_bytes = 1000
    with pytest.raises(FetchError, match=r"cut|failed"):
        fetch("kalantari", base_url=server.url, blob=git_blob_id(content), again=True)
    assert path.read_bytes() == before
    assert kept(cache) == ["kalantari.safetensors"]


def test_an_answer_of_not_found(server: Any) -> None:
    with pytest.raises(FetchError, match="404"):
        fetch("kalantari", base_url=server.url)


@pytest.mark.parametrize("listens", [False, True], ids=["no network", "a server that says nothing"])
def test_no_answer(listens: bool) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        if listens:
            taken.listen()
        with pytest.raises(FetchError, match=r"failed.*Check the connection"):
            fetch("kalantari", base_url=f"http://127.0.0.1:{taken.getsockname()[1]}", timeout=0.2)


@pytest.mark.parametrize("url", ["file:///etc", "ftp://127.0.0.1", "kalantari", ""])
def test_other_addresses(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFUNET_FETCH_URL", url or "nowhere")
    with pytest.raises(FetchError, match="http or https"):
        fetch("kalantari", base_url=url)


def test_a_cache_that_cannot_be_made(
    server: Any, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("AFUNET_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(FetchError, match="AFUNET_CACHE"):
        fetch("kalantari", base_url=server.url, blob=git_blob_id(content))


def test_unknown_weights() -> None:
    with pytest.raises(ArgumentError, match="kalantari, tel, hu"):
        fetch("tursun")


def test_blob_ids_are_gits() -> None:
    """`printf 'what is up, doc?' | git hash-object --stdin`, the example of the Pro Git book."""
    assert git_blob_id(b"what is up, doc?") == "bd9dbf5aae1a3862dd1526723246b20206e5fc37"

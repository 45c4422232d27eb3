"""The distributions that a user installs: contents and metadata, and what importing the packages costs."""

from __future__ import annotations

import email
import json
import os
import re
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def python(code: str, **environment: str) -> str:
    """Standard output of a fresh interpreter that runs ``code`` in the checkout."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    """A folder with the source distribution and the wheel that was built from it, as `make package` does it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(dist) -> zipfile.ZipFile:
    (path,) = dist.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def metadata(wheel) -> email.message.Message:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return email.message_from_bytes(wheel.read(name))


class TestDistributions:
    def test_wheel_holds_the_checkouts_packages_with_weights_and_one_manifest_and_nothing_else(self, wheel):
        listed = subprocess.run(
            ["git", "ls-files", "afunet_core", "napari_afunet"], cwd=ROOT, capture_output=True, text=True, check=False
        ).stdout.split()
        if not listed:  # an unpacked source distribution
            listed = [str(path.relative_to(ROOT)) for path in (ROOT / "afunet_core").rglob("*.py")]
        weights = [
            path for path in (ROOT / "afunet_core" / "weights").iterdir() if path.suffix in (".safetensors", ".md")
        ]
        wanted = {name for name in listed if (ROOT / name).exists()} | {str(path.relative_to(ROOT)) for path in weights}
        names = wheel.namelist()
        assert wanted | {"afunet_core/py.typed", "napari_afunet/py.typed"} <= set(names)
        assert names.count("napari_afunet/napari.yaml") == 1
        assert wheel.read("napari_afunet/napari.yaml") == (ROOT / "napari.yaml").read_bytes()
        tops = {name.split("/")[0] for name in names}
        assert {top for top in tops if not top.endswith(".dist-info")} == {"afunet_core", "napari_afunet"}

    def test_sdist_holds_what_is_needed_to_build_test_and_document(self, dist):
        (path,) = dist.glob("*.tar.gz")
        with tarfile.open(path) as archive:
            names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
        needed = {"LICENSE", "NOTICE", "README.md", "napari.yaml", "pyproject.toml", "Makefile", "constraints.txt"}
        assert needed | {"mkdocs.yml", "tests/test_packaging.py"} <= names


class TestMetadata:
    def test_version_licence_classifiers_and_links(self, metadata):
        import afunet_core

        assert metadata["Version"] == afunet_core.__version__
        assert f"version: {metadata['Version']}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
        assert metadata["License-Expression"] == "Apache-2.0"
        assert {"LICENSE", "NOTICE"} <= set(metadata.get_all("License-File"))
        assert {"Framework :: napari", "Typing :: Typed"} <= set(metadata.get_all("Classifier"))
        links = {line.split(",")[0] for line in metadata.get_all("Project-URL")}
        assert {"Source", "Documentation", "Issues", "Changelog"} <= links

    def test_the_core_needs_no_napari_qt_scipy_or_dask(self, metadata):
        lines = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
        required = {re.split(r"[^\w-]", line)[0].lower() for line in lines}
        assert "torch" in required
        refused = {"napari", "superqt", "qtpy", "npe2", "magicgui", "scipy", "scikit-image", "dask"}
        assert not [name for name in required if name in refused or name.startswith(("pyqt", "pyside"))]

    def test_every_extra_exists_and_those_that_a_message_or_page_names(self, metadata):
        extras = {"napari", "qt", "samples", "heif", "hdr", "train", "evaluation", "metrics", "raw", "onnx", "cluster"}
        sources = [*ROOT.glob("afunet_core/**/*.py"), *ROOT.glob("napari_afunet/**/*.py"), *ROOT.glob("docs/**/*.md")]
        text = "".join(path.read_text(encoding="utf-8") for path in [*sources, ROOT / "README.md"])
        named = {extra for found in re.findall(r"napari-afunet\[([a-z,]+)\]", text) for extra in found.split(",")}
        assert {"train", "raw", "hdr"} <= named
        assert named | extras | {"docs", "dev"} <= set(metadata.get_all("Provides-Extra"))


class TestImports:
    def test_the_core_loads_nothing_heavy_and_never_needs_napari_magicgui_or_qt(self):
        loaded = python(
            """
            import importlib, json, pkgutil, sys

            class Refuse:
                def find_spec(self, name, path=None, target=None):
                    top = name.partition(".")[0]
                    if top in ("napari", "napari_afunet", "magicgui", "qtpy", "superqt", "PySide6", "PyQt6", "npe2"):
                        raise AssertionError(f"the core imports {name}")

            sys.meta_path.insert(0, Refuse())
            import afunet_core
            print(json.dumps(sorted(sys.modules)))
            for module in pkgutil.walk_packages(afunet_core.__path__, "afunet_core."):
                if not module.name.endswith("__main__"):
                    importlib.import_module(module.name)
            """
        )
        assert not {"torch", "numpy", "kornia"} & set(json.loads(loaded))

    @pytest.mark.parametrize(
        ("extra", "package", "code"),
        [
            ("samples", "skimage", "demo_bracket()"),
            ("raw", "rawpy", "af.read_image('README.dng')"),
            ("heif", "pillow_heif", "af.read_image('README.heic')"),
            ("hdr", "imagecodecs", "af.write_image('picture.avif', numpy.ones((8, 8, 3), 'f4'))"),
        ],
    )
    def test_what_is_missing_is_named_with_its_extra(self, extra, package, code, tmp_path, monkeypatch):
        import numpy

        import afunet_core as af
        from afunet_core.data.demo import demo_bracket

        for name in ("README.dng", "README.heic"):
            (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(af.errors.DependencyError, match=rf"pip install 'napari-afunet\[{extra}\]'"):
            eval(code, {"af": af, "numpy": numpy, "demo_bracket": demo_bracket})

    def test_the_core_merges_with_nothing_else_installed(self):
        done = python("import runpy; runpy.run_path('tools/try_core.py', run_name='__main__')")
        assert done.endswith("The core works alone.\n")

    def test_the_plugin_starts_and_looks_at_opened_frames_without_torch(self):
        """The window would stand still while it loads; a thread of its own loads it."""
        loaded = python(
            """
            import importlib, json, sys, yaml
            contributions = yaml.safe_load(open("napari.yaml", encoding="utf-8"))["contributions"]
            for command in contributions["commands"]:
                module, name = command["python_name"].split(":")
                assert callable(getattr(importlib.import_module(module), name)), command
            assert "scipy.ndimage" not in sys.modules
            import numpy as np
            from napari.layers import Image
            from napari_afunet.layers.exposures import layer_exposure
            from napari_afunet.layers.source import bracket_source
            layers = [Image(np.full((4, 5, 3), value, np.uint8), rgb=True) for value in (1, 2, 3)]
            assert [layer_exposure(layer).value for layer in layers] == [None] * 3
            assert bracket_source(layers).of_channel(None).of_channel("red").frames[0].ndim == 2
            print(json.dumps(sorted(sys.modules)))
            """
        )
        assert not {"torch", "kornia", "lightning"} & set(json.loads(loaded))

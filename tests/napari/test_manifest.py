"""The manifest, and what finding the plugin costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from npe2 import PluginManifest

ROOT = Path(__file__).parents[2]


def test_the_manifest_is_valid_and_everything_in_it_exists():
    manifest = PluginManifest.from_file(ROOT / "napari.yaml")
    manifest.validate_imports()


def test_finding_the_plugin_does_not_load_torch():
    code = (
        "import sys\n"
        "import napari_afunet, napari_afunet.commands, napari_afunet.readers, napari_afunet.writers\n"
        "import napari_afunet.sample_data, napari_afunet.widget\n"
        "print([name for name in ('torch', 'kornia', 'OpenImageIO') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr

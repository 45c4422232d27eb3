"""Pictures of the documentation that need no screen: ``make screenshots``.

``before-after.jpg`` is the sample bracket, averaged by exposure times and merged by ``af.merge``; ``fluorescence.png``
is the phantom of ``docs/examples/fluorescence.py`` in its shortest and longest exposure and merged.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

import afunet_core as af
from afunet_core.data.demo import demo_bracket

sys.path.insert(0, str(Path(__file__).parent / "examples"))  # no part of the package

import fluorescence

IMAGES = Path(__file__).parent / "images"

PLACE = (slice(250, 480), slice(150, 495))
"""Rows and columns of the sample around the ball that rolls through it."""
STOPS = 1.0
"""How much brighter the pictures are shown than their linear light."""
GAP, TITLE = 6, 26


def panel(radiance: np.ndarray, title: str) -> Image.Image:
    """Tone-map the place, enlarged twofold, under a title."""
    tensor = torch.from_numpy(np.ascontiguousarray(radiance[PLACE])).permute(2, 0, 1)
    shown = af.tone_map(tensor, "filmic", ev=STOPS).permute(1, 2, 0).clamp(0, 1).numpy()
    picture = Image.fromarray((shown * 255).round().astype(np.uint8))
    picture = picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.LANCZOS)
    framed = Image.new("RGB", (picture.width, picture.height + 2 * TITLE), "white")
    framed.paste(picture, (0, 2 * TITLE))
    ImageDraw.Draw(framed).text((4, 8), title, fill="black", font=ImageFont.load_default(size=30))
    return framed


def before_after(model: str) -> Image.Image:
    """Show the sample averaged as taken beside its merge."""
    frames, ev, _ = demo_bracket()
    bracket = af.Bracket(frames, ev=ev)
    plain = af.merge(bracket, method="weighted", align="off").radiance
    panels = panel(plain, "Averaged as taken"), panel(af.merge(bracket, model=model).radiance, "napari-afunet")
    both = Image.new("RGB", (sum(each.width for each in panels) + GAP, panels[0].height), "white")
    both.paste(panels[0], (0, 0))
    both.paste(panels[1], (panels[0].width + GAP, 0))
    return both


def fluorescence_series() -> Image.Image:
    """Show the phantom's shortest and longest exposure and the merged image, all on one logarithmic scale."""
    random = np.random.default_rng(0)
    radiance, _ = fluorescence.phantom()
    frames = [fluorescence.photograph(radiance, seconds, random) for seconds in fluorescence.SECONDS]
    bracket = af.Bracket(
        frames,
        times=fluorescence.SECONDS,
        encoding="linear",
        bit_depth=fluorescence.BITS,
        black_level=fluorescence.BLACK,
    )
    merged = af.merge(bracket, method="weighted", align="off").radiance
    shortest, longest = (bracket.radiance(index)[0, 0].numpy() for index in (0, -1))
    rows = {"Shortest exposure": shortest, "Longest exposure": longest, "Merged": merged}
    height, width = 2 * radiance.shape[0], 2 * radiance.shape[1]
    picture = Image.new("L", (width, len(rows) * (height + 2 * TITLE)), 255)
    for number, (title, light) in enumerate(rows.items()):
        top = number * (height + 2 * TITLE)
        ImageDraw.Draw(picture).text((4, top + 8), title, fill=0, font=ImageFont.load_default(size=30))
        shown = (np.log10(np.clip(light, 1e-5, 1.0)) + 5) / 5
        strip = Image.fromarray((shown * 255).round().astype(np.uint8)).resize((width, height), Image.Resampling.BOX)
        picture.paste(strip, (0, top + 2 * TITLE))
    return picture


def main() -> None:
    """Write the pictures into ``docs/images``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="default", help="the model that merges (default: the shipped default)")
    before_after(parser.parse_args().model).save(IMAGES / "before-after.jpg", quality=88, optimize=True)
    fluorescence_series().save(IMAGES / "fluorescence.png", optimize=True)
    for name in ("before-after.jpg", "fluorescence.png"):
        print(f"{name}: {(IMAGES / name).stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()

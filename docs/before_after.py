"""The picture of the home page: the sample bracket merged by exposure times alone, and by ``af.merge``.

``make screenshots`` runs it; it needs no screen.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

import afunet_core as af
from afunet_core.data.demo import demo_bracket

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


def main() -> None:
    """Write ``images/before-after.jpg``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="default", help="the model that merges (default: the shipped default)")
    frames, ev, _ = demo_bracket()
    bracket = af.Bracket(frames, ev=ev)
    plain = af.merge(bracket, method="weighted", align="off").radiance
    merged = af.merge(bracket, model=parser.parse_args().model).radiance
    panels = panel(plain, "Averaged as taken"), panel(merged, "napari-afunet")
    width = sum(each.width for each in panels) + GAP
    both = Image.new("RGB", (width, panels[0].height), "white")
    both.paste(panels[0], (0, 0))
    both.paste(panels[1], (panels[0].width + GAP, 0))
    target = Path(__file__).parent / "images" / "before-after.jpg"
    both.save(target, quality=88, optimize=True)
    print(f"{target.name}: {target.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()

"""From the parameter names of this package to those of published checkpoints (a file format, kept on disk)."""

from __future__ import annotations

import re

# How our names begin, the more specific first, and how the published ones do; \1 is the stage, \2 the block.
_BEGINNINGS = {
    r"embed\.under": r"conv1.0",
    r"embed\.reference": r"conv2.0",
    r"embed\.over": r"conv3.0",
    r"embed\.norm": r"patch_embed.norm",
    r"embed\.dormant_norm": r"patch_embed_div3.norm",
    r"stages\.(\d+)\.align_under\.degrade": r"A1.\1",
    r"stages\.(\d+)\.align_over\.degrade": r"A3.\1",
    r"stages\.(\d+)\.align_under": r"a_12.\1.residual_group.blocks.0",
    r"stages\.(\d+)\.align_over": r"a_32.\1.residual_group.blocks.0",
    r"stages\.(\d+)\.fuse\.blocks\.(\d+)": r"SFM.\1.residual_group.blocks.\2",
    r"stages\.(\d+)\.fuse\.conv": r"SFM.\1.conv",
    r"stages\.(\d+)\.fuse_under": r"f_12.\1",
    r"stages\.(\d+)\.fuse_over": r"f_32.\1",
    r"stages\.(\d+)\.consistency\.transpose": r"A2_T.\1",
    r"stages\.(\d+)\.consistency\.inverse": r"inv.\1",
    r"stages\.(\d+)\.consistency\.beta_under": r"beta1.\1",
    r"stages\.(\d+)\.consistency\.beta_over": r"beta2.\1",
    r"stages\.(\d+)\.update": r"mlps_end.\1",
    r"skip": r"conv_skip",
    r"head\.conv": r"out.0",
}
_WINDOW_PARTS = {
    ".attention.position_bias": ".attn.relative_position_bias_table",
    ".attention.project": ".attn.proj",
    ".attention.qkv": ".attn.qkv",
    ".attention.query": ".attn.q",
    ".attention.key_value": ".attn.kv",
    ".refine": ".mlp",
}
_CHANNEL_PARTS = {
    ".attention.project": ".attn.project_out",
    ".attention.temperature": ".attn.temperature",
    ".attention.query": ".attn.q",
    ".attention.key": ".attn.k",
    ".attention.value": ".attn.v",
    ".refine": ".conv",
}
_PUBLISHED = "|".join(re.sub(r"\\\d", r"\\d+", name.replace(".", r"\.")) for name in _BEGINNINGS.values())


def is_published(key: str) -> bool:
    """Return False for the name of a parameter that belongs to no AFUNet."""
    return re.match(rf"({_PUBLISHED})(\.|$)", key) is not None


def to_published(key: str) -> str:
    """Return the published name of one of our parameters; KeyError if the network has no such parameter."""
    for ours, theirs in _BEGINNINGS.items():
        if match := re.match(ours, key):
            rest = key[match.end() :]
            parts = _CHANNEL_PARTS if theirs.startswith("f_") else _WINDOW_PARTS
            old = next((part for part in parts if rest.startswith(part)), "")
            return match.expand(theirs) + parts.get(old, "") + rest.removeprefix(old)
    raise KeyError(key)

"""Between the parameter names of this package and those of published checkpoints (a file format, kept on disk)."""

from __future__ import annotations

import re
from collections.abc import Iterable

_TABLE: list[tuple[str, str]] = [
    # Published and our names; {s} is the stage, {b} the block, {r} the rest.
    ("conv1.0.{r}", "embed.under.{r}"),
    ("conv2.0.{r}", "embed.reference.{r}"),
    ("conv3.0.{r}", "embed.over.{r}"),
    ("patch_embed.norm.{r}", "embed.norm.{r}"),
    ("patch_embed_div3.norm.{r}", "embed.dormant_norm.{r}"),
    ("A1.{s}.{r}", "stages.{s}.align_under.degrade.{r}"),
    ("A3.{s}.{r}", "stages.{s}.align_over.degrade.{r}"),
    ("a_12.{s}.residual_group.blocks.0.{r}", "stages.{s}.align_under.{r}"),
    ("a_32.{s}.residual_group.blocks.0.{r}", "stages.{s}.align_over.{r}"),
    ("SFM.{s}.residual_group.blocks.{b}.{r}", "stages.{s}.fuse.blocks.{b}.{r}"),
    ("SFM.{s}.conv.{r}", "stages.{s}.fuse.conv.{r}"),
    ("f_12.{s}.{r}", "stages.{s}.fuse_under.{r}"),
    ("f_32.{s}.{r}", "stages.{s}.fuse_over.{r}"),
    ("A2_T.{s}.{r}", "stages.{s}.consistency.transpose.{r}"),
    ("inv.{s}.{r}", "stages.{s}.consistency.inverse.{r}"),
    ("beta1.{s}", "stages.{s}.consistency.beta_under"),
    ("beta2.{s}", "stages.{s}.consistency.beta_over"),
    ("mlps_end.{s}.{r}", "stages.{s}.update.{r}"),
    ("conv_skip.{r}", "skip.{r}"),
    ("out.0.{r}", "head.conv.{r}"),
]

_WINDOW_PARTS = {
    "attn.relative_position_bias_table": "attention.position_bias",
    "attn.proj": "attention.project",
    "attn.qkv": "attention.qkv",
    "attn.q": "attention.query",
    "attn.kv": "attention.key_value",
}
_ALIGN_PARTS = {**_WINDOW_PARTS, "mlp": "refine"}
_CHANNEL_PARTS = {
    "attn.project_out": "attention.project",
    "attn.temperature": "attention.temperature",
    "attn.q": "attention.query",
    "attn.k": "attention.key",
    "attn.v": "attention.value",
    "conv": "refine",
}
_GROUPS = {"{s}": r"(?P<s>\d+)", "{b}": r"(?P<b>\d+)", "{r}": "(?P<r>.+)"}


def from_published(key: str) -> str | None:
    """Return our name for a published parameter, or None if the name belongs to no AFUNet.

    Example:
        >>> from_published("a_12.0.residual_group.blocks.0.attn.kv.bias")
        'stages.0.align_under.attention.key_value.bias'
    """
    return _renamed(key, ((theirs, ours, _parts(ours)) for theirs, ours in _TABLE))


def to_published(key: str) -> str:
    """Return the published name of one of our parameters; KeyError if the network has no such parameter.

    Example:
        >>> to_published("stages.2.consistency.beta_over")
        'beta2.2'
    """
    # The more specific names come first in the table: degrade before the SAM it sits in.
    back = ((ours, theirs, {new: old for old, new in _parts(ours).items()}) for theirs, ours in _TABLE)
    found = _renamed(key, back)
    if found is None:
        raise KeyError(key)
    return found


def _renamed(key: str, table: Iterable[tuple[str, str, dict[str, str]]]) -> str | None:
    """Rename by the first row (name, new name, names of the parts within) that fits."""
    for name, renamed, parts in table:
        pattern = re.sub(r"\{[sbr]\}", lambda group: _GROUPS[group[0]], name.replace(".", r"\."))
        if match := re.fullmatch(pattern, key):
            groups = {"r": "", **match.groupdict()}
            return renamed.format(**{**groups, "r": _translate(groups["r"], parts)})
    return None


def _parts(ours: str) -> dict[str, str]:
    if ".fuse.blocks." in ours:
        return _WINDOW_PARTS
    if ".align_" in ours and ".degrade." not in ours:
        return _ALIGN_PARTS
    if ".fuse_under." in ours or ".fuse_over." in ours:
        return _CHANNEL_PARTS
    return {}


def _translate(rest: str, parts: dict[str, str]) -> str:
    for old, new in parts.items():
        if rest == old or rest.startswith(old + "."):
            return new + rest[len(old) :]
    return rest

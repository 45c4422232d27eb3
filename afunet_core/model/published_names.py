"""Between the parameter names of this package and those of published checkpoints (a file format, kept on disk)."""

from __future__ import annotations

import re

__all__ = ["from_published", "to_published"]

_TABLE: list[tuple[str, str]] = [
    # published pattern, our template; {s} is the stage, {b} the block, {r} the rest
    (r"conv1\.0\.(?P<r>.+)", "embed.under.{r}"),
    (r"conv2\.0\.(?P<r>.+)", "embed.reference.{r}"),
    (r"conv3\.0\.(?P<r>.+)", "embed.over.{r}"),
    (r"patch_embed\.norm\.(?P<r>.+)", "embed.norm.{r}"),
    (r"patch_embed_div3\.norm\.(?P<r>.+)", "embed.dormant_norm.{r}"),
    (r"A1\.(?P<s>\d+)\.(?P<r>.+)", "stages.{s}.align_under.degrade.{r}"),
    (r"A3\.(?P<s>\d+)\.(?P<r>.+)", "stages.{s}.align_over.degrade.{r}"),
    (r"a_12\.(?P<s>\d+)\.residual_group\.blocks\.0\.(?P<r>.+)", "stages.{s}.align_under.{r}"),
    (r"a_32\.(?P<s>\d+)\.residual_group\.blocks\.0\.(?P<r>.+)", "stages.{s}.align_over.{r}"),
    (r"SFM\.(?P<s>\d+)\.residual_group\.blocks\.(?P<b>\d+)\.(?P<r>.+)", "stages.{s}.fuse.blocks.{b}.{r}"),
    (r"SFM\.(?P<s>\d+)\.conv\.(?P<r>.+)", "stages.{s}.fuse.conv.{r}"),
    (r"f_12\.(?P<s>\d+)\.(?P<r>.+)", "stages.{s}.fuse_under.{r}"),
    (r"f_32\.(?P<s>\d+)\.(?P<r>.+)", "stages.{s}.fuse_over.{r}"),
    (r"A2_T\.(?P<s>\d+)\.(?P<r>.+)", "stages.{s}.consistency.transpose.{r}"),
    (r"inv\.(?P<s>\d+)\.(?P<r>.+)", "stages.{s}.consistency.inverse.{r}"),
    (r"beta1\.(?P<s>\d+)", "stages.{s}.consistency.beta_under"),
    (r"beta2\.(?P<s>\d+)", "stages.{s}.consistency.beta_over"),
    (r"mlps_end\.(?P<s>\d+)\.(?P<r>.+)", "stages.{s}.update.{r}"),
    (r"conv_skip\.(?P<r>.+)", "skip.{r}"),
    (r"out\.0\.(?P<r>.+)", "head.conv.{r}"),
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


def from_published(key: str) -> str | None:
    """Our name for a published parameter, or None if the name belongs to no AFUNet.

    Example:
        >>> from_published("a_12.0.residual_group.blocks.0.attn.kv.bias")
        'stages.0.align_under.attention.key_value.bias'
    """
    for pattern, template in _TABLE:
        match = re.fullmatch(pattern, key)
        if match:
            groups = match.groupdict()
            rest = groups.get("r") or ""
            return template.format(**{**groups, "r": _translate(rest, _parts(template))})
    return None


def to_published(key: str) -> str:
    """Published name of one of our parameters; inverse of :func:`from_published`.

    Raises:
        KeyError: if the network has no such parameter.

    Example:
        >>> to_published("stages.2.consistency.beta_over")
        'beta2.2'
    """
    # The more specific templates first: degrade before the SAM it sits in.
    for pattern, template in _TABLE:
        groups = {"s": r"(?P<s>\d+)", "b": r"(?P<b>\d+)", "r": r"(?P<r>.+)"}
        escaped = re.escape(template)
        for name, group in groups.items():
            escaped = escaped.replace(re.escape("{" + name + "}"), group)
        match = re.fullmatch(escaped, key)
        if match:
            found = match.groupdict()
            back = {new: old for old, new in _parts(template).items()}
            published = re.sub(r"\\d\+", "", pattern)
            for name in ("s", "b"):
                published = re.sub(rf"\(\?P<{name}>\)", found.get(name) or "", published)
            rest = _translate(found.get("r") or "", back)
            return published.replace("(?P<r>.+)", rest).replace("\\.", ".")
    raise KeyError(key)

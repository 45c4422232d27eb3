"""The yardstick: the network as a researcher would write it from the paper, whole image, nothing fused.

Channels first, windows cut and rolled as tensors, every layer a separate operation over the whole image, the channel
attention through full-size query, key and value. It shares only the parameters with ``afunet_core``, under the names of
published checkpoints.

    python benchmarks/literal.py 512 512

Beside it, in the same process and in turn: the plain forward, and the network in pieces, as the product runs it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from afunet_core.model.afunet import AFUNet
from afunet_core.model.published_names import to_published

Parameters = Mapping[str, Tensor]
WINDOW = 8


def parameters_of(model: AFUNet) -> dict[str, Tensor]:
    """The network's parameters under their published names."""
    return {to_published(name): value.detach() for name, value in model.named_parameters()}


def literal_afunet(p: Parameters, frames: Tensor) -> Tensor:
    """``B×18×H×W`` → ``B×3×H×W`` with the published configuration's arithmetic, at any sizes the parameters have."""
    height, width = frames.shape[-2:]
    frames = F.pad(frames, (0, -width % WINDOW, 0, -height % WINDOW), mode="reflect")
    branches = [conv3x3(p, f"conv{i + 1}.0", frame) for i, frame in enumerate(frames.chunk(3, dim=1))]
    skip = branches[1]
    joined = layer_norm(p, "patch_embed.norm", torch.cat(branches, dim=1))
    under, estimate, over = joined.chunk(3, dim=1)
    observed = estimate
    for stage in range(sum(key.startswith("mlps_end.") and key.endswith("fc1.weight") for key in p)):
        under = align(p, f"A1.{stage}", f"a_12.{stage}.residual_group.blocks.0", under, estimate)
        over = align(p, f"A3.{stage}", f"a_32.{stage}.residual_group.blocks.0", over, estimate)
        fused = fuse_space(p, f"SFM.{stage}", torch.cat([under, estimate, over], dim=1))
        side_under, residual, side_over = fused.chunk(3, dim=1)
        u = fuse_channels(p, f"f_12.{stage}", side_under, estimate)
        v = fuse_channels(p, f"f_32.{stage}", side_over, estimate)
        data = mlp(p, f"A2_T.{stage}", observed) + p[f"beta1.{stage}"] * u + p[f"beta2.{stage}"] * v
        preliminary = mlp(p, f"inv.{stage}", data)
        estimate = mlp(p, f"mlps_end.{stage}", torch.cat([u, preliminary, v], dim=1)) + residual
    radiance = torch.sigmoid(conv3x3(p, "out.0", estimate + conv3x3(p, "conv_skip", skip)))
    return radiance[..., :height, :width]


def align(p: Parameters, degrade: str, name: str, side: Tensor, estimate: Tensor) -> Tensor:
    degraded = mlp(p, degrade, estimate)
    query, shape = windows(side), side.shape
    context = windows(degraded + side)
    query = linear(p, f"{name}.attn.q", query)
    key, value = linear(p, f"{name}.attn.kv", context).chunk(2, dim=-1)
    attended = window_attention(p, f"{name}.attn", query, key, value, None)
    aligned = degraded + from_windows(attended, shape)
    aligned = aligned + conv3x3(p, f"{name}.mlp", aligned)
    return aligned + degraded


def fuse_space(p: Parameters, name: str, joined: Tensor) -> Tensor:
    features, block = joined, 0
    while f"{name}.residual_group.blocks.{block}.norm1.weight" in p:
        prefix = f"{name}.residual_group.blocks.{block}"
        shift = WINDOW // 2 * (block % 2)
        normed = layer_norm(p, f"{prefix}.norm1", features)
        normed = torch.roll(normed, (-shift, -shift), dims=(2, 3))
        query, key, value = linear(p, f"{prefix}.attn.qkv", windows(normed)).chunk(3, dim=-1)
        mask = region_mask(features.shape[2], features.shape[3], shift, features) if shift else None
        attended = from_windows(window_attention(p, f"{prefix}.attn", query, key, value, mask), features.shape)
        features = features + torch.roll(attended, (shift, shift), dims=(2, 3))
        features = features + mlp(p, f"{prefix}.mlp", layer_norm(p, f"{prefix}.norm2", features))
        block += 1
    return conv3x3(p, f"{name}.conv", features) + joined


def fuse_channels(p: Parameters, name: str, side: Tensor, estimate: Tensor) -> Tensor:
    batch, channels, height, width = side.shape
    temperature = p[f"{name}.attn.temperature"]
    heads = temperature.shape[0]
    context = estimate + side

    def project(part: str, x: Tensor) -> Tensor:
        weight = p[f"{name}.attn.{part}.weight"]
        return F.conv2d(x, weight.reshape(*weight.shape[:2], 1, 1))

    query, key, value = (
        project(part, x).reshape(batch, heads, channels // heads, height * width)
        for part, x in (("q", side), ("k", context), ("v", context))
    )
    query, key = F.normalize(query, dim=-1), F.normalize(key, dim=-1)
    attention = (query @ key.transpose(-2, -1) * temperature).softmax(dim=-1)
    mixed = (attention @ value).reshape(batch, channels, height, width)
    fused = estimate + project("project_out", mixed)
    fused = fused + conv3x3(p, f"{name}.conv", fused)
    return fused + estimate


def window_attention(
    p: Parameters, name: str, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
) -> Tensor:
    table = p[f"{name}.relative_position_bias_table"]
    count, tokens, channels = query.shape
    heads = table.shape[1]

    def split(x: Tensor) -> Tensor:
        return x.reshape(count, tokens, heads, channels // heads).permute(0, 2, 1, 3)

    logits = split(query) * (channels // heads) ** -0.5 @ split(key).transpose(-2, -1)
    position = torch.stack(torch.meshgrid(torch.arange(WINDOW), torch.arange(WINDOW), indexing="ij")).flatten(1)
    offset = position[:, :, None] - position[:, None, :] + WINDOW - 1
    bias = table[(offset[0] * (2 * WINDOW - 1) + offset[1]).to(table.device)]
    logits = logits + bias.permute(2, 0, 1)
    if mask is not None:
        per_image = mask.shape[0]
        logits = logits.reshape(count // per_image, per_image, heads, tokens, tokens) + mask[None, :, None]
        logits = logits.reshape(count, heads, tokens, tokens)
    mixed = logits.softmax(dim=-1) @ split(value)
    return linear(p, f"{name}.proj", mixed.permute(0, 2, 1, 3).reshape(count, tokens, channels))


def region_mask(height: int, width: int, shift: int, like: Tensor) -> Tensor:
    regions = torch.zeros(1, 1, height, width, device=like.device)
    cuts = (slice(0, -WINDOW), slice(-WINDOW, -shift), slice(-shift, None))
    for index, (rows, columns) in enumerate((rows, columns) for rows in cuts for columns in cuts):
        regions[:, :, rows, columns] = index
    labels = windows(regions).squeeze(-1)
    return torch.where(labels[:, :, None] == labels[:, None, :], 0.0, -100.0).to(like.dtype)


def windows(x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    x = x.reshape(batch, channels, height // WINDOW, WINDOW, width // WINDOW, WINDOW)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(-1, WINDOW * WINDOW, channels)


def from_windows(x: Tensor, shape: torch.Size) -> Tensor:
    batch, channels, height, width = shape
    x = x.reshape(batch, height // WINDOW, width // WINDOW, WINDOW, WINDOW, channels)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(shape)


def mlp(p: Parameters, name: str, x: Tensor) -> Tensor:
    hidden = F.gelu(linear(p, f"{name}.fc1", x.permute(0, 2, 3, 1)))
    return linear(p, f"{name}.fc2", hidden).permute(0, 3, 1, 2)


def linear(p: Parameters, name: str, x: Tensor) -> Tensor:
    return F.linear(x, p[f"{name}.weight"], p.get(f"{name}.bias"))


def layer_norm(p: Parameters, name: str, x: Tensor) -> Tensor:
    x = F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2], p[f"{name}.weight"], p[f"{name}.bias"])
    return x.permute(0, 3, 1, 2)


def conv3x3(p: Parameters, name: str, x: Tensor) -> Tensor:
    weight = p[f"{name}.weight"]
    return F.conv2d(
        F.pad(x, (1, 1, 1, 1), mode="reflect"), weight, p[f"{name}.bias"], groups=x.shape[1] // weight.shape[1]
    )


def measure(height: int, width: int) -> list[tuple[str, float, float, float]]:
    """Name, seconds, seconds of processor time and largest difference to the first of every way to run the network."""
    from afunet_core.model.streaming.stream import stream
    from afunet_core.utils.device import multiplies_bfloat16

    torch.manual_seed(0)
    model, frames = AFUNet().eval(), torch.rand(1, 18, height, width)
    parameters = parameters_of(model)

    def narrow(run: Callable[[], Tensor]) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return run()

    ways: dict[str, Callable[[], object]] = {
        "literal, float32": lambda: literal_afunet(parameters, frames),
        "in pieces, float32": lambda: stream(model, frames),
        "literal, bfloat16": lambda: narrow(lambda: literal_afunet(parameters, frames)),
        "in pieces, bfloat16": lambda: stream(model, frames, precision=torch.bfloat16),
        "plain forward, float32": lambda: model(frames),
    }
    if not multiplies_bfloat16(torch.device("cpu")):
        ways = {name: run for name, run in ways.items() if not name.endswith("bfloat16")}
    rows, first = [], None
    with torch.inference_mode():
        for name, run in ways.items():
            start, cpu = time.perf_counter(), time.process_time()
            result = run()
            wall, cpu = time.perf_counter() - start, time.process_time() - cpu
            assert isinstance(result, Tensor)
            first = result if first is None else first
            rows.append((name, wall, cpu, float((result - first).abs().max())))
            print(f"{name:24s} {wall:8.2f} s  {cpu:8.2f} CPU s", file=sys.stderr, flush=True)
    return rows


def table(rows: list[tuple[str, float, float, float]]) -> str:
    """Markdown; the last column says how many times as fast as the literal network of the same precision."""
    literal = {name.split(", ")[1]: wall for name, wall, _, _ in rows if name.startswith("literal")}
    lines = ["| way | s | CPU s | difference | times as fast |", "|---|---:|---:|---:|---:|"]
    for name, wall, cpu, difference in rows:
        faster = literal[name.split(", ")[1]] / wall
        lines.append(f"| {name} | {wall:.2f} | {cpu:.2f} | {difference:.1e} | {faster:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", nargs="*", type=int, default=[256, 384], metavar="HEIGHT WIDTH")
    options = parser.parse_args()
    height, width = options.size
    print(table(measure(height, width)))


if __name__ == "__main__":
    main()

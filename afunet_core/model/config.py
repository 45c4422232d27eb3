"""Configuration of the network: sizes and variants."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from afunet_core.errors import ArgumentError

__all__ = ["COMPACT", "FULL", "PUBLISHED", "VARIANTS", "AFUNetConfig"]

# Maps that describe how far two frames agree: three signed differences, their size, and where it can be told.
AGREEMENT_MAPS = 5

Order = Literal["AF", "FA"]
Head = Literal["direct", "anchored"]


@dataclass(frozen=True)
class AFUNetConfig:
    """Sizes and variants of AFUNet. The defaults are the published configuration (1,162,035 parameters).

    Args:
        embed_dim: channels of the three branches together; each of under, reference, over has a third.
        depths: Swin blocks in the spatial fusion of each stage; its length is the number of stages.
        window_size: side of the attention windows in feature pixels (even).
        alignment_heads: attention heads of the spatial alignment module (SAM).
        fusion_heads: attention heads of the spatial fusion module (SFM).
        channel_heads: attention heads of the channel fusion modules (CFM).
        mlp_ratio: hidden size of every MLP as a multiple of its smallest end.
        drop_path: largest stochastic depth rate, reached at the last block (training only).
        alignment: with the SAMs (without: under and over features pass through).
        channel_fusion: with the CFMs (without: ``u = u_s + x``).
        data_consistency: with the DCM (without: ``x_p = x``).
        order: ``"AF"`` aligns, then fuses, in each stage; ``"FA"`` fuses, then aligns.
        downscale: frames are folded ``downscale × downscale`` pixels into channels before the network.
        head: ``"direct"`` decodes radiance from the features (the paper); ``"anchored"`` lets them decide how far each
            frame, and a decoded prior, is trusted at each pixel, and takes the precision-weighted mean.
        mu_input: the network also sees each frame's radiance after the μ-law, where frames are directly comparable.
        agreement_input: the network is also told how far the frames agree, pixel by pixel, where both are well exposed.
        dormant_norm: keep the LayerNorm that published checkpoints carry but the network never uses.

    Raises:
        ArgumentError: for sizes that do not fit together.

    Example:
        >>> AFUNetConfig().stages, AFUNetConfig().branch_dim
        (4, 24)
    """

    embed_dim: int = 72
    depths: tuple[int, ...] = (5, 5, 5, 5)
    window_size: int = 8
    alignment_heads: int = 2
    fusion_heads: int = 4
    channel_heads: int = 2
    mlp_ratio: float = 2.0
    drop_path: float = 0.1
    alignment: bool = True
    channel_fusion: bool = True
    data_consistency: bool = True
    order: Order = "AF"
    downscale: int = 1
    head: Head = "direct"
    mu_input: bool = False
    agreement_input: bool = False
    dormant_norm: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "depths", tuple(int(depth) for depth in self.depths))
        _check(
            "depths", len(self.depths) >= 1 and min(self.depths) >= 0, "one non-negative count per stage", self.depths
        )
        _check("embed_dim", self.embed_dim > 0 and self.embed_dim % 3 == 0, "a positive multiple of 3", self.embed_dim)
        _check("window_size", self.window_size >= 2 and self.window_size % 2 == 0, "even, at least 2", self.window_size)
        widths = {"alignment_heads": self.branch_dim, "channel_heads": self.branch_dim, "fusion_heads": self.embed_dim}
        for name, width in widths.items():
            heads = getattr(self, name)
            _check(name, heads >= 1 and width % heads == 0, f"a divisor of {width}", heads)
        _check("mlp_ratio", self.mlp_ratio > 0, "above 0", self.mlp_ratio)
        _check("drop_path", 0 <= self.drop_path < 1, "in [0, 1)", self.drop_path)
        _check("downscale", self.downscale >= 1, "at least 1", self.downscale)
        _check("order", self.order in ("AF", "FA"), "'AF' or 'FA'", self.order)
        _check("head", self.head in ("direct", "anchored"), "'direct' or 'anchored'", self.head)

    @property
    def stages(self) -> int:
        """Number of unfolded iterations."""
        return len(self.depths)

    @property
    def branch_dim(self) -> int:
        """Channels of one branch (24 as published)."""
        return self.embed_dim // 3

    @property
    def embedding_inputs(self) -> int:
        """Input channels of each frame's embedding: folded pixels, and its agreement with another frame."""
        return (9 if self.mu_input else 6) * self.downscale**2 + (AGREEMENT_MAPS if self.agreement_input else 0)

    @property
    def multiple(self) -> int:
        """Height and width are padded to a multiple of this many pixels."""
        return self.window_size * self.downscale

    @property
    def published_form(self) -> bool:
        """True if the arithmetic is that of the published network (at any size)."""
        return self.downscale == 1 and self.head == "direct" and not (self.mu_input or self.agreement_input)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON.

        Example:
            >>> AFUNetConfig.from_dict(AFUNetConfig(depths=(2, 2)).to_dict()).stages
            2
        """
        return {**asdict(self), "depths": list(self.depths)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> AFUNetConfig:
        """Inverse of :meth:`to_dict`; unknown names are refused.

        Raises:
            ArgumentError: for an unknown name or an unusable value.
        """
        unknown = sorted(set(values) - set(cls.__dataclass_fields__))
        _check("config", not unknown, f"names among {sorted(cls.__dataclass_fields__)}", unknown)
        return cls(**values)


def _check(argument: str, condition: bool, expected: str, actual: object) -> None:
    if not condition:
        raise ArgumentError(argument, expected, actual)


PUBLISHED = AFUNetConfig()
"""The configuration of the paper."""

COMPACT = AFUNetConfig(
    embed_dim=48,
    depths=(2, 2, 2),
    fusion_heads=3,
    drop_path=0.0,
    downscale=2,
    head="anchored",
    mu_input=True,
    agreement_input=True,
    dormant_norm=False,
)
"""Our design within the same unfolding for laptops: folded frames, three stages, the anchored head."""

FULL = replace(COMPACT, embed_dim=72, depths=(5, 5, 5, 5), fusion_heads=4)
"""The published sizes (four stages of five blocks, 72 channels) in the compact design: folded frames, anchored head."""

_PLAIN = replace(PUBLISHED, alignment=False, channel_fusion=False, data_consistency=False)

VARIANTS: dict[str, AFUNetConfig] = {
    "published": PUBLISHED,
    "compact": COMPACT,
    "full": FULL,
    "M1": _PLAIN,
    "M2": replace(_PLAIN, alignment=True),
    "M3": replace(_PLAIN, channel_fusion=True),
    "M4": replace(_PLAIN, data_consistency=True),
    "FA": replace(PUBLISHED, order="FA"),
    **{f"stages-{count}": replace(PUBLISHED, depths=(5,) * count) for count in (2, 3, 4, 5, 6)},
}
"""The rows of the paper's Tables 4 to 6, and our two models, by name."""

"""Configuration of a training run, read from one TOML file."""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from afunet_core.errors import ArgumentError
from afunet_core.evaluation.paper import PUBLISHED_ROWS
from afunet_core.model.config import VARIANTS, AFUNetConfig

RECIPES = Path(__file__).resolve().parent / "recipes"

# What TOML may hold for a field, by the first word of its annotation.
_TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "dict": (dict,),
    "float": (int, float),
    "int": (int,),
    "str": (str,),
    "tuple": (list, tuple),
}


@dataclass(frozen=True)
class TrainingConfig:
    """Everything a run depends on. Written beside its results, so that it can be repeated."""

    model: str = "compact"  # name of a variant, see ``afunet info --variants``
    # fields of `AFUNetConfig` that differ from the variant
    model_overrides: dict[str, Any] = field(default_factory=dict)
    # weights of the same configuration to start from (name or file) instead of a random draw
    start_from: str | None = None
    # ``{"kind": "synthetic", "hdr": folder, "photos": folder, "holdout": 12, …SynthesisConfig fields}`` or
    # ``{"kind": "folder", "root": folder, "layout": "auto", "validation": folder}``
    data: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=dict)  # arguments of `HDRLoss`
    # share of the same loss on the image decoded from the features alone (anchored head only). Without it the head
    # trusts the frames from the start and the features never learn.
    prior_weight: float = 0.5
    steps: int = 10_000  # length of the run; a finished run can be resumed with more
    batch: int = 4  # brackets per step and device
    patch: int = 128  # their side in pixels
    learning_rate: float = 1e-3  # the peak
    final_learning_rate: float = 1e-6  # of the last step
    warmup: int = 200  # steps to reach the peak
    # ``"cosine"`` over all steps, or ``"constant"`` until the last ``decay`` steps, then cosine
    schedule: str = "cosine"
    decay: int = 0
    optimizer: str = "adamw"  # ``"adam"`` or ``"adamw"``; the two below are its arguments
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 1e-4
    ema: float = 0.999  # decay of the averaged weights that are validated and shipped; 0 for none
    clip: float = 1.0  # largest gradient norm
    # ``"32-true"`` or ``"bf16-mixed"``, as Lightning Fabric names them, or ``"auto"``: the latter where the device
    # multiplies bfloat16 itself (`choose_training_precision`)
    precision: str = "auto"
    compile: bool = False  # use ``torch.compile``; pays on a GPU and on long runs
    validate_every: int = 1000  # steps between validations
    validation_count: int = 24  # brackets of each
    validation_size: int = 256  # their side in pixels
    checkpoint_every: int = 500  # steps between checkpoints
    log_every: int = 50  # steps between log lines
    seed: int = 0  # of the weights and of the data
    # of the paper that the run regenerates, see `PUBLISHED_ROWS`; ``afunet evaluate --run`` prints it beside the
    # measurement
    row: str | None = None

    def __post_init__(self) -> None:
        for entry in fields(self):
            value, optional = getattr(self, entry.name), "None" in str(entry.type)
            allowed = _TYPES[re.match(r"\w+", str(entry.type))[0]]  # type: ignore[index]
            right = isinstance(value, allowed) and (bool in allowed or not isinstance(value, bool))
            if not (right or (optional and value is None)):
                raise ArgumentError(entry.name, str(entry.type), repr(value))
        object.__setattr__(self, "betas", tuple(self.betas))  # TOML has lists
        choices = {
            "model": (self.model, tuple(VARIANTS)),
            "schedule": (self.schedule, ("cosine", "constant")),
            "optimizer": (self.optimizer, ("adam", "adamw")),
            "precision": (self.precision, ("auto", "32-true", "bf16-mixed")),
            "row": (self.row, (None, *PUBLISHED_ROWS)),
        }
        for name, (chosen, those) in choices.items():
            if chosen not in those:
                raise ArgumentError(name, f"one of {', '.join(map(str, those))}", chosen)
        for name in ("steps", "batch", "patch", "learning_rate", "log_every", "checkpoint_every"):
            if not getattr(self, name) > 0:
                raise ArgumentError(name, "above 0", getattr(self, name))
        for name, decay in (("ema", self.ema), *(("betas", beta) for beta in self.betas)):
            if not 0 <= decay < 1:
                raise ArgumentError(name, "from 0 to below 1", getattr(self, name))
        check_names("model_overrides", self.model_overrides, [entry.name for entry in fields(AFUNetConfig)])

    def network(self) -> AFUNetConfig:
        """Return the configuration of the network."""
        overrides = dict(self.model_overrides)
        if "depths" in overrides:
            overrides["depths"] = tuple(overrides["depths"])
        return replace(VARIANTS[self.model], **overrides)


def shipped_recipes() -> dict[str, Path]:
    """List names and files of the configurations in the package, such as ``compact`` and ``paper/M2``.

    Example:
        >>> {"compact", "full", "paper/kalantari"} <= set(shipped_recipes())
        True
    """
    files = {path.relative_to(RECIPES).with_suffix("").as_posix(): path for path in RECIPES.rglob("*.toml")}
    return dict(sorted(files.items()))


def load_config(path: str | os.PathLike[str], **overrides: Any) -> TrainingConfig:
    """Read a TOML file, or a shipped recipe by its name; keyword arguments win.

    A file may name another one as its ``base``, relative to itself, and hold only what differs. Its tables are merged
    with those of the base entry by entry, except that a table with a ``kind`` of its own stands alone.

    Args:
        path: the file, or a name of :func:`shipped_recipes`. A file of that name goes first.
        **overrides: entries of the configuration; ``"data.root"`` is the entry ``root`` of the table ``data``.
    """
    values = _read_toml(_find(path), ())
    for key, value in overrides.items():
        if value is not None:
            table, _, entry = key.partition(".")
            if entry and not isinstance(values.get(table, {}), dict):
                raise ArgumentError(key, f"{table} to be a table", repr(values[table]))
            values[table] = {**values.get(table, {}), entry: value} if entry else value
    check_names("config", values, [entry.name for entry in fields(TrainingConfig)])
    return TrainingConfig(**values)


def _find(path: str | os.PathLike[str]) -> Path:
    """Return the file of a path or of a recipe's name."""
    found = Path(path)
    if not found.is_file() and found.suffix != ".toml":
        recipes = shipped_recipes()
        if found.as_posix() not in recipes:
            raise ArgumentError("config", f"a TOML file or one of {', '.join(recipes)}", repr(os.fspath(path)))
        found = recipes[found.as_posix()]
    return found.resolve()


def check_names(table: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse entries that a table of the configuration does not have."""
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ArgumentError(table, f"names among {', '.join(sorted(known))}", ", ".join(unknown))


def _read_toml(path: Path, children: tuple[Path, ...]) -> dict[str, Any]:
    """Read the entries of a file over those of its base."""
    if path in children:
        raise ArgumentError("base", "a file that does not lead back to itself", path.name)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # also what is no UTF-8
        raise ArgumentError("config", "a TOML file", f"{path.name}: {error}") from error
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise ArgumentError("base", "the path of a TOML file", repr(base))
    inherited = _read_toml((path.parent / base).resolve(), (*children, path))
    for key, value in values.items():
        if isinstance(value, dict) and "kind" not in value:
            value = {**inherited.get(key, {}), **value}
        inherited[key] = value
    return inherited


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Return the rate at a step: linear warm-up, then cosine (or constant, with cosine over the last ``decay`` steps).

    Example:
        >>> config = TrainingConfig(steps=100, warmup=10, learning_rate=1.0, final_learning_rate=0.0)
        >>> [round(learning_rate(config, step), 2) for step in (0, 9, 55, 100)]
        [0.1, 1.0, 0.5, 0.0]
    """
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    start = config.warmup if config.schedule == "cosine" else max(config.steps - config.decay, config.warmup)
    if step < start:
        return config.learning_rate
    progress = min((step - start) / max(config.steps - start, 1), 1.0)
    span = config.learning_rate - config.final_learning_rate
    return config.final_learning_rate + span * 0.5 * (1 + math.cos(math.pi * progress))

"""Settings of a merge: the core's options, the exposures, and which layers to add; defaults come from preferences.

The core declares its options once (:mod:`afunet_core.utils.options`); the form, the preferences in ``napari.yaml`` and
the checks here follow from the declaration.
"""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Self

from afunet_core.bracket.options import BracketOptions
from afunet_core.merging.options import MergeOptions
from afunet_core.utils.options import GROUPS, Option, option, options_of


def _encoding() -> dict[str, Option]:
    """Return the option for pixels in memory: no file tells their encoding."""
    declared = options_of(BracketOptions)["encoding"]
    choices = {value: text for value, text in declared.choices.items() if value not in declared.needs_files}
    return {"option": replace(declared, choices=choices)}


@dataclass(frozen=True)
class MergeSettings(MergeOptions, BracketOptions):
    """Everything a merge depends on besides the pixels.

    The fields are those of :class:`~afunet_core.bracket.options.BracketOptions` and
    :class:`~afunet_core.merging.options.MergeOptions`, and these.

    Example:
        >>> MergeSettings(ev=(-2, 0, 2), method="weighted").merge_arguments()["method"]
        'weighted'
    """

    encoding: str = field(default="gamma", metadata=_encoding())  # ``gamma``, ``srgb`` or ``linear``
    # exposure of each frame in EV (the difference counts, not the zero), or ``None``
    ev: tuple[float, ...] | None = None
    # exposure of each frame in seconds, or ``None``; only one of the two is given
    times: tuple[float, ...] | None = None
    # layers to add besides the HDR image (``stages`` are the core's)
    tone_mapped: bool = option(
        True,
        label="Tone-mapped view",
        help="Add a layer for the screen that follows the display settings.",
        group="result",
        command_line=False,
    )
    ghost_map: bool = option(
        False,
        label="Ghost map",
        help="Add a map of where a plain weighted merge would have failed.",
        group="result",
        command_line=False,
    )

    @classmethod
    def from_preferences(cls) -> Self:
        """Return the defaults the user chose in napari's preferences; for none, and for what is none, the built-in."""
        stored_groups, chosen = preferences(), cls()
        for each in form_options().values():
            stored = getattr(getattr(stored_groups, each.group, None), each.name, None)
            is_for_files_only = each.kind == "choice" and stored not in each.choices
            if stored is not None and not is_for_files_only:
                with suppress(ValueError):
                    chosen = chosen.replace(**{each.name: _from_preference(each, stored)})
        return chosen

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some values changed."""
        return replace(self, **changes)

    def bracket_arguments(self) -> dict[str, Any]:
        """Return keyword arguments for :class:`afunet_core.Bracket`; channel and plane are the source's."""
        names = [name for name in options_of(BracketOptions) if name not in ("channel", "plane")]
        return {"ev": self.ev, "times": self.times, **{name: getattr(self, name) for name in names}}

    def merge_arguments(self) -> dict[str, Any]:
        """Return keyword arguments for :func:`afunet_core.merge`."""
        return {name: getattr(self, name) for name in options_of(MergeOptions)}

    def changed(self) -> dict[str, Any]:
        """Return the values that differ from the defaults, for a script that says no more than it must."""
        default = MergeSettings()
        return {name: value for name, value in vars(self).items() if value != getattr(default, name)}


def preferences() -> Any:
    """Return this plugin's preferences in napari; ``None`` where there are none."""
    try:
        from napari.settings import get_plugin_settings

        return get_plugin_settings("napari-afunet")
    except (ImportError, KeyError):  # napari before 0.9, or the plugin is not registered
        return None


def form_options() -> dict[str, Option]:
    """Return every option that a form offers, by name, group by group as they are shown."""
    declared = [each for each in options_of(MergeSettings).values() if each.form]
    return {each.name: each for group in GROUPS for each in declared if each.group == group}


def _from_preference(each: Option, stored: Any) -> Any:
    if each.kind == "number":
        if each.empty and stored <= (each.minimum or 0):
            return None
        return type(each.scale)(stored) if each.scale == 1 else round(stored * each.scale)
    return each.value_of(stored) if each.kind == "text" else stored

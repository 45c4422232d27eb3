"""Options declared once: the command line, the widget's form, the preferences, the checks and the docs' table follow.

A preference stores a closed choice or a flag as it is, a number as it is shown, and anything else as the text that
:meth:`Option.value_of` understands. This module imports neither torch nor Qt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from afunet_core.errors import ArgumentError

# Groups of options and their headings, in the order in which interfaces show them.
GROUPS = {
    "frames": "Frames",
    "merging": "Merging",
    "camera": "Camera",
    "network": "Model and device",
    "result": "Result",
}


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option, as interfaces offer it."""

    label: str  # what a form calls it
    help: str  # one or two plain sentences, without the default
    group: str  # a key of :data:`GROUPS`
    choices: Mapping[Any, str] = field(default_factory=dict)  # value → what a form shows for it
    is_open: bool = False  # values beside ``choices`` are possible
    # what a value is made of when it is written as text; it raises ``ValueError`` for what it cannot read
    parse: Callable[[str], Any] = str.strip
    files: str | None = None  # the filter of a file dialogue, where a file is a possible value
    minimum: float | None = None  # of a number, as the six below; what is shown times ``scale`` is the value
    maximum: float | None = None
    step: float = 1.0
    decimals: int = 0
    suffix: str = ""
    scale: float = 1.0
    empty: str | None = None
    flag: str = ""  # on the command line; by default the name with hyphens
    metavar: str | None = None  # of an open value on the command line
    command_line: bool = True  # the interfaces that offer it
    form: bool = True
    # choices that only image files can answer: a form for pixels in memory leaves them out
    needs_files: tuple[Any, ...] = ()
    name: str = ""  # of the field, the keyword argument in Python; filled in by :func:`options_of`
    default: Any = None  # filled in likewise

    @property
    def kind(self) -> Literal["choice", "text", "number", "flag"]:
        """The widget that shows it.

        ``"choice"`` is a closed list of ``choices``; ``"text"`` an editable one, with a browse button if there are
        ``files``; ``"number"`` a spin box, of which the lowest number stands for ``None`` if there is ``empty``;
        ``"flag"`` a check box.
        """
        if isinstance(self.default, bool):
            return "flag"
        if self.minimum is not None:
            return "number"
        return "choice" if self.choices and not self.is_open else "text"

    def value_of(self, text: str) -> Any:
        """The value for a text: of the choice so called, else what ``parse`` reads, which may raise ``ValueError``."""
        text = text.strip()
        for value, shown in self.choices.items():
            if text == shown:
                return value
        return self.parse(text) if text else self.default

    def text_of(self, value: Any) -> str:
        """The text for a value, which :meth:`value_of` turns into it again."""
        if value is None or value in self.choices:
            return self.choices.get(value, "")
        if isinstance(value, tuple):
            return ", ".join(f"{part:g}" for part in value)
        return f"{value:g}" if isinstance(value, float) else str(value)


def option(default: Any, **facts: Any) -> Any:
    """Declare a field of an options class: its default, and attributes of :class:`Option`."""
    return field(default=default, metadata={"option": Option(**facts)})


def options_of(options: type | Any) -> dict[str, Option]:
    """The options that a class declares, by name, in the order of their declaration."""
    declared = ((each, each.metadata["option"]) for each in fields(options) if "option" in each.metadata)
    return {each.name: replace(entry, name=each.name, default=each.default) for each, entry in declared}


def check_choices(options: Any) -> None:
    """Refuse the first value that is none of a closed list's choices."""
    for name, each in options_of(options).items():
        value = getattr(options, name)
        if each.kind == "choice" and not (isinstance(value, str | int | None) and value in each.choices):
            raise ArgumentError(name, "one of " + ", ".join(map(str, each.choices)), repr(value))

"""Options are declared once: the functions that take them, forms, and the command line agree with the declaration."""

import inspect

import pytest

import afunet_core as af
from afunet_core.bracket.options import BracketOptions
from afunet_core.errors import ArgumentError
from afunet_core.merging.options import MergeOptions
from afunet_core.utils.options import GROUPS, Option, options_of

OPTIONS = [(cls, each) for cls in (BracketOptions, MergeOptions) for each in options_of(cls).values()]


@pytest.mark.parametrize(
    ("function", "cls", "besides"),
    [
        (af.merge, MergeOptions, {"bracket", "on_progress", "should_cancel"}),
        (af.Bracket.from_files, BracketOptions, {"paths", "ev", "times"}),
    ],
)
def test_a_function_takes_the_options_that_are_declared(function: object, cls: type, besides: set[str]) -> None:
    parameters = inspect.signature(function).parameters  # type: ignore[arg-type]
    defaults = {name: each.default for name, each in parameters.items() if name not in besides}
    assert defaults == {name: each.default for name, each in options_of(cls).items()}


@pytest.mark.parametrize(("cls", "each"), OPTIONS, ids=lambda part: getattr(part, "name", ""))
def test_an_option_serves_a_form(cls: type, each: Option) -> None:
    assert each.label
    assert each.help.endswith(".")
    assert each.group in GROUPS
    assert each.default in each.choices or each.kind in ("flag", "number") or not each.form
    if each.kind in ("choice", "text"):
        for value in (each.default, *each.choices):
            assert each.value_of(each.text_of(value)) == value


@pytest.mark.parametrize(
    ("cls", "name", "text", "value"),
    [
        (BracketOptions, "black_level", "64,5", 64.5), (BracketOptions, "black_level", " dark.tif ", "dark.tif"),
        (BracketOptions, "white_level", "3700", 3700.0), (BracketOptions, "white_level", "none", None),
        (BracketOptions, "bit_depth", "11", 11), (BracketOptions, "response", "none", None),
        (MergeOptions, "noise", "0.5, 4", (0.5, 4.0)), (MergeOptions, "noise", "0,5; 4", (0.5, 4.0)),
        (MergeOptions, "noise", "", "estimate"),
    ],
)  # fmt: skip
def test_a_text_is_read(cls: type, name: str, text: str, value: object) -> None:
    each = options_of(cls)[name]
    assert each.value_of(text) == value
    assert each.value_of(each.text_of(value)) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("method", "best"), ("align", True), ("border", None), ("drift", ["auto"]), ("units", "lux"),
        ("precision", "float64"), ("noise", 0.5), ("noise", "white"),
    ],
)  # fmt: skip
def test_what_is_no_choice_is_refused(name: str, value: object) -> None:
    with pytest.raises(ArgumentError, match=f"{name}: expected "):
        MergeOptions(**{name: value})

"""Progress over phases, cancel, and warnings that name the caller's line."""

from __future__ import annotations

import warnings

import pytest

from afunet_core.errors import MergeCancelled
from afunet_core.utils.progress import ProgressReporter


def public_function(*arguments: object) -> ProgressReporter:
    reporter = ProgressReporter(*arguments)  # type: ignore[arg-type]
    with reporter.phase("Work", 400):
        for done in (0, 2, 1, 4):
            reporter.report(done, 4, "Working")
    with reporter.phase("Rest", 1000):
        reporter.warn("It is late.")
    return reporter


def test_progress_never_falls_and_a_warning_names_the_caller() -> None:
    seen: list[tuple[int, int, str]] = []
    with warnings.catch_warnings(record=True, action="always") as caught:
        reporter = public_function(lambda *report: seen.append(report))
    assert [done for done, _, _ in seen] == [0, 0, 200, 200, 400, 400, 400, 1000]
    assert {total for _, total, _ in seen} == {1000}
    assert set(reporter.seconds) == {"Work", "Rest"}
    assert reporter.warnings == ["It is late."]
    assert [warning.filename for warning in caught] == [__file__]
    with open(__file__, encoding="utf-8") as source:
        assert "reporter = public_function(" in source.read().splitlines()[caught[0].lineno - 1]


@pytest.mark.parametrize("moment", range(1, 9))
def test_a_cancel_raises_at_the_next_report(moment: int) -> None:
    asked: list[int] = []
    seen: list[int] = []

    def cancel() -> bool:
        asked.append(1)
        return len(asked) == moment

    with pytest.raises(MergeCancelled), warnings.catch_warnings(action="ignore"):
        public_function(lambda *report: seen.append(1), cancel)
    assert len(seen) == moment - 1

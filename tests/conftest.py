"""Options of the whole test suite: the device and dtype of the operators' tests, and slow tests."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

ALLOWED = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.differing_executors)
settings.register_profile("suite", deadline=None, suppress_health_check=ALLOWED)  # nothing depends on speed
settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="device of the operators' tests: cpu, cuda, mps")
    parser.addoption("--dtype", default="float64", help="dtype of the operators' tests: float32, float64, …")
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow (compilers, type checkers)")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes more than some seconds; runs with --slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--slow"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="slow; run with --slow"))

"""Fixtures of the core's tests: a seeded source of tensors and checks every operator must pass.

``--device cuda`` (or the variable ``AFUNET_TEST_DEVICE``) runs them on another device.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from contract import TOLERANCE, leaves_of


class OperatorChecks:
    """Random inputs and the properties that hold for any operator of the package."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def uniform(
        self, *shape: int, low: float = 0.0, high: float = 1.0, dtype: Any = torch.float64, seed: int = 0
    ) -> Any:
        """The same values for the same arguments, on every device."""
        generator = torch.Generator().manual_seed(seed)
        values = torch.rand(shape, generator=generator, dtype=torch.float64)
        return (low + (high - low) * values).to(self.device, dtype)

    def close(self, actual: Any, expected: Any, tolerance: float | None = None) -> None:
        """Equal up to what the dtype of ``actual`` allows; shapes must be equal, not merely broadcastable."""
        actual = torch.as_tensor(actual)
        expected = torch.as_tensor(expected, device=actual.device).to(actual.dtype)
        tolerance = TOLERANCE[actual.dtype] if tolerance is None else tolerance
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)

    def gradients(self, function: Callable[..., Tensor], *inputs: Tensor, fast: bool = True) -> None:
        """Analytic gradients equal numeric ones in float64, for every floating input."""
        assert torch.autograd.gradcheck(function, leaves_of(inputs), fast_mode=fast)

    def finite_gradients(self, function: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
        """Gradients without NaN or Inf, at the kinks and edges where a numeric gradient means nothing."""
        leaves = [value.detach().clone().requires_grad_() for value in inputs]
        gradients = torch.autograd.grad(function(*leaves).sum(), leaves)
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
        return list(gradients)


@pytest.fixture(scope="session")
def device(pytestconfig: pytest.Config) -> torch.device:
    return torch.device(os.environ.get("AFUNET_TEST_DEVICE") or pytestconfig.getoption("--device"))


@pytest.fixture(scope="session")
def checks(device: torch.device) -> OperatorChecks:
    return OperatorChecks(device)


@pytest.fixture(scope="session")
def dtype(pytestconfig: pytest.Config) -> torch.dtype:
    return getattr(torch, pytestconfig.getoption("--dtype"))

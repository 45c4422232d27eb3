"""The contract of the differentiable operators: properties that hold for every one of them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import pytest
import torch
from torch import Tensor, nn

from afunet_core.errors import AFUNetError

Function: TypeAlias = Callable[..., Any]
Inputs: TypeAlias = Sequence[Tensor]

# What rounding alone may do, per dtype: about eight units in the last place, relative and absolute.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6, torch.float16: 1e-2, torch.bfloat16: 8e-2}


def leaves_of(inputs: Inputs) -> list[Tensor]:
    """The same values in double precision, of which gradients are wanted."""
    return [value.detach().double().requires_grad_() for value in inputs]


class Contract:
    """Duties of every differentiable operator of the package, one method a property.

    Each method takes the operator as a function of tensors; numbers and modes are bound to it already.
    """

    def smoke(self, function: Function, inputs: Inputs) -> None:
        """All four floating dtypes give a finite result of their own, near that of float64; inputs stay as they are."""
        exact = _tensor(function(*inputs))
        for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
            cast = [value.to(dtype) for value in inputs]
            before = [value.clone() for value in cast]
            result = _tensor(function(*cast))
            assert result.dtype == dtype
            assert result.device == inputs[0].device
            assert all(torch.equal(value, kept) for value, kept in zip(cast, before, strict=True)), "input changed"
            tolerance = 8 * TOLERANCE[dtype]
            torch.testing.assert_close(result.double(), exact.double(), rtol=tolerance, atol=tolerance)

    def refusals(self, function: Function, inputs: Inputs, case: Any) -> None:
        """Arrays, `None`, text, integer tensors and plain numbers in place of a tensor raise `TensorTypeError`.

        It is a `TypeError` and a `ValueError` and names the argument; so are numbers refused that are none.
        """
        for index, name in enumerate(case.names):
            wrong: list[Any] = [inputs[index].numpy(force=True), None, "image", inputs[index].mul(255).to(torch.uint8)]
            for value in wrong if case.takes_numbers else [*wrong, 0.5]:
                changed = [*inputs[:index], value, *inputs[index + 1 :]]
                with pytest.raises(AFUNetError, match=name) as caught:
                    function(*changed)
                assert isinstance(caught.value, TypeError), f"{name} of type {type(value)}"
        for name in case.numbers:
            for number in ("1", float("nan"), [1.0, 2.0], torch.tensor([1, 2])):
                with pytest.raises(AFUNetError, match=name):
                    function(*inputs, **{name: number})

    def gradcheck(self, function: Function, inputs: Inputs) -> None:
        """Gradients agree with differences."""
        assert torch.autograd.gradcheck(function, leaves_of(inputs), fast_mode=True)

    def gradgradcheck(self, function: Function, inputs: Inputs) -> None:
        """Second derivatives agree with differences."""
        assert torch.autograd.gradgradcheck(function, leaves_of(inputs), fast_mode=True, atol=1e-4)

    def jvp(self, function: Function, inputs: Inputs) -> None:
        """Forward-mode derivatives agree with differences."""
        options = {"check_forward_ad": True, "check_backward_ad": False, "fast_mode": True}
        assert torch.autograd.gradcheck(function, leaves_of(inputs), **options)

    def vmap(self, function: Function, inputs: Inputs) -> None:
        """`torch.func.vmap`, of the operator and of its gradient."""
        stacked = [torch.stack([value, value.flip(-1)]) for value in inputs]
        together = torch.func.vmap(function)(*stacked)
        apart = torch.stack([_tensor(function(*(value[index] for value in stacked))) for index in range(2)])
        torch.testing.assert_close(together, apart)
        gradient = torch.func.grad(lambda *values: _tensor(function(*values)).sum())
        expected = torch.stack([gradient(*(value[index] for value in stacked)) for index in range(2)])
        torch.testing.assert_close(torch.func.vmap(gradient)(*stacked), expected)

    def layouts(self, function: Function, inputs: Inputs) -> None:
        """Channels-last and other strided tensors give the same result."""
        expected = _tensor(function(*inputs))
        last = [value.to(memory_format=torch.channels_last) if value.ndim == 4 else value for value in inputs]
        strided = [torch.stack([value, value], -1)[..., 0] for value in inputs]
        for other in (last, strided):
            torch.testing.assert_close(_tensor(function(*other)), expected)

    def meta(self, function: Function, inputs: Inputs) -> None:
        """Shapes and dtypes are found without values."""
        expected, found = function(*inputs), function(*(value.to("meta") for value in inputs))
        assert found.device.type == "meta"
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)

    def empty(self, function: Function, inputs: Inputs) -> None:
        """A batch of no samples gives a result for none of them, and a gradient."""
        nothing = [value[:0].detach().requires_grad_() for value in inputs]
        expected, found = function(*inputs), function(*nothing)
        assert found.shape == ((0, *expected.shape[1:]) if expected.ndim else ())
        found.sum().backward()

    def compiled(self, function: Function, inputs: Inputs, axis: int | None = None) -> None:
        """`torch.compile(fullgraph=True, dynamic=True)` on two sizes."""
        fast, wider = _compile(function, dynamic=None if axis else True), 4 if axis else 3
        if axis:
            torch._dynamo.mark_dynamic(inputs[0], axis)
        larger = _wider(inputs, wider)
        with torch._dynamo.config.patch(error_on_recompile=axis is not None):
            for values in (inputs, larger):
                torch.testing.assert_close(fast(*values), function(*values))

    def compiled_numbers(self, function: Function, inputs: Inputs, case: Any) -> None:
        """`torch.compile(fullgraph=True)` called with three values of each number."""
        fast = _compile(function, dynamic=None)
        for share in (0.0, 1.0, 0.5):
            given = {name: first + share * (second - first) for name, (first, second) in case.numbers.items()}
            torch.testing.assert_close(fast(*inputs, **given), function(*inputs, **given))

    def exported(self, function: Function, inputs: Inputs) -> None:
        """`torch.export` with a symbolic width, run on two."""
        module = function if isinstance(function, nn.Module) else _Wrapped(function)
        width = torch.export.Dim("width", min=inputs[0].shape[-1], max=4096)
        shapes = tuple({3: width} if value.ndim == 4 else None for value in inputs)
        shapes = shapes if isinstance(function, nn.Module) else (shapes,)
        program = torch.export.export(module, tuple(inputs), dynamic_shapes=shapes).module()
        for values in (inputs, _wider(inputs, 3)):
            torch.testing.assert_close(program(*values), module(*values))

    def per_sample(self, function: Function, inputs: Inputs, case: Any) -> None:
        """Each number may be a tensor (B,), one value a sample."""
        batch = [torch.cat([value, value.flip(-1)])[:3] if value.ndim == 4 else value for value in inputs]
        batch = [value[:, :3, :3, :3] if value.ndim == 4 and value.shape[1:] == (3, 4, 6) else value for value in batch]
        function = case.with_numbers()
        for name, (low, high) in case.numbers.items():
            values = torch.linspace(low, high, 3, dtype=inputs[0].dtype, device=inputs[0].device)
            together = _tensor(function(*batch, **{name: values}))
            for index, value in enumerate(values.tolist()):
                alone = [part[index : index + 1] if part.ndim == 4 else part for part in batch]
                torch.testing.assert_close(together[index : index + 1], _tensor(function(*alone, **{name: value})))
            with pytest.raises(AFUNetError, match=name):
                function(*batch, **{name: values[:2]})

    def held_tensors(self, function: Function, inputs: Inputs, case: Any) -> None:
        """An `nn.Parameter` given to the module trains, another tensor is a buffer; both are in its state."""
        make = case.module
        for name, (value, _) in case.numbers.items():
            fixed = make(**{name: torch.tensor(value)})
            assert list(fixed.state_dict()) == [name]
            assert getattr(fixed.double(), name).dtype == torch.float64
            learned = make(**{name: nn.Parameter(torch.tensor(value, dtype=inputs[0].dtype))})
            _tensor(learned(*inputs)).square().sum().backward()
            (parameter,) = learned.parameters()
            assert parameter.grad is not None
            assert parameter.grad != 0
            torch.testing.assert_close(_tensor(learned(*inputs)), _tensor(make(**{name: value})(*inputs)))

    def copies(self, function: Function, inputs: Inputs, case: Any) -> None:
        """`deepcopy`, `pickle`, `functional_call`, `to_empty` and `load_state_dict` give the function's result."""
        held = {name: torch.tensor(values[0]) for name, values in case.numbers.items()}
        module = case.module(**held).to(inputs[0])
        expected = _tensor(module(*inputs))
        if not list(module.parameters()):  # a network has no function beside it
            torch.testing.assert_close(expected, _tensor(case.with_numbers()(*inputs)), rtol=1e-6, atol=1e-7)
        hollow = copy.deepcopy(module).to("meta").to_empty(device=inputs[0].device)
        hollow.load_state_dict(module.state_dict())
        for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), hollow):
            assert torch.equal(_tensor(other(*inputs)), expected)
        state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        assert torch.equal(_tensor(torch.func.functional_call(module, state, tuple(inputs))), expected)
        assert type(module).__name__ in repr(module)

    def fake_cuda(self, function: Function, inputs: Inputs) -> None:
        """On pretended CUDA tensors nothing stays on the CPU and no value is waited for."""
        from torch._subclasses.fake_tensor import FakeTensorMode

        def elsewhere(device: str) -> Any:
            return function(*(torch.empty(value.shape, dtype=value.dtype, device=device) for value in inputs))

        try:
            with FakeTensorMode():
                found = elsewhere("cuda")
        except RuntimeError:
            if torch.cuda.is_available():
                raise
            found = elsewhere("meta")  # convolutions ask for a driver; meta shows the same two mistakes
        assert found.device.type in ("cuda", "meta")
        assert found.shape == _tensor(function(*inputs)).shape


class _Wrapped(nn.Module):
    """A function as a module, which ``torch.export`` wants."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


def _compile(function: Function, dynamic: bool | None) -> Function:
    """The front half of the compiler, which is what an operator can break; the code it would make is torch's own."""
    torch._dynamo.reset()
    return torch.compile(function, backend="eager", fullgraph=True, dynamic=dynamic)


def _wider(inputs: Inputs, columns: int) -> list[Tensor]:
    """Images with their first columns once more at the right."""
    return [torch.cat([value, value[..., :columns]], -1) if value.ndim == 4 else value for value in inputs]


def _tensor(result: Any) -> Tensor:
    assert isinstance(result, Tensor)
    return result

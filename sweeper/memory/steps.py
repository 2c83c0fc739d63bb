"""Peak bytes of a training step: followed on tensors without storage, or on real ones.

It takes a Lightning trainer that stands before its first step; it trains nothing.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from torch.optim import Optimizer
from torch.utils.flop_counter import FlopCounterMode

HALF = ("16-mixed", "bf16-mixed", "16", "bf16")
LOGGING = ("log", "log_dict", "print", "toggle_optimizer", "untoggle_optimizer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a training step takes.

    Attributes:
        peak_bytes: the most that is allocated at once, weights and all.
        state_bytes: weights, buffers and the optimiser's state: what a checkpoint has.
        flops: floating-point operations of forward and backward.
    """

    peak_bytes: int
    state_bytes: int
    flops: int
    parameters: int


def follow(
    module: nn.Module,
    optimizers: Iterable[Optimizer],
    batch: object,
    *,
    run_step: Callable[[nn.Module, object], object],
    precision: str,
    extra: Iterable[Tensor] = (),
    is_automatic: bool = True,
    keeps_gradients: bool = False,
    is_fake: bool = True,
) -> Step:
    """Run a step and track what is allocated.

    Args:
        batch: any nesting of tensors.
        run_step: the forward pass; returns the loss, or a mapping with `loss`.
        precision: Lightning's; a half precision is stood for by bf16 on the CPU.
        extra: what lies on the device besides, such as an average of the weights.
        is_automatic: whether backward and the optimiser's step are ours to make.
        keeps_gradients: whether gradients are accumulated over steps.
        is_fake: on tensors without storage: no memory, no arithmetic.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True) if is_fake else None
    optimizers = list(optimizers)
    others = list(extra)
    if mode is not None:
        memo = _Fakes(mode)
        _replace(module, memo, optimizers)
        batch = memo.tree(batch)
        others = [memo(tensor) for tensor in others]
    _prepare(module, optimizers)
    with mode or nullcontext():
        if is_automatic:
            _make_state(optimizers)
        tracker = MemTracker()
        tracker.track_external(module, *optimizers, *leaves(batch), *others)
        counter = FlopCounterMode(display=False)
        with tracker, counter:
            for _ in range(2 if keeps_gradients else 1):
                tracker.reset_mod_stats()
                with _autocast(precision):
                    result = run_step(module, batch)
                if is_automatic:
                    loss_of(result).backward()  # type: ignore[no-untyped-call]
                del result
            for optimizer in optimizers if is_automatic else ():
                optimizer.step()
    peak = tracker.get_tracker_snapshot("peak")
    return Step(
        peak_bytes=max(int(device["Total"]) for device in peak.values()),
        state_bytes=_bytes(_state(module, optimizers)),
        flops=int(counter.get_total_flops()) // (2 if keeps_gradients else 1),
        parameters=sum(p.numel() for p in module.parameters()),
    )


def _prepare(module: nn.Module, optimizers: Sequence[Optimizer]) -> None:
    """No metrics, no logging, and optimisers that step as they do on a GPU."""
    without_metrics(module)
    for name in LOGGING:
        if hasattr(module, name):
            setattr(module, name, _nothing)
    for group in (g for optimizer in optimizers for g in optimizer.param_groups):
        if not group.get("fused") and "foreach" in group:
            group["foreach"] = True  # what a GPU takes by default; it needs temporaries


def _autocast(precision: str) -> AbstractContextManager[object]:
    if precision in HALF:
        return torch.autocast("cpu", dtype=torch.bfloat16)
    return nullcontext()


def loss_of(result: object) -> Tensor:
    """The loss in what a training step returns.

    Raises:
        ValueError: there is none.
    """
    found = result["loss"] if isinstance(result, Mapping) else result
    if not isinstance(found, Tensor):
        raise ValueError(f"training_step returned {type(result).__name__}, not a loss")
    return found


def leaves(tree: object) -> Iterator[Tensor]:
    """The tensors of a nesting."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        for child in tree.values():
            yield from leaves(child)
    elif isinstance(tree, list | tuple):
        for child in tree:
            yield from leaves(child)


def mapped(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same nesting with each tensor changed."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, Mapping):
        made: Any = type(tree)
        return made({key: mapped(child, change) for key, child in tree.items()})
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(mapped(child, change) for child in tree))
    if isinstance(tree, list | tuple):
        return type(tree)(mapped(child, change) for child in tree)
    return tree


def without_metrics(module: nn.Module) -> None:
    """Keep torchmetrics out: a few bytes, but they ask for the values of tensors."""
    for child in module.modules():
        names = {base.__name__ for base in type(child).__mro__}
        if "Metric" in names and hasattr(child, "update"):
            for name in ("update", "reset"):
                object.__setattr__(child, name, _nothing)
            for name in ("forward", "compute"):
                object.__setattr__(child, name, _zero)


def _nothing(*_: object, **__: object) -> None:
    return None


def _zero(*_: object, **__: object) -> Tensor:
    return torch.zeros(())


class _Fakes:
    """Stand-ins without storage, one for each tensor: tied weights stay tied."""

    def __init__(self, mode: FakeTensorMode) -> None:
        self._mode = mode
        self._memo: dict[int, Tensor] = {}
        self._kept: list[Tensor] = []  # an id is one tensor's as long as that lives

    def __call__(self, tensor: Tensor) -> Tensor:
        if id(tensor) not in self._memo:
            made: Tensor = self._mode.from_tensor(tensor.detach())
            if isinstance(tensor, nn.Parameter):
                made = nn.Parameter(made, requires_grad=tensor.requires_grad)
            self._memo[id(tensor)] = made
            self._kept.append(tensor)
        return self._memo[id(tensor)]

    def tree(self, batch: object) -> object:
        return mapped(batch, self)


def _replace(module: nn.Module, memo: _Fakes, optimizers: list[Optimizer]) -> None:
    for child in module.modules():
        for tensors in (child._parameters, child._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    tensors[name] = memo(tensor)  # type: ignore[assignment]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["params"] = [memo(parameter) for parameter in group["params"]]
        optimizer.state.clear()


def _make_state(optimizers: list[Optimizer]) -> None:
    """Let each optimiser make its state, as the first step of a training does."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.requires_grad:
                    parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def _state(module: nn.Module, optimizers: Iterable[Optimizer]) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()
    for optimizer in optimizers:
        for state in optimizer.state.values():
            yield from leaves(state)


def _bytes(tensors: Iterable[Tensor]) -> int:
    unique = {id(t): t.numel() * t.element_size() for t in tensors}
    return sum(unique.values())


def takes_index(step: Callable[..., object]) -> bool:
    """Whether a training step takes the index of the batch beside the batch."""
    with contextlib.suppress(ValueError):
        return len(inspect.signature(step).parameters) > 1
    return True

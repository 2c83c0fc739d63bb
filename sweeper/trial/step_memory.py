"""Peak bytes of a training step: followed on tensors without storage, or on real ones.

It takes a module and optimizers that have not made a step; it trains nothing.
"""

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sweeper.trial.compat import torch as compat

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

HALF = ("16-mixed", "bf16-mixed", "16", "bf16")
LOGGING = ("log", "log_dict", "print", "toggle_optimizer", "untoggle_optimizer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The memory and arithmetic of a training step.

    Attributes:
        peak_bytes: the most that is allocated at once, weights included.
        state_bytes: weights, buffers and the optimiser's state, which a checkpoint has.
        flops: floating-point operations of forward and backward.
        parameters: number of weights.
    """

    peak_bytes: int
    state_bytes: int
    flops: int
    parameters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSetup:
    """A training step to be followed.

    Attributes:
        batch: any nesting of tensors.
        run_step: the forward pass; returns the loss, or a mapping with `loss`.
        precision: Lightning's; bf16 on the CPU stands in for every half precision.
        extra: other tensors on the device, such as an average of the weights.
        is_automatic: whether backward and the optimiser's step are ours to make.
        keeps_gradients: whether gradients are accumulated over steps.
        is_fake: whether on tensors without storage: no memory, no arithmetic.
    """

    module: "nn.Module"
    optimizers: "Sequence[Optimizer]"
    batch: object
    run_step: "Callable[[nn.Module, object], object]"
    precision: str
    extra: "Sequence[Tensor]" = ()
    is_automatic: bool = True
    keeps_gradients: bool = False
    is_fake: bool = True

    @property
    def num_passes(self) -> int:
        """Forward and backward passes; in the second one, gradients are kept."""
        return 2 if self.keeps_gradients else 1


def follow(setup: StepSetup) -> Step:
    """Run a step and return its memory; the module is of no use afterwards."""
    mode = compat.fake_tensor_mode() if setup.is_fake else None
    if mode is not None:
        setup = _without_storage(setup, mode)
    _prepare(setup.module, setup.optimizers)
    with mode or nullcontext():
        tracker, flops = _run(setup)
    return _read(setup, tracker, flops)


def _without_storage(setup: StepSetup, mode: Any) -> StepSetup:
    def fake(tensor: "Tensor") -> Any:
        # The mode has one stand-in for each tensor, so ties stay tied.
        return mode.from_tensor(tensor if tensor.is_leaf else tensor.detach())

    for child in setup.module.modules():
        for tensors in compat.own_tensors(child):
            for name, tensor in tensors.items():
                if tensor is not None:
                    tensors[name] = fake(tensor)
    for optimizer in setup.optimizers:
        for group in optimizer.param_groups:
            group["params"] = [fake(p) for p in group["params"]]
        optimizer.state.clear()
    extra = [fake(tensor) for tensor in setup.extra]
    return replace(setup, batch=mapped(setup.batch, fake), extra=extra)


def _run(setup: StepSetup) -> tuple[Any, int]:
    """Make the step; return the tracker of its memory and its FLOPs."""
    from torch.utils.flop_counter import FlopCounterMode

    module, optimizers = setup.module, setup.optimizers
    if setup.is_automatic:
        _make_state(optimizers)
    tracker = compat.memory_tracker()
    tracker.track_external(module, *optimizers, *leaves(setup.batch), *setup.extra)
    counter = FlopCounterMode(display=False)
    with tracker, counter:
        for _ in range(setup.num_passes):
            tracker.reset_mod_stats()
            with _autocast(setup.precision):
                result = setup.run_step(module, setup.batch)
            if setup.is_automatic:
                loss_of(result).backward()  # type: ignore[no-untyped-call]
            del result
        for optimizer in optimizers if setup.is_automatic else ():
            optimizer.step()
    return tracker, int(counter.get_total_flops())


def _read(setup: StepSetup, tracker: Any, flops: int) -> Step:
    peak = tracker.get_tracker_snapshot("peak")
    state = [*setup.module.parameters(), *setup.module.buffers()]
    for optimizer in setup.optimizers:
        state += leaves(list(optimizer.state.values()))
    return Step(
        peak_bytes=max(int(device["Total"]) for device in peak.values()),
        state_bytes=sum(t.nbytes for t in {id(t): t for t in state}.values()),
        flops=flops // setup.num_passes,
        parameters=sum(p.numel() for p in setup.module.parameters()),
    )


def _prepare(module: "nn.Module", optimizers: "Sequence[Optimizer]") -> None:
    """Turn off metrics and logging; have optimisers step as they do on a GPU."""
    without_metrics(module)
    for name in LOGGING:
        if hasattr(module, name):
            setattr(module, name, _nothing)
    for group in (g for optimizer in optimizers for g in optimizer.param_groups):
        if not group.get("fused") and "foreach" in group:
            group["foreach"] = True  # a GPU's default; it needs temporaries


def _autocast(precision: str) -> AbstractContextManager[object]:
    import torch

    if precision in HALF:
        return torch.autocast("cpu", dtype=torch.bfloat16)
    return nullcontext()


def loss_of(result: object) -> "Tensor":
    """Return the loss of what a training step returned.

    Raises:
        ValueError: there is none.
    """
    from torch import Tensor

    loss = result["loss"] if isinstance(result, Mapping) else result
    if not isinstance(loss, Tensor):
        raise ValueError(f"training_step returned {type(loss).__name__}, not a loss")
    return loss


def mapped(tree: Any, change: "Callable[[Tensor], Any]") -> Any:
    """Return the same nesting with each tensor changed."""
    from lightning_utilities import apply_to_collection
    from torch import Tensor

    return apply_to_collection(tree, Tensor, change, allow_frozen=True)


def leaves(tree: object) -> "list[Tensor]":
    """Return the tensors of a nesting."""
    tensors: list[Tensor] = []
    mapped(tree, tensors.append)
    return tensors


def without_metrics(module: "nn.Module") -> None:
    """Turn torchmetrics off: they take a few bytes, but ask for values of tensors."""
    for child in module.modules():
        names = {base.__name__ for base in type(child).__mro__}
        if "Metric" in names and hasattr(child, "update"):
            for name in ("update", "reset"):
                object.__setattr__(child, name, _nothing)
            for name in ("forward", "compute"):
                object.__setattr__(child, name, _zero)


def _nothing(*_: object, **__: object) -> None:
    return None


def _zero(*_: object, **__: object) -> "Tensor":
    import torch

    return torch.zeros(())


def _make_state(optimizers: "Sequence[Optimizer]") -> None:
    """Let each optimiser make its state, as the first step of a training does."""
    import torch

    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.requires_grad:
                    parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def takes_index(step: Callable[..., object]) -> bool:
    """Return whether a training step takes the index of the batch, too."""
    with contextlib.suppress(ValueError):
        return len(inspect.signature(step).parameters) > 1
    return True

"""A trial's target, run up to its first training step and no further.

It works for any target that fits a Lightning Trainer; nothing is trained, logged or
saved, and the process is of no use afterwards.
"""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.utils.data import DataLoader

from sweeper import callbacks
from sweeper.callbacks import ActiveTrial
from sweeper.memory import steps
from sweeper.memory.guesses import is_average_class
from sweeper.memory.steps import Step
from sweeper.protocol import Report
from sweeper.trial import Decision, TrialSpec

PACKAGES = ("lightning.pytorch", "pytorch_lightning")
FIXED: Mapping[str, object] = {
    **{"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto"},
    **{"precision": "32-true", "logger": False, "plugins": None, "profiler": None},
    **{"enable_checkpointing": False, "enable_progress_bar": False},
    **{"enable_model_summary": False, "benchmark": None, "deterministic": None},
    **{"sync_batchnorm": False, "num_sanity_val_steps": 0},
}
TINY = (2, 4)  # batch sizes of the measurement on the CPU


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a run up to the first step has shown.

    Attributes:
        steps: training batches of an epoch, 0 where they have no end.
        epochs: `max_epochs` of the trainer, 0 for none.
    """

    step: Step
    precision: str
    optimizer: str
    batch_size: int
    steps: int
    epochs: int


class Reached(BaseException):
    """Unwinds a target once the step was followed; no `except Exception` stops it."""


class StepError(Exception):
    """The step cannot be followed; the target itself came as far as to it."""


@dataclass(slots=True)
class _Watch:
    precision: str = "32-true"
    seen: Seen | None = None
    error: str = ""


def run(
    target: Callable[[DictConfig], object],
    config: DictConfig,
    *,
    folder: Path,
    is_fake: bool,
) -> Seen:
    """Call a target and follow its first training step.

    Args:
        folder: where the target may write.
        is_fake: follow it on tensors without storage; else on real ones with a
            batch of 2 and of 4, and fit a line through the two.

    Raises:
        StepError: the step was reached and could not be followed.
        Exception: whatever the target raises before it.
    """
    watch = _Watch()
    _intercept(watch, is_fake=is_fake)
    callbacks.activate(_without_trainer(folder))
    try:
        target(config)
    except Reached as reached:
        watch.error = watch.error or str(reached)
    except Exception:
        if watch.seen is None and not watch.error:
            raise
        # The teardown of a trainer that holds tensors without storage.
    finally:
        callbacks.activate(None)
    if watch.seen is None:
        raise StepError(watch.error or "the target returned without Trainer.fit")
    return watch.seen


class _Loop(ActiveTrial):
    """Ends a training loop without a Trainer at its first report."""

    def report(self, report: Report) -> Decision:
        raise Reached("a loop without a Lightning Trainer")


def _without_trainer(folder: Path) -> ActiveTrial:
    """A trial of which only that it runs is true."""
    names = inspect.signature(TrialSpec).parameters
    blank: dict[str, Any] = {
        name: "" for name, p in names.items() if p.default is inspect.Parameter.empty
    }
    spec = TrialSpec(**{**blank, "overrides": (), "params": {}, "folder": str(folder)})

    return _Loop(spec=spec)


def pretend_gpu() -> None:
    """Have torch say that there is a GPU: projects choose their precision by it."""
    torch.cuda.is_available = lambda: True


def _intercept(watch: _Watch, *, is_fake: bool) -> None:
    """Make every Trainer a CPU one that stops before its first step."""
    os.environ["WANDB_MODE"] = "disabled"
    for package in PACKAGES:
        if package not in sys.modules:
            continue
        trainer_class = importlib.import_module(package).Trainer
        begin = trainer_class.__init__

        def patched(self: Any, *args: Any, __begin: Any = begin, **kwargs: Any) -> None:
            callbacks.activate(None)
            watch.precision = str(kwargs.get("precision") or "32-true")
            kept = [
                c for c in _listed(kwargs.get("callbacks")) if is_average_class(type(c))
            ]
            __begin(self, *args, **{**kwargs, **FIXED, "callbacks": kept})

        def stop(self: Any) -> None:
            torch.cuda.is_available = lambda: False
            try:
                watch.seen = _follow(self, watch.precision, is_fake=is_fake)
            except Exception as error:
                watch.error = f"{type(error).__name__}: {error}".splitlines()[0]
            raise Reached

        trainer_class.__init__ = patched
        trainer_class._run_stage = stop


def _listed(given: Any) -> list[object]:
    return list(given) if isinstance(given, list | tuple) else [given] if given else []


def _follow(trainer: Any, precision: str, *, is_fake: bool) -> Seen:
    module: Any = trainer.lightning_module
    trainer.fit_loop.setup_data()
    batch = _first(trainer.train_dataloader)
    size = batch_size(batch)
    num_steps = trainer.num_training_batches
    optimizers = list(trainer.strategy.optimizers)
    extra = [
        t for c in trainer.callbacks if is_average_class(type(c)) for t in _tensors(c)
    ]

    def measure(part: object) -> Step:
        return steps.follow(
            module,
            optimizers,
            part,
            run_step=lambda m, b: _training_step(trainer, m, b),
            precision=precision,
            extra=extra,
            is_automatic=bool(module.automatic_optimization),
            keeps_gradients=trainer.accumulate_grad_batches > 1,
            is_fake=is_fake,
        )

    if is_fake:
        step = measure(batch)
    else:
        low, high = (measure(cut(batch, size, to=n)) for n in TINY)
        step = line(low, high, size=size)
    return Seen(
        step=step,
        precision=precision,
        optimizer="+".join(type(o).__name__ for o in optimizers),
        batch_size=size,
        steps=int(num_steps) if num_steps != float("inf") else 0,
        epochs=max(trainer.max_epochs or 0, 0),
    )


def _training_step(trainer: Any, module: Any, batch: object) -> object:
    moved = trainer.strategy.batch_to_device(batch, dataloader_idx=0)
    arguments = (0,) if steps.takes_index(module.training_step) else ()
    result: object = module.training_step(moved, *arguments)
    return result


def _first(loaders: Any) -> object:
    """The first batch of a loader, or of each loader of a nesting, in this process."""
    if isinstance(loaders, Mapping):
        return {name: _first(loader) for name, loader in loaders.items()}
    if isinstance(loaders, list | tuple):
        return [_first(loader) for loader in loaders]
    if isinstance(loaders, DataLoader):
        loaders.num_workers = 0
        loaders.pin_memory = False
        loaders.prefetch_factor = None
    return next(iter(loaders))


def _tensors(holder: object) -> Iterator[Tensor]:
    for value in vars(holder).values():
        if isinstance(value, nn.Module):
            yield from value.parameters()
            yield from value.buffers()
        else:
            yield from steps.leaves(value)


def batch_size(batch: object) -> int:
    """Length of the first tensor with a first dimension, 0 for none."""
    return next((len(t) for t in steps.leaves(batch) if t.ndim), 0)


def cut(batch: object, size: int, *, to: int) -> object:
    """A smaller batch: the first examples of each tensor that has them all."""
    return steps.mapped(batch, lambda t: t[:to] if t.ndim and len(t) == size else t)


def line(low: Step, high: Step, *, size: int) -> Step:
    """The step of a batch of `size` on the line through those of `TINY`."""

    def at(a: int, b: int) -> int:
        slope = max(0.0, (b - a) / (TINY[1] - TINY[0]))
        return max(b, int(b + slope * (size - TINY[1])))

    return Step(
        peak_bytes=at(low.peak_bytes, high.peak_bytes),
        state_bytes=high.state_bytes,
        flops=at(low.flops, high.flops),
        parameters=high.parameters,
    )

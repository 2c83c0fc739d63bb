"""The first training step of a target, traced in a process that is forked for it.

`python -m sweeper.trial.memory_trace` reads a request, one line of JSON, and prints a
line for each trial; the output of the targets goes to standard error. Any target that
fits a Lightning Trainer can be traced; nothing is trained, logged or saved.
"""

import contextlib
import importlib
import inspect
import json
import os
import select
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.protocol import Decision, Report, TrialSpec
from sweeper.system import orphans
from sweeper.system.targets import put_on_path
from sweeper.trial import active_trial, importing, job, one_batch, step_memory
from sweeper.trial.active_trial import ActiveTrial
from sweeper.trial.compat import lightning as compat_lightning
from sweeper.trial.compat import torch as compat
from sweeper.trial.step_memory import Step, StepSetup

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from torch import Tensor

LIMIT_SECONDS = 120.0
NOTE_LENGTH = 1000  # an answer must fit into a pipe, which nobody reads meanwhile
AVERAGES = ("ema", "averag")  # in the names of callbacks with weights of their own
TINY = (2, 4)  # batch sizes of the measurement on the CPU
FIXED: Mapping[str, object] = {
    **{"logger": False, "profiler": None, "enable_checkpointing": False},
    **{"enable_progress_bar": False, "enable_model_summary": False},
    **{"benchmark": None, "deterministic": None, "num_sanity_val_steps": 0},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way to learn the memory of a step.

    Attributes:
        name: `how` of the prediction.
        is_fake: whether the step is followed on tensors without storage; else it runs
            on the CPU with tiny batches.
        has_gpu: whether torch says that there is a GPU.
        only_after: the fault of the method before it for which it is worth trying.
    """

    name: str
    is_fake: bool = True
    has_gpu: bool = True
    only_after: str = ""


METHODS: Sequence[Method] = (
    Method(name="followed"),
    Method(name="followed", has_gpu=False, only_after="target"),
    Method(name="measured on the CPU", is_fake=False, only_after="step"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceResult:
    """The first step of a training.

    Attributes:
        peak_bytes: as `Step` has it, and so the next three.
        steps: training batches of an epoch, 0 if they have no end.
        epochs: `max_epochs` of the trainer, 0 if it has none.
    """

    peak_bytes: int
    state_bytes: int
    flops: int
    parameters: int
    precision: str
    optimizer: str
    batch_size: int
    steps: int
    epochs: int


class Reached(BaseException):
    """Unwinds a target at its first step; no `except Exception` stops it."""


class StepError(Exception):
    """The target reached its first step, which cannot be traced."""


@dataclass(slots=True)
class _Watch:
    precision: str = "32-true"
    result: TraceResult | None = None
    error: str = ""


class _Loop(ActiveTrial):
    """The trial of a training loop without a Trainer; its first report ends it."""

    def report(self, report: Report) -> Decision:
        raise Reached("a loop without a Lightning Trainer")


def trace(
    target: "Callable[[DictConfig], object]",
    config: "DictConfig",
    *,
    folder: Path,
    is_fake: bool,
) -> TraceResult:
    """Call a target up to its first training step; the process is of no use afterwards.

    Args:
        folder: where the target may write.
        is_fake: follow the step on tensors without storage; else run it with a batch
            of 2 and of 4, and fit a line through the two.

    Raises:
        StepError: the step was reached and could not be traced.
        Exception: whatever the target raises before it.
    """
    watch = _Watch()
    _intercept(watch, is_fake=is_fake)
    names = inspect.signature(TrialSpec).parameters.values()
    blank: dict[str, Any] = {
        p.name: "" for p in names if p.default is inspect.Parameter.empty
    }
    blank |= {"overrides": (), "params": {}, "folder": str(folder)}
    active_trial.activate(_Loop(spec=TrialSpec(**blank)))
    try:
        target(config)
    except Reached as reached:
        watch.error = watch.error or str(reached)
    except Exception:
        if watch.result is None and not watch.error:
            raise
        # The teardown of a trainer that holds tensors without storage.
    finally:
        active_trial.activate(None)
    if watch.result is None:
        raise StepError(watch.error or "the target returned without Trainer.fit")
    return watch.result


def _intercept(watch: _Watch, *, is_fake: bool) -> None:
    """Have every Trainer stop before its first step and trace it."""

    def change(settings: Mapping[str, Any]) -> Mapping[str, Any]:
        active_trial.activate(None)
        watch.precision = str(settings.get("precision") or "32-true")
        given = settings.get("callbacks") or []
        listed = given if isinstance(given, list | tuple) else [given]
        return {**FIXED, "callbacks": [c for c in listed if _is_average(c)]}

    import torch

    def stop(trainer: Any) -> None:
        torch.cuda.is_available = lambda: False
        try:
            watch.result = _trace_step(trainer, watch.precision, is_fake=is_fake)
        except Exception as error:  # of the project's own step
            watch.error = f"{type(error).__name__}: {error}".splitlines()[0]
        raise Reached

    for trainer_class in one_batch.use_cpu(change):
        compat_lightning.replace_stage(trainer_class, stop)


def _trace_step(trainer: Any, precision: str, *, is_fake: bool) -> TraceResult:
    module: Any = trainer.lightning_module
    trainer.fit_loop.setup_data()
    batch = _first(trainer.train_dataloader)
    size = batch_size(batch)
    optimizers = list(trainer.strategy.optimizers)

    def run_step(module: Any, part: object) -> object:
        moved = trainer.strategy.batch_to_device(part, dataloader_idx=0)
        arguments = (0,) if step_memory.takes_index(module.training_step) else ()
        result: object = module.training_step(moved, *arguments)
        return result

    def measure(part: object) -> Step:
        averages = [c for c in trainer.callbacks if _is_average(c)]
        setup = StepSetup(
            module=module,
            optimizers=optimizers,
            batch=part,
            run_step=run_step,
            precision=precision,
            extra=[tensor for c in averages for tensor in _tensors(c)],
            is_automatic=bool(module.automatic_optimization),
            keeps_gradients=trainer.accumulate_grad_batches > 1,
            is_fake=is_fake,
        )
        return step_memory.follow(setup)

    if is_fake:
        step = measure(batch)
    else:
        low, high = (measure(cut(batch, size, to=n)) for n in TINY)
        step = line(low, high, size=size)
    num_steps = trainer.num_training_batches
    return TraceResult(
        **asdict(step),
        precision=precision,
        optimizer="+".join(type(o).__name__ for o in optimizers),
        batch_size=size,
        steps=int(num_steps) if num_steps != float("inf") else 0,
        epochs=max(trainer.max_epochs or 0, 0),
    )


def _first(loaders: Any) -> object:
    """Return the first batch of a loader, or of each loader of a nesting."""
    from torch.utils.data import DataLoader

    if isinstance(loaders, Mapping):
        return {name: _first(loader) for name, loader in loaders.items()}
    if isinstance(loaders, list | tuple):
        return [_first(loader) for loader in loaders]
    if isinstance(loaders, DataLoader):
        loaders.num_workers = 0
        loaders.pin_memory = False
        loaders.prefetch_factor = None
    return next(iter(loaders))


def _is_average(callback: object) -> bool:
    """Return whether a callback has weights of its own, by the names of its classes."""
    names = [base.__name__.lower() for base in type(callback).__mro__]
    return any(word in name for word in AVERAGES for name in names)


def _tensors(holder: object) -> "Iterator[Tensor]":
    from torch import nn

    for value in vars(holder).values():
        if isinstance(value, nn.Module):
            yield from value.parameters()
            yield from value.buffers()
        else:
            yield from step_memory.leaves(value)


def batch_size(batch: object) -> int:
    """Return the length of the first tensor with a first dimension, 0 if none has."""
    return next((len(t) for t in step_memory.leaves(batch) if t.ndim), 0)


def cut(batch: object, size: int, *, to: int) -> object:
    """Return the first examples of a batch: of each tensor that has them all."""
    return step_memory.mapped(
        batch, lambda t: t[:to] if t.ndim and len(t) == size else t
    )


def line(low: Step, high: Step, *, size: int) -> Step:
    """Return the step of a batch of `size` on the line through those of `TINY`."""

    def at(a: int, b: int) -> int:
        slope = max(0.0, (b - a) / (TINY[1] - TINY[0]))
        return max(b, int(b + slope * (size - TINY[1])))

    return Step(
        peak_bytes=at(low.peak_bytes, high.peak_bytes),
        state_bytes=high.state_bytes,
        flops=at(low.flops, high.flops),
        parameters=high.parameters,
    )


# ---- the process


def predict(request: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return what the first method that works finds; else `note` says why none does."""
    notes: list[str] = []
    is_sure, fault = True, ""
    for method in METHODS:
        if method.only_after != fault:
            continue
        answer = _in_child(request, overrides, method)
        if "peak_bytes" in answer:
            return {**answer, "how": method.name, "note": "; ".join(notes)}
        fault = answer["fault"]
        is_sure &= fault != "process"
        if answer["note"] not in notes:
            notes.append(answer["note"])
    return {"how": "none", "note": "; ".join(notes), "is_sure": is_sure}


def _in_child(
    request: Mapping[str, Any], overrides: Sequence[str], method: Method
) -> dict[str, Any]:
    """Try a method in a forked process, which may die or hang."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            os.write(write, json.dumps(_try(request, overrides, method)).encode())
        os._exit(0)
    os.close(write)
    is_ready = bool(select.select([read], [], [], LIMIT_SECONDS)[0])
    data = os.read(read, 65536) if is_ready else b""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(read)
    if data:
        answer: dict[str, Any] = json.loads(data)
        return answer
    note = "the process died" if is_ready else f"no step within {LIMIT_SECONDS:.0f} s"
    return {"fault": "process", "note": note}


def _try(
    request: Mapping[str, Any], overrides: Sequence[str], method: Method
) -> dict[str, Any]:
    try:
        return asdict(_run(request, overrides, method))
    except StepError as error:
        fault, note = "step", f"the step cannot be followed: {error}"
    except Exception as error:  # whatever a target raises
        fault, note = "target", f"{type(error).__name__}: {error}".splitlines()[0]
    return {"fault": fault, "note": note[:NOTE_LENGTH]}


def _run(
    request: Mapping[str, Any], overrides: Sequence[str], method: Method
) -> TraceResult:
    os.chdir(request["project"])
    with tempfile.TemporaryDirectory(prefix="sweeper-memory-") as folder:
        source = job.Source(
            config=Path(request["config"]),
            project=Path(request["project"]),
            target=request["target"],
        )
        config = job.compose(source, overrides, output_dir=Path(folder)).config
        if method.has_gpu:  # projects choose their precision by it
            import torch

            torch.cuda.is_available = lambda: True
        target = importing.load(request["target"])
        return trace(target, config, folder=Path(folder), is_fake=method.is_fake)


def main() -> None:
    """Read one request from standard input; answer on standard output."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.readline())
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ["WANDB_MODE"] = "disabled"
    put_on_path(Path(request["project"]))
    target, project = request["target"], Path(request["project"])
    with contextlib.suppress(Exception):  # once, and not in each forked process
        importlib.import_module("lightning.pytorch")
        importlib.import_module("torch.utils.flop_counter")
        compat.fake_tensor_mode()
        compat.memory_tracker()
    with importing.as_script(target, project):
        with (
            contextlib.suppress(Exception, SystemExit),
            importing.tried(target),
            importing.limited(target),
        ):
            importlib.import_module(target.partition(":")[0])
        # In the driver's scratch folder, which is removed with a driver that is
        # killed; a prediction may be killed, too.
        scratch = os.environ.get(orphans.MARK)
        with tempfile.TemporaryDirectory(prefix="sweeper-memory-", dir=scratch) as made:
            tempfile.tempdir = made
            for key, overrides in request["trials"].items():
                answer = {"key": key, **predict(request, overrides)}
                print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()

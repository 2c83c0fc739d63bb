"""Private interfaces of Lightning 2.6 that a trial uses, of either of its packages.

A checkpoint of Lightning's does not hold enough for an exact resume, and hooks run
too late to choose files. Nothing public gives the same.
"""

import importlib
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

# What a ModelCheckpoint remembers of its files but does not save.
CHECKPOINT_MEMORY = (
    "current_score",
    "_last_checkpoint_saved",
    "_last_global_step_saved",
    "_defer_save_until_validation",
)
LOGGER_FOLDERS = ("_root_dir", "_save_dir")  # of the loggers that write files
_PATCHED = "sweeper"  # attribute of a method that is replaced


def choose_checkpoint(package: str, choose: Callable[..., Any]) -> None:
    """Have `choose` decide which checkpoint a Trainer loads.

    `fit(ckpt_path=...)` is resolved before any hook runs.

    Args:
        package: "lightning.pytorch" or "pytorch_lightning".
        choose: called with Lightning's own method, the Trainer, the function ("fit",
            "test", ...), `ckpt_path` and what else the method takes.
    """

    def select(
        original: Any,
        connector: Any,
        function: Any,
        path: Any,
        *rest: Any,
        **named: Any,
    ) -> Any:
        def default() -> Any:
            return original(connector, function, path, *rest, **named)

        return choose(default, connector.trainer, function.value, path)

    _replace(_connector(package), "_select_ckpt_path", select)


def trust_checkpoints(package: str, is_trusted: Callable[[object], bool]) -> None:
    """Have Trainers load trusted checkpoints whole, with classes of the project's.

    torch 2.6 and later refuse a module among the hyperparameters, and only the caller
    of `trainer.test(ckpt_path="best")` could pass `weights_only`.
    """

    def resume_start(
        original: Any, connector: Any, path: Any = None, weights_only: Any = None
    ) -> None:
        if weights_only is None and path and is_trusted(path):
            weights_only = False
        original(connector, path, weights_only=weights_only)

    _replace(_connector(package), "resume_start", resume_start)


def after_loggers(package: str, call: Callable[["Trainer"], None]) -> None:
    """Call a function with each Trainer as soon as it has its loggers.

    A project may use `trainer.logger` before the first hook runs.
    """
    module = f"{package}.trainer.connectors.logger_connector.logger_connector"

    def configure(original: Any, connector: Any, *args: Any, **named: Any) -> None:
        original(connector, *args, **named)
        call(connector.trainer)

    owner = importlib.import_module(module)._LoggerConnector
    _replace(owner, "configure_logger", configure)


def _connector(package: str) -> Any:
    module = f"{package}.trainer.connectors.checkpoint_connector"
    return importlib.import_module(module)._CheckpointConnector


def _replace(owner: Any, name: str, method: Callable[..., Any]) -> None:
    """Replace a method once a process; the new one is passed the original."""
    original = getattr(owner, name)
    if hasattr(original, _PATCHED):
        return

    @wraps(original)
    def replaced(*args: Any, **named: Any) -> Any:
        return method(original, *args, **named)

    setattr(replaced, _PATCHED, True)
    setattr(owner, name, replaced)


def callbacks(trainer: "Trainer") -> list[Any]:
    """Return `trainer.callbacks`, which Lightning sets but does not declare."""
    callbacks: list[Any] = vars(trainer)["callbacks"]
    return callbacks


def dump_checkpoint(trainer: "Trainer") -> dict[str, Any]:
    """Return a checkpoint's content; `save_checkpoint` would also write it."""
    return trainer._checkpoint_connector.dump_checkpoint(weights_only=False)


def loaders(trainer: "Trainer", *, split: str) -> list[Any] | None:
    """Return the loaders of "train" or "val" in a fit; None before they are made.

    `trainer.val_dataloaders` may be those of a `validate` before the fit.
    """
    loop: Any = trainer.fit_loop
    combined = (loop if split == "train" else loop.epoch_loop.val_loop)._combined_loader
    return None if combined is None else combined.flattened


def logged(trainer: "Trainer", *, split: str = "train") -> Any:
    """Return what `self.log` has collected in the epoch, by Lightning's own keys.

    `trainer.callback_metrics` has values only, and keeps those of earlier epochs.
    """
    loop: Any = trainer.fit_loop.epoch_loop
    return (loop if split == "train" else loop.val_loop)._results


def step_value(result: Any) -> Any:
    """Return the value of one logged metric at the last step, always one object."""
    return result._forward_cache


def set_step_value(result: Any, value: object) -> None:
    """Set what `step_value` returns."""
    result._forward_cache = value


def continue_epoch(trainer: "Trainer") -> None:
    """Have the next batch add to the epoch's logged values.

    The first batch of a process would otherwise set them to zero.
    """
    trainer._logger_connector._first_loop_iter = False


def logger_step(trainer: "Trainer") -> int:
    """Return what Lightning's loggers call the step: batches with an optimizer step.

    `trainer.global_step` counts the steps of all optimizers.
    """
    return trainer.fit_loop.epoch_loop._batches_that_stepped


def is_validating_after(trainer: "Trainer", fetcher: Any) -> bool:
    """Return whether a validation follows the batch that has just been trained."""
    return trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher)


def is_accumulating(trainer: "Trainer") -> bool:
    """Return whether the last batch's gradients wait for those of the next."""
    return trainer.fit_loop.epoch_loop._should_accumulate()


def has_validated(trainer: "Trainer") -> bool:
    """Return whether the last epoch's validation has run."""
    return trainer.fit_loop.epoch_loop.val_loop._has_run


def set_has_validated(trainer: "Trainer", *, value: bool) -> None:
    """Set what `has_validated` returns; a loop's `state_dict` does not hold it."""
    trainer.fit_loop.epoch_loop.val_loop._has_run = value


def is_tuner_search(callbacks: Iterable[object]) -> bool:
    """Return whether a `fit` is a Tuner's, which searches and trains nothing."""
    return any(getattr(callback, "_early_exit", False) for callback in callbacks)


def end_finetuning_restart(callback: object) -> None:
    """Tell a BaseFinetuning that its parameter groups are there after a resume.

    It would otherwise make them again at the first epoch.
    """
    if getattr(callback, "_restarting", False):
        callback._restarting = False  # type: ignore[attr-defined]  # has one


def make_lr_search(callback_module: str, saved: Mapping[str, Any]) -> Any:
    """Return a result of LearningRateFinder with the attributes `saved`.

    Args:
        callback_module: the module of the callback's class, which tells the package.
        saved: all attributes of the result.
    """
    package = callback_module.partition(".callbacks")[0]
    kind = importlib.import_module(f"{package}.tuner.lr_finder")._LRFinder
    result = object.__new__(kind)
    vars(result).update(saved)
    return result


def starts_processes(strategy: Any) -> bool:
    """Return whether a strategy trains in processes that it starts itself."""
    return type(strategy.launcher).__name__ == "_MultiProcessingLauncher"


def replace_stage(trainer_class: Any, run: Callable[[Any], None]) -> None:
    """Call `run` in place of the loop of every fit of a class of Trainers."""
    trainer_class._run_stage = run

"""Lightning's callbacks that need care on a resume: searches and weight averaging.

A search for a learning rate or a batch size trains within a fit and belongs to the
start of a trial. On a resume it would search from later weights and then restore its
own copy of the fit, so it does not run again there: its result is in the checkpoint.
StochasticWeightAveraging (SWA) ends a fit with one more epoch, in which nothing is
trained: it passes over the data once for batch norm.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.trial.compat import lightning as compat
from sweeper.trial.exact_resume import checkpoint_files
from sweeper.trial.exact_resume.loop_state import KEY

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

log = logging.getLogger(__name__)

# The method that searches, by the name of the callback's class.
SEARCHES = {"LearningRateFinder": "lr_find", "BatchSizeFinder": "scale_batch_size"}
RESULTS = ("optimal_lr", "optimal_batch_size")


def search(callback: object) -> str:
    """Return the name of the method that searches; "" if the callback has none."""
    names = (SEARCHES.get(base.__name__, "") for base in type(callback).__mro__)
    return next(filter(None, names), "")


def is_search(callbacks: Iterable[object]) -> bool:
    """Return whether a `fit` is one of Lightning's Tuner, which only searches."""
    return compat.is_tuner_search(c for c in callbacks if search(c))


def silence(callbacks: Iterable[object]) -> None:
    """Have no callback search at the start of a fit that resumes."""
    for callback in callbacks:
        if name := search(callback):
            setattr(callback, name, lambda *_: None)


def wake(callbacks: Iterable[object]) -> None:
    """Let callbacks search again, such as at a later epoch of their choice."""
    for callback in callbacks:
        vars(callback).pop(search(callback), None)


def results(callbacks: Iterable[object]) -> dict[str, Any]:
    """Return the result of each search, by the callback's place and attribute."""
    return {
        f"{index} {name}": result if isinstance(result, int) else {**vars(result)}
        for index, callback in enumerate(callbacks)
        for name in RESULTS
        if search(callback) and (result := getattr(callback, name, None)) is not None
    }


def restore_results(callbacks: Iterable[object], saved: dict[str, Any]) -> None:
    """Put back what `results` returned."""
    for index, callback in enumerate(callbacks):
        for name in RESULTS:
            result = saved.get(f"{index} {name}")
            if result is None or not search(callback):
                continue
            if isinstance(result, dict):
                bases = type(callback).__mro__
                base = next(b for b in bases if b.__name__ in SEARCHES)
                result = compat.make_lr_search(base.__module__, result)
            setattr(callback, name, result)


def find_averaging(callbacks: Iterable[object]) -> Any:
    """Return Lightning's SWA callback, None if there is none."""
    for callback in callbacks:
        kinds = (kind.__name__ for kind in type(callback).__mro__)
        if "StochasticWeightAveraging" in kinds:
            return callback
    return None


def averaging_state(trainer: "Trainer") -> dict[str, Any]:
    """Return how many epochs SWA counts on, and whether its pass is over."""
    callback = find_averaging(compat.callbacks(trainer))
    if callback is None:
        return {}
    epochs = callback.swa_end + 1  # infinite if the fit has no end
    is_over = 0 < epochs < trainer.current_epoch
    last = callback.state_dict()["latest_update_epoch"]
    return {"epochs": epochs, "is_over": is_over, "has_begun": last >= 0}


def before_pass(trainer: "Trainer", newest: Path) -> Path:
    """Return the checkpoint that a fit with SWA resumes from.

    More epochs continue from the checkpoint before the pass: after it the module has
    the averaged weights.

    Args:
        trainer: its `max_epochs` may be greater than when the checkpoint was saved.
        newest: the fit's newest checkpoint.
    """
    if find_averaging(compat.callbacks(trainer)) is None:
        return newest
    saved = checkpoint_files.read(newest).get(KEY, {}).get("averaging", {})
    if not saved or (trainer.max_epochs or -1) <= saved["epochs"]:
        return newest
    if saved["has_begun"]:
        log.warning(
            "resume: StochasticWeightAveraging has begun to average with max_epochs "
            "%d, which is now %d; its start (where it is a fraction) and its cosine "
            "rates depend on it, so the trial may differ from one of %d epochs at once",
            *(saved["epochs"], trainer.max_epochs, trainer.max_epochs),
        )
    previous = newest.with_name(checkpoint_files.PREVIOUS)
    is_there = (
        saved["is_over"] and previous.exists() and checkpoint_files.is_whole(previous)
    )
    return previous if is_there else newest

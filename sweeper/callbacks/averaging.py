"""Lightning's SWA: a fit that ends with one epoch more, in which nothing is trained.

After the last epoch it puts the averaged weights into the module and passes over the
data once for batch norm. More epochs continue from the checkpoint before that.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sweeper.callbacks import snapshot
from sweeper.callbacks.loop_state import KEY

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

log = logging.getLogger(__name__)


def find(callbacks: Iterable[object]) -> Any:
    """Return Lightning's SWA callback, None if there is none."""
    for callback in callbacks:
        kinds = (kind.__name__ for kind in type(callback).__mro__)
        if "StochasticWeightAveraging" in kinds:
            return callback
    return None


def take(trainer: "Trainer") -> dict[str, int]:
    """Return how many epochs SWA counts on, and whether its pass is over."""
    callback = find(vars(trainer)["callbacks"])
    if callback is None:
        return {}
    epochs = callback._max_epochs
    is_over = 0 < epochs < trainer.current_epoch
    return {"epochs": epochs, "is_over": is_over, "last": callback._latest_update_epoch}


def before_pass(trainer: "Trainer", newest: Path) -> Path:
    """Return the checkpoint that a fit with SWA resumes from.

    Args:
        trainer: whose `max_epochs` may be greater than when the checkpoint was saved.
        newest: the fit's newest checkpoint.
    """
    if find(vars(trainer)["callbacks"]) is None:
        return newest
    content = torch.load(newest, map_location="cpu", weights_only=False)
    saved = content.get(KEY, {}).get("averaging", {})
    if not saved or (trainer.max_epochs or -1) <= saved["epochs"]:
        return newest
    if saved["last"] >= 0:
        log.warning(
            "resume: StochasticWeightAveraging has begun to average with max_epochs "
            "%d, which is now %d; its start (where it is a fraction) and its cosine "
            "rates depend on it, so the trial may differ from one of %d epochs at once",
            *(saved["epochs"], trainer.max_epochs, trainer.max_epochs),
        )
    previous = newest.with_name(snapshot.PREVIOUS)
    is_there = saved["is_over"] and previous.exists() and snapshot.is_whole(previous)
    return previous if is_there else newest

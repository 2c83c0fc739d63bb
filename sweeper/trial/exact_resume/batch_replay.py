"""The batches of an epoch, drawn again up to the last one of a killed process.

Lightning has no hook right before a loader begins, nor one after all work on a batch,
so two methods of the epoch's loop are wrapped (Lightning 2.6).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweeper.trial import logged_values
from sweeper.trial.compat import lightning as compat
from sweeper.trial.exact_resume import loop_state, randomness, searches
from sweeper.trial.exact_resume.saver import Saver
from sweeper.trial.libraries import torch

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

# Their samplers draw as the epoch begins, or from a generator of their own.
KNOWN = {"torch", "torchdata", "lightning", "pytorch_lightning"}


def obstacle(trainer: Trainer) -> str:
    """Return why the training loader cannot be replayed; "" if it can."""
    step = inspect.signature(trainer.lightning_module.training_step)
    if "dataloader_iter" in step.parameters:
        return "training_step takes batches from the loader by itself"
    if searches.find_averaging(compat.callbacks(trainer)) is not None:
        return "StochasticWeightAveraging is set up at an epoch's start"
    loaders = compat.loaders(trainer, split="train") or []
    if len(loaders) != 1:
        return f"there are {len(loaders)} training loaders"
    loader = loaders[0]
    if not isinstance(loader, torch.utils.data.DataLoader):
        return f"a {type(loader).__name__} is no DataLoader"
    if isinstance(loader.dataset, torch.utils.data.IterableDataset):
        return f"{type(loader.dataset).__name__} is an IterableDataset"
    samplers = [loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None)]
    for sampler in (loader.sampler, *samplers):
        package = type(sampler).__module__.partition(".")[0]
        if sampler is not None and package not in KNOWN:
            return f"{type(sampler).__name__} is not one of torch's samplers"
    return ""


@dataclass(slots=True, kw_only=True)
class EpochLoop:
    """The loop of one fit over batches, wrapped.

    Attributes:
        middle: the state within an epoch that the fit resumes at, if any.
        is_saving: whether `saver` is asked between batches.
        callback: our own; a search for a learning rate runs the loop without it.
    """

    trainer: Trainer
    saver: Saver
    middle: Mapping[str, Any] | None
    is_saving: bool
    callback: object

    def attach(self) -> None:
        """Replace Lightning's two methods."""
        loop: Any = self.trainer.fit_loop.epoch_loop
        loop.on_run_start = self.on_run_start
        loop.on_advance_end = self.on_advance_end

    def detach(self) -> None:
        """Put Lightning's two methods back."""
        loop: Any = self.trainer.fit_loop.epoch_loop
        for name in ("on_run_start", "on_advance_end"):
            loop.__dict__.pop(name, None)

    @property
    def _is_training(self) -> bool:
        return self.callback in compat.callbacks(self.trainer)

    def on_run_start(self, fetcher: Any) -> None:
        """Note the streams' state as the loader begins, or replay from there."""
        if self._is_training:
            self._begin_loader(fetcher)
        loop: Any = self.trainer.fit_loop.epoch_loop
        type(loop).on_run_start(loop, fetcher)

    def _begin_loader(self, fetcher: Any) -> None:
        trainer, middle, self.middle = self.trainer, self.middle, None
        prepare_validation(trainer)  # a search drops the loaders
        if middle is not None:
            _replay(trainer, fetcher, middle)
            if self.saver.step_means is not None:
                self.saver.step_means.restore(trainer, middle["step_sums"])
            self.saver.epoch_start = middle["start"]
            loop_state.end_restart(trainer, within=True)
            return
        if self.is_saving:
            self.saver.epoch_start = randomness.state(trainer)
        fit_loop = trainer.fit_loop
        is_resuming = fit_loop.is_resuming or fit_loop.epoch_loop.restarting
        if trainer.current_epoch == 0 or is_resuming:
            iter(fetcher)  # Lightning, or a search, began it before our hooks

    def on_advance_end(self, fetcher: Any) -> None:
        """Save after a batch if Lightning can continue from there."""
        trainer = self.trainer
        loop: Any = trainer.fit_loop.epoch_loop
        is_validating = compat.is_validating_after(trainer, fetcher)
        type(loop).on_advance_end(loop, fetcher)
        is_at_end = fetcher.done or loop.done or trainer.should_stop
        is_within = is_validating or is_at_end or compat.is_accumulating(trainer)
        if self.is_saving and self._is_training and not is_within:
            self.saver.on_batch(trainer)


def _replay(trainer: Trainer, fetcher: Any, middle: Mapping[str, Any]) -> None:
    randomness.renew_workers(trainer)
    randomness.restore(trainer, middle["start"])
    iter(fetcher)
    for _ in range(middle["batches"]):
        next(fetcher)
    fetcher.fetched -= middle["batches"]  # Lightning adds them itself
    randomness.restore(trainer, middle["now"])
    logged_values.restore(trainer, middle["means"])


def prepare_validation(trainer: Trainer) -> None:
    """Make the validation loaders now: their generators are seeded with each epoch."""
    is_missing = compat.loaders(trainer, split="val") is None
    if trainer.enable_validation and is_missing:
        trainer.validating = True
        trainer.fit_loop.epoch_loop.val_loop.setup_data()
        trainer.training = True

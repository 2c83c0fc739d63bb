"""The batches of an epoch, drawn again up to where a killed process had come.

Lightning has no hook right before a loader begins, nor one after everything that a
batch sets off, so two methods of the epoch's loop are wrapped (Lightning 2.6.6).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader, IterableDataset

from sweeper.callbacks import averaging, loop_state, randomness, running_means
from sweeper.callbacks.saver import Saver
from sweeper.callbacks.step_means import StepMeans

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

# Their samplers draw as the epoch begins, or from a generator of their own.
KNOWN = {"torch", "torchdata", "lightning", "pytorch_lightning"}


def obstacle(trainer: "Trainer") -> str:
    """Why the training loader cannot be replayed; "" where it can."""
    fetcher = trainer.fit_loop._data_fetcher
    if type(fetcher).__name__ == "_DataLoaderIterDataFetcher":
        return "training_step takes batches from the loader by itself"
    if averaging.find(vars(trainer)["callbacks"]) is not None:
        return "StochasticWeightAveraging is set up at an epoch's start"
    combined = trainer.fit_loop._combined_loader
    found = [] if combined is None else combined.flattened
    if len(found) != 1:
        return f"there are {len(found)} training loaders"
    loader = found[0]
    if not isinstance(loader, DataLoader):
        return f"a {type(loader).__name__} is no DataLoader"
    if isinstance(loader.dataset, IterableDataset):
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
        package: "lightning.pytorch" or "pytorch_lightning".
        middle: the place within an epoch that the fit resumes at.
        is_saving: whether `saver` is asked between batches.
        callback: ours; a search for a learning rate runs the loop without it.
    """

    trainer: "Trainer"
    saver: Saver
    package: str
    middle: Mapping[str, Any] | None
    is_saving: bool
    callback: object

    def attach(self) -> None:
        """Put this in the place of Lightning's two methods."""
        loop: Any = self.trainer.fit_loop.epoch_loop
        loop.on_run_start = self.on_run_start
        loop.on_advance_end = self.on_advance_end

    def detach(self) -> None:
        """Leave the loop as Lightning made it."""
        loop: Any = self.trainer.fit_loop.epoch_loop
        for name in ("on_run_start", "on_advance_end"):
            loop.__dict__.pop(name, None)

    @property
    def _is_ours(self) -> bool:
        return self.callback in vars(self.trainer)["callbacks"]

    def on_run_start(self, fetcher: Any) -> None:
        """Note where the streams stand as the loader begins, or go back there."""
        if self._is_ours:
            self._place(fetcher)
        loop: Any = self.trainer.fit_loop.epoch_loop
        type(loop).on_run_start(loop, fetcher)

    def _place(self, fetcher: Any) -> None:
        prepare_validation(self.trainer)  # a search drops the loaders
        if self.middle is not None:
            _replay(
                self.trainer,
                fetcher,
                self.middle,
                package=self.package,
                step_means=self.saver.step_means,
            )
            self.saver.epoch_start = self.middle["start"]
            loop_state.end_restart(self.trainer, within=True)
        else:
            if self.is_saving:
                self.saver.epoch_start = randomness.state(self.trainer)
            fit_loop: Any = self.trainer.fit_loop
            is_resuming = fit_loop.is_resuming or fit_loop.epoch_loop.restarting
            is_new = self.trainer.current_epoch > 0 and not is_resuming
            if not is_new:  # Lightning began the loader before our hooks, or a search
                iter(fetcher)
        self.middle = None

    def on_advance_end(self, fetcher: Any) -> None:
        """Save after a batch, but not where Lightning could not go on from it."""
        loop: Any = self.trainer.fit_loop.epoch_loop
        is_validating = loop._should_check_val_fx(fetcher)
        type(loop).on_advance_end(loop, fetcher)
        is_at_end = fetcher.done or loop.done or self.trainer.should_stop
        is_between = not (is_validating or is_at_end or loop._should_accumulate())
        if self.is_saving and is_between and self._is_ours:
            self.saver.on_batch(self.trainer)


def _replay(
    trainer: "Trainer",
    fetcher: Any,
    place: Mapping[str, Any],
    *,
    package: str,
    step_means: StepMeans | None,
) -> None:
    randomness.renew_workers(trainer)
    randomness.restore(trainer, place["start"])
    iter(fetcher)
    for _ in range(place["batches"]):
        next(fetcher)
    fetcher.fetched -= place["batches"]  # Lightning adds them itself
    randomness.restore(trainer, place["now"])
    running_means.put(trainer, package, place["means"])
    if step_means is not None:
        step_means.restore(trainer, place["step_sums"])


def prepare_validation(trainer: "Trainer") -> None:
    """Make the validation loaders now: their generators are seeded with each epoch."""
    loop: Any = trainer.fit_loop.epoch_loop.val_loop
    if trainer.enable_validation and loop._combined_loader is None:
        trainer.validating = True
        loop.setup_data()
        trainer.training = True

"""Exact resume: a fit that is killed and called again equals one that was not.

Between two epochs it writes `last.ckpt`, and before each epoch it seeds everything
from (seed, epoch). It leaves the project's own checkpoints as they are.

The places matter (Lightning 2.6): a save in on_validation_end crashes EarlyStopping on
resume, one in on_train_epoch_end loses a ReduceLROnPlateau step, since schedulers that
step by epoch do so after that hook. Hence on_train_epoch_start of the next epoch, and
on_train_end.
"""

import importlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sweeper.callbacks import ActiveTrial, loop_state, randomness, snapshot
from sweeper.trial import Decision

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import Callback

log = logging.getLogger(__name__)

KEY = "sweeper.ExactResume"


class Paused(BaseException):
    """Ends a fit at an epoch's boundary, its checkpoint written.

    A BaseException, so that no `except Exception` of a project takes it for a failure
    of its own.
    """


def make(package: str, trial: ActiveTrial) -> "Callback":
    """The exact-resume callback of `trial` for one Lightning package.

    Args:
        package: "lightning.pytorch" or "pytorch_lightning".
        trial: whose folder is written to and whose decision is obeyed.
    """
    base: type[Callback] = importlib.import_module(f"{package}.callbacks").Checkpoint
    resume_from_ours(package)

    class ExactResume(base):  # type: ignore[misc, valid-type]  # a base known at run time
        """A `Checkpoint` by type, so that it runs after every other callback."""

        def __init__(self) -> None:
            self.folder = trial.paths.checkpoints
            self._seed = trial.spec.seed
            self._restored: Mapping[str, Any] | None = None
            self._is_first_epoch = True
            self._dumping: loop_state.Boundary | None = None

        @property
        def state_key(self) -> str:
            return KEY

        # ---- saving

        def on_train_epoch_start(
            self, trainer: "Trainer", module: "LightningModule"
        ) -> None:
            if not self._is_first_epoch:
                self._dump(trainer, loop_state.Boundary.START)
                if trial.decision is Decision.PAUSE:
                    raise Paused
            randomness.begin_epoch(trainer, self._seed)
            if self._is_first_epoch:
                # Lightning made this process's first iterator before any hook.
                fetcher: Any = trainer.fit_loop._data_fetcher
                iter(fetcher)
            self._is_first_epoch = False

        def on_train_end(self, trainer: "Trainer", module: "LightningModule") -> None:
            self._dump(trainer, loop_state.Boundary.END)

        def _dump(self, trainer: "Trainer", boundary: loop_state.Boundary) -> None:
            self._dumping = boundary
            content = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
            self._dumping = None
            if trainer.is_global_zero:
                snapshot.save(content, self.folder)

        def on_save_checkpoint(
            self,
            trainer: "Trainer",
            module: "LightningModule",
            checkpoint: dict[str, Any],
        ) -> None:
            if self._dumping is None:
                return  # the project's own ModelCheckpoint is saving
            progress: Any = trainer.fit_loop.epoch_progress.current
            epoch = progress.processed
            loop_state.rewrite(checkpoint["loops"]["fit_loop"], self._dumping, epoch)
            checkpoint[KEY] = {
                "metrics": loop_state.metric_states(module),
                "logged": {
                    name: torch.as_tensor(value).detach().cpu()
                    for name, value in trainer.callback_metrics.items()
                },
                # Not that it ended, but that it would not have gone on: a fit that
                # reached max_epochs goes on when there are more.
                "is_stopped": bool(trainer.should_stop)
                and self._dumping is loop_state.Boundary.END,
            }

        # ---- resuming

        def setup(
            self, trainer: "Trainer", module: "LightningModule", stage: str
        ) -> None:
            keep_inside(trainer, trial.paths.folder)

        def on_load_checkpoint(
            self,
            trainer: "Trainer",
            module: "LightningModule",
            checkpoint: dict[str, Any],
        ) -> None:
            if KEY in checkpoint:
                loop_state.restore_metrics(module, checkpoint[KEY]["metrics"])
                self._restored = {
                    **checkpoint[KEY],
                    "callbacks": checkpoint.get("callbacks", {}),
                }

        def on_fit_start(self, trainer: "Trainer", module: "LightningModule") -> None:
            restored, self._restored = self._restored, None
            self._is_first_epoch = True
            if restored is None:
                return
            # EarlyStopping and ReduceLROnPlateau read these in an epoch that does
            # not validate.
            trainer._logger_connector._callback_metrics.update(restored["logged"])
            trainer.should_stop = restored["is_stopped"]
            callbacks: list[Callback] = vars(trainer)["callbacks"]
            for callback in callbacks:
                # Some reset themselves in on_fit_start, which for them came before.
                state = restored["callbacks"].get(callback.state_key)
                if state is not None and callback is not self:
                    callback.load_state_dict(state)

    return ExactResume()


def keep_inside(trainer: "Trainer", folder: Path) -> None:
    """Point every ModelCheckpoint that writes elsewhere to the trial's folder.

    With a relative `dirpath` two trials in one working directory would share files,
    and the second would go on from the first one's weights.
    """
    for callback in trainer.checkpoint_callbacks:
        dirpath = getattr(callback, "dirpath", None)
        if dirpath is not None and folder not in Path(dirpath).absolute().parents:
            vars(callback)["dirpath"] = str(folder / "checkpoints")


def resume_from_ours(package: str) -> None:
    """Have `fit` of this process go on from the trial's own checkpoint.

    `fit(ckpt_path=...)` is resolved before any hook runs. None and "last" mean our
    file or none at all: what else "last" could find is another trial's. An explicit
    file is a warm start, for as long as we have none.
    """
    connector = importlib.import_module(
        f"{package}.trainer.connectors.checkpoint_connector"
    )._CheckpointConnector
    if hasattr(connector, "_sweeper_original"):
        return
    original = connector._select_ckpt_path

    def select(
        self: Any, state_fn: Any, ckpt_path: Any, *args: Any, **kwargs: Any
    ) -> Any:
        ours = [c for c in self.trainer.callbacks if c.state_key == KEY]
        if not ours or state_fn.value != "fit":
            return original(self, state_fn, ckpt_path, *args, **kwargs)
        found = snapshot.newest(ours[0].folder)
        if found is not None:
            return str(found)
        if ckpt_path in (None, "last"):
            return None
        return original(self, state_fn, ckpt_path, *args, **kwargs)

    connector._sweeper_original = original
    connector._select_ckpt_path = select

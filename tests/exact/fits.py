"""A small Lightning project whose fit has a switch for each thing that can go wrong.

It knows nothing of sweeper but `trial_dir`, for its result; `train` is the target.
"""

import importlib
import time
from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the usual name
from torch.optim import lr_scheduler
from torchmetrics import MaxMetric, MeanMetric

import sweeper
from tests.exact import data
from tests.exact.cutting import event

MODULE_HOOKS = (
    "on_train_start",
    "on_train_epoch_start",
    "on_train_batch_start",
    "on_before_optimizer_step",
    "on_train_batch_end",
    "on_validation_epoch_end",
    "on_train_epoch_end",
    "on_train_end",
)
CALLBACK_HOOKS = (
    "on_fit_start",
    "on_train_start",
    "on_train_epoch_start",
    "on_train_batch_start",
    "on_train_batch_end",
    "on_validation_start",
    "on_validation_end",
    "on_train_epoch_end",
    "on_save_checkpoint",
    "on_train_end",
    "on_fit_end",
)


def make_module(cfg: DictConfig) -> Any:
    """The module, of the Lightning package that the config names."""
    pl = importlib.import_module(cfg.package)

    class Module(pl.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = cfg.automatic
            self.body = nn.Sequential(
                nn.Linear(data.N_FEATURES, cfg.width),
                nn.BatchNorm1d(cfg.width),
                nn.Dropout(0.3),
                nn.Linear(cfg.width, 2),
            )
            self.best = MaxMetric()
            self.mean = MeanMetric()
            self.own = torch.Generator().manual_seed(3)

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            time.sleep(cfg.sleep)
            loss = sum(self._loss(b) for b in _batches(batch))
            self.log("train/loss", loss, on_step=True, on_epoch=True)
            self.log("train/most", loss.detach(), on_epoch=True, reduce_fx="max")
            if batch_idx % 3 == 0:  # not in every batch
                self.mean.update(loss.detach())
                self.log("train/mean", self.mean, on_epoch=True, on_step=False)
            if not self.automatic_optimization:
                self._step_by_hand(loss, batch_idx)
            return loss

        def _loss(self, batch: data.Item) -> Tensor:
            points, labels = batch
            noise = torch.randn(points.shape, generator=self.own)
            return F.cross_entropy(self.body(points + 0.1 * noise), labels)

        def _step_by_hand(self, loss: Tensor, batch_idx: int) -> None:
            optimizer = self.optimizers()
            self.manual_backward(loss)
            # Not at every epoch's end: gradients go over into the next one.
            if (self.trainer.fit_loop.total_batch_idx + 1) % 4 == 0:
                optimizer.step()
                optimizer.zero_grad()

        def validation_step(self, batch: data.Item, batch_idx: int) -> None:
            points, labels = batch
            loss = F.cross_entropy(self.body(points), labels)
            self.log("val/loss", loss)

        def on_validation_epoch_end(self) -> None:
            event("module on_validation_epoch_end")
            if not self.trainer.sanity_checking:
                self.best.update(self.trainer.callback_metrics["val/loss"])
                self.log("val/most", self.best.compute())

        def on_train_epoch_start(self) -> None:
            torch.rand(3)  # a hook that draws
            event("module on_train_epoch_start")

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), lr=cfg.lr)
            scheduler = make_scheduler(cfg.scheduler, optimizer)
            if scheduler is None:
                return optimizer
            return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def hook(name: str, *_: object, **__: object) -> None:
        event(f"module {name}")

    for name in MODULE_HOOKS:
        if name not in vars(Module):
            setattr(Module, name, partial(hook, name))
    return Module()


def _batches(batch: Any) -> list[data.Item]:
    is_one = isinstance(batch[0], Tensor)
    return [batch] if is_one else list(batch)


def make_scheduler(kind: str, optimizer: torch.optim.Optimizer) -> Any:
    """A scheduler as configure_optimizers returns it; None for "none"."""
    plateau = partial(
        lr_scheduler.ReduceLROnPlateau, optimizer, patience=0, threshold=0.2
    )
    match kind:
        case "none":
            return None
        case "step":
            return lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.3)
        case "cosine":
            cosine = lr_scheduler.CosineAnnealingLR(optimizer, T_max=24)
            return {"scheduler": cosine, "interval": "step"}
        case "plateau":
            return {"scheduler": plateau(), "monitor": "val/loss"}
        case "plateau_lenient":  # steps in epochs without validation too
            return {"scheduler": plateau(), "monitor": "val/loss", "strict": False}
        case "plateau_train":
            return {"scheduler": plateau(), "monitor": "train/loss"}
        case "plateau_step":
            step = {"interval": "step", "frequency": 2}
            return {"scheduler": plateau(), "monitor": "train/loss_step", **step}
    raise AssertionError(kind)


def make_callbacks(cfg: DictConfig) -> list[Any]:
    """Callbacks by name, between two that count events."""
    callbacks = importlib.import_module(f"{cfg.package}.callbacks")
    found = []
    for name in cfg.callbacks:
        match name:
            case "early_stopping":
                found.append(
                    callbacks.EarlyStopping(
                        "val/loss", min_delta=0.05, patience=cfg.patience
                    )
                )
            case "averaging":
                ema = torch.optim.swa_utils.get_ema_avg_fn(0.7)
                found.append(callbacks.WeightAveraging(avg_fn=ema))
            case "ema":
                from sweeper.vision.callbacks.ema import EMA

                found.append(EMA(decay=0.7))
            case "resetting_ema":
                found.append(make_resetting_ema(callbacks.Callback))
            case "counting":
                found.append(make_counting(callbacks.Callback))
            case "checkpoint":
                folder = sweeper.trial_dir() / "checkpoints"
                found.append(
                    callbacks.ModelCheckpoint(
                        folder, "best", monitor="val/loss", save_last=True
                    )
                )
            case "checkpoint_names":
                found.append(
                    callbacks.ModelCheckpoint(
                        sweeper.trial_dir() / "checkpoints",
                        "{epoch}-{step}",
                        monitor="train/loss",
                        save_top_k=2,
                    )
                )
            case _:
                raise AssertionError(name)
    first, last = (make_counter(callbacks.Callback, w) for w in ("first", "last"))
    return [first, *found, last]


def make_counter(base: type, where: str) -> Any:
    """A callback whose every hook is an event."""

    def hook(name: str, *_: object, **__: object) -> None:
        event(f"{where} {name}")

    methods = {name: partial(hook, name) for name in CALLBACK_HOOKS}
    return type("Counter", (base,), methods)()


def make_resetting_ema(base: type) -> Any:
    """An average of one weight that starts anew in on_fit_start, as one in use does."""

    class ResettingEMA(base):  # type: ignore[misc]
        def on_fit_start(self, trainer: Any, module: Any) -> None:
            self.average = module.body[0].weight.detach().clone()

        def on_train_batch_end(self, trainer: Any, module: Any, *_: object) -> None:
            self.average.lerp_(module.body[0].weight.detach(), 0.1)

        def state_dict(self) -> dict[str, Any]:
            return {"average": self.average}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.average = state["average"].clone()

    return ResettingEMA()


def make_counting(base: type) -> Any:
    """A callback that does its work in on_train_epoch_start, and draws there."""

    class Counting(base):  # type: ignore[misc]
        def __init__(self) -> None:
            self.epochs, self.drawn = 0, 0.0

        def on_train_epoch_start(self, *_: object) -> None:
            self.epochs += 1
            self.drawn += float(torch.rand(()))

        def state_dict(self) -> dict[str, Any]:
            return {"epochs": self.epochs, "drawn": self.drawn}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.epochs, self.drawn = state["epochs"], state["drawn"]

    return Counting()


def train(cfg: DictConfig) -> None:
    """Fit, then write everything that must not depend on a kill."""
    if cfg.kind != "one":
        from tests.exact import stages  # it imports this module

        stages.train(cfg)
        return
    pl = importlib.import_module(cfg.package)
    module = make_module(cfg)
    trainer = pl.Trainer(
        max_epochs=cfg.epochs,
        max_steps=cfg.max_steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=any("checkpoint" in name for name in cfg.callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        accumulate_grad_batches=cfg.accumulate,
        val_check_interval=cfg.val_check_interval,
        check_val_every_n_epoch=cfg.check_val_every_n_epoch,
        callbacks=make_callbacks(cfg),
    )
    trainer.fit(
        module,
        data.train_loader(cfg.loader, workers=cfg.workers, persistent=cfg.persistent),
        data.val_loader(workers=cfg.workers, persistent=cfg.persistent),
        ckpt_path=cfg.ckpt_path,
    )
    event("after fit")
    torch.save(result(trainer, module), sweeper.trial_dir() / "result.pt")


def result(trainer: Any, module: Any) -> dict[str, Any]:
    """All that a fit leaves: compared bit for bit."""
    folder = sweeper.trial_dir() / "checkpoints"
    states = {c.state_key: _state(c) for c in trainer.callbacks}
    return {
        "weights": module.state_dict(),
        "optimizers": [o.state_dict() for o in trainer.optimizers],
        "schedulers": [c.scheduler.state_dict() for c in trainer.lr_scheduler_configs],
        "metrics": {"most": module.best.max_value},
        "callbacks": {key: state for key, state in states.items() if state},
        "epoch": trainer.current_epoch,
        "step": trainer.global_step,
        "files": {
            path.name: torch.load(path, weights_only=False)["state_dict"]
            for path in sorted(folder.glob("*.ckpt"))
        },
    }


def _state(callback: Any) -> dict[str, Any]:
    state = callback.state_dict()
    # Paths differ between two folders; the files themselves are compared.
    return {k: v for k, v in state.items() if not isinstance(v, str | dict)}

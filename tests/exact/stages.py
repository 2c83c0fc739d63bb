"""Fits that Lightning's own checkpoint does not describe whole, and several in a trial.

`fits.train` calls `train` where the config names a kind.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn
from torch.utils.data import DataLoader

import sweeper
from tests.exact import data, fits
from tests.exact.cutting import event

START = 1  # epoch, from 0, at which something changes in the middle of a fit


def make_net(cfg: DictConfig, **methods: Any) -> Any:
    """Make the toy module with a backbone before its body.

    Args:
        methods: more methods and attributes of its class.
    """
    base = type(fits.make_module(cfg))

    class Net(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__()
            self.lr = cfg.lr
            size = data.N_FEATURES
            layers = (nn.Linear(size, size), nn.BatchNorm1d(size), nn.ReLU())
            self.backbone = nn.Sequential(*layers)
            self.body.insert(0, nn.Identity())

        def forward(self, points: torch.Tensor) -> torch.Tensor:
            return self.body(self.backbone(points))

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            points, labels = batch
            return super().training_step((self.backbone(points), labels), batch_idx)

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            points, labels = batch
            super().validation_step((self.backbone(points), labels), batch_idx)

        def configure_optimizers(self) -> Any:
            free = [p for p in self.parameters() if p.requires_grad]
            return torch.optim.AdamW(free, lr=self.lr)

    return type("Net", (Net,), methods)()


def make_trainer(cfg: DictConfig, *more: Any, **settings: Any) -> Any:
    """Make a Trainer whose hooks are events."""
    pl = importlib.import_module(cfg.package)
    callbacks = [*more, *fits.make_callbacks(cfg)]
    has_files = any("Checkpoint" in type(callback).__name__ for callback in callbacks)
    usual = {
        "max_epochs": cfg.epochs,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": has_files,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "callbacks": callbacks,
    }
    return pl.Trainer(**{**usual, **settings})


def loaders(cfg: DictConfig) -> tuple[Any, Any]:
    """Make the loaders of a fit."""
    settings = {"workers": cfg.workers, "persistent": cfg.persistent}
    return data.train_loader(cfg.loader, **settings), data.val_loader(**settings)


def one(cfg: DictConfig, net: Any, *more: Any, **settings: Any) -> list[Any]:
    """Fit once."""
    trainer = make_trainer(cfg, *more, **settings)
    trainer.fit(net, *loaders(cfg))
    return [facts(trainer, net)]


def facts(trainer: Any, net: Any) -> dict[str, Any]:
    """Return all that a fit leaves, also outside of `state_dict`."""
    return {
        **fits.result(trainer, net),
        "logged": dict(trainer.callback_metrics),
        "grad": {name: p.requires_grad for name, p in net.named_parameters()},
        "modes": {name: m.training for name, m in net.named_modules()},
        "groups": [
            [[tuple(p.shape) for p in g["params"]] for g in o.param_groups]
            for o in trainer.optimizers
        ],
    }


# ---- state outside of state_dict


def finetuning(cfg: DictConfig) -> list[Any]:
    """Thaw a backbone by Lightning's callback."""
    callbacks = importlib.import_module(f"{cfg.package}.callbacks")
    thaw = callbacks.BackboneFinetuning(START, backbone_initial_lr=0.01, train_bn=False)
    return one(cfg, make_net(cfg), thaw)


def thaw(cfg: DictConfig) -> list[Any]:
    """Thaw a backbone by hand, with a group of parameters of its own."""

    def on_train_epoch_start(self: Any) -> None:
        if self.current_epoch == START:
            self.backbone.requires_grad_(True)
            group = {"params": list(self.backbone.parameters())[::-1], "lr": 0.01}
            self.trainer.optimizers[0].add_param_group(group)

    net = make_net(cfg, on_train_epoch_start=on_train_epoch_start)
    net.backbone.requires_grad_(False)
    return one(cfg, net)


def frozen_norm(cfg: DictConfig) -> list[Any]:
    """Put batch norm into eval mode at some epoch and leave it there."""

    def on_train_epoch_start(self: Any) -> None:
        if self.current_epoch == START:
            self.backbone.eval()
            self.body[-1].requires_grad_(False)

    return one(cfg, make_net(cfg, on_train_epoch_start=on_train_epoch_start))


class Annealed:
    """What a module may carry beside its weights."""

    def __init__(self) -> None:
        self.steps = 0

    def state_dict(self) -> dict[str, int]:
        return {"steps": self.steps}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.steps = state["steps"]


def attributes(cfg: DictConfig) -> list[Any]:
    """Change attributes of the module, of a callback and of the data."""
    callbacks = importlib.import_module(f"{cfg.package}.callbacks")

    class Curriculum(callbacks.Callback):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.seen: list[float] = []
            self.average = {}

        def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
            weight = module.body[1].weight.detach()
            self.average["w"] = 0.5 * self.average.get("w", 0) + weight
            self.seen.append(float(weight.sum()))

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            dataset = trainer.train_dataloader.dataset
            dataset.level = getattr(dataset, "level", 0) + 1
            module.dropout.p *= 0.5

    def on_train_epoch_end(self: Any) -> None:
        self.tau *= 0.7
        self.schedule.steps += 1
        self.queue += self.tau
        self.log("tau", self.tau)
        self.log("steps", float(self.schedule.steps))
        self.log("queue", self.queue.sum())

    net = make_net(cfg, on_train_epoch_end=on_train_epoch_end)
    net.tau, net.schedule = 1.0, Annealed()
    net.register_buffer("queue", torch.zeros(3), persistent=False)
    net.dropout = net.body[3]
    curriculum = Curriculum()
    found = one(cfg, net, curriculum)
    outside = {"seen": curriculum.seen, "average": curriculum.average["w"]}
    return [*found, {**outside, "tau": net.tau, "p": net.dropout.p}]


def longer(cfg: DictConfig) -> list[Any]:
    """Train two epochs more than the Trainer was made for."""

    def on_train_epoch_end(self: Any) -> None:
        if self.current_epoch == START:
            self.trainer.fit_loop.max_epochs += 2

    return one(cfg, make_net(cfg, on_train_epoch_end=on_train_epoch_end))


def averaging(cfg: DictConfig) -> list[Any]:
    """Average weights by SWA, with a pass for batch norm after the last epoch."""
    callbacks = importlib.import_module(f"{cfg.package}.callbacks")
    swa = callbacks.StochasticWeightAveraging(
        0.01, swa_epoch_start=2, annealing_strategy="linear"
    )
    found = one(cfg, make_net(cfg), swa)
    # A pass that is repeated trains nothing: it needs no schedule and no counts.
    for name in ("schedulers", "callbacks", "optimizers"):
        found[0].pop(name)
    return found


def accumulation(cfg: DictConfig) -> list[Any]:
    """Accumulate gradients over more batches from some epoch on."""
    callbacks = importlib.import_module(f"{cfg.package}.callbacks")
    scheduler = callbacks.GradientAccumulationScheduler({0: 1, START + 1: 2})
    return one(cfg, make_net(cfg), scheduler)


# ---- several fits


def folds(cfg: DictConfig) -> list[Any]:
    """Fit a net of its own for each fold, without a seed for each."""
    found = []
    for _ in range(3):
        found += one(cfg, make_net(cfg))
        event("between fits")
    return [*found, {"drawn": torch.rand(3)}]


def skipped(cfg: DictConfig) -> list[Any]:
    """Fit seeded folds, those left out that an earlier attempt has finished."""
    found = []
    for fold in range(3):
        file = sweeper.trial_dir() / f"fold-{fold}.pt"
        if not file.exists():
            torch.manual_seed(fold)
            torch.save(one(cfg, make_net(cfg)), file)
            event("between fits")
        found += torch.load(file, weights_only=False)
    return found


def one_net(cfg: DictConfig) -> list[Any]:
    """Fit one net by two Trainers."""
    net = make_net(cfg)
    return [*one(cfg, net), *one(cfg, net, max_epochs=2)]


def pretraining(cfg: DictConfig) -> list[Any]:
    """Fit a smaller net, whose weights another net starts from."""
    callbacks = importlib.import_module(f"{cfg.package}.callbacks")
    small = fits.make_module(cfg)
    best = callbacks.ModelCheckpoint(
        sweeper.trial_dir() / "checkpoints", "small", monitor="val/loss"
    )
    found = one(cfg, small, best, max_epochs=2)
    event("between fits")
    saved = torch.load(best.best_model_path, weights_only=False)["state_dict"]
    net = make_net(cfg)
    net.body[1].load_state_dict(
        {"weight": saved["body.0.weight"], "bias": saved["body.0.bias"]}
    )
    net.on_train_epoch_end = lambda: net.log("second", float(net.current_epoch))
    score = {"score": best.best_model_score}
    return [*found, score, *one(cfg, net)]


def twice(cfg: DictConfig) -> list[Any]:
    """Fit twice by one Trainer, which goes on counting epochs."""
    callbacks = importlib.import_module(f"{cfg.package}.callbacks")
    thaw = callbacks.BackboneFinetuning(START, backbone_initial_lr=0.01)
    trainer, net = make_trainer(cfg, thaw, max_epochs=2), make_net(cfg)
    trainer.fit(net, *loaders(cfg))
    found = [facts(trainer, net)]
    trainer.fit_loop.max_epochs += 2
    trainer.fit(net, *loaders(cfg))
    return [*found, facts(trainer, net)]


def from_best(cfg: DictConfig) -> list[Any]:
    """Go on from the best checkpoint of a first fit, and from the last one of it."""
    callbacks = importlib.import_module(f"{cfg.package}.callbacks")
    folder = sweeper.trial_dir() / "checkpoints"
    net, found = make_net(cfg), []
    best = callbacks.ModelCheckpoint(folder, "first", monitor="val/loss")
    found += one(cfg, net, best, max_epochs=2)
    trainer = make_trainer(cfg, max_epochs=4)
    trainer.fit(net, *loaders(cfg), ckpt_path=best.best_model_path)
    return [*found, facts(trainer, net)]


# ---- searches


def search(cfg: DictConfig, style: str) -> list[Any]:
    """Search for a learning rate or a batch size, in the fit or before it."""
    pl = importlib.import_module(cfg.package)
    callbacks = importlib.import_module(f"{cfg.package}.callbacks")
    tuner = importlib.import_module(f"{cfg.package}.tuner")
    steps = {"num_training_steps": 20}

    class Data(pl.LightningDataModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.batch_size = 4

        def train_dataloader(self) -> DataLoader[data.Item]:
            return DataLoader(data.Noisy(data.N_TRAIN), self.batch_size, shuffle=True)

        def val_dataloader(self) -> Any:
            return data.val_loader(workers=0, persistent=False)

    class AtMilestones(callbacks.LearningRateFinder):  # type: ignore[misc, name-defined]
        def on_fit_start(self, *_: object) -> None:
            return

        def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
            if trainer.current_epoch in (0, 2):
                self.lr_find(trainer, module)

    finder = {
        "rate": lambda: [callbacks.LearningRateFinder(**steps)],
        "milestones": lambda: [AtMilestones(**steps)],
        "batch": lambda: [
            callbacks.BatchSizeFinder("power", 1, init_val=2, max_trials=2)
        ],
    }.get(style, list)()
    net, module = make_net(cfg), Data()
    trainer = make_trainer(cfg, *finder, default_root_dir=sweeper.trial_dir())
    if style == "tuner":
        tuner.Tuner(trainer).lr_find(net, datamodule=module, num_training=20)
        trainer.validate(net, datamodule=module, verbose=False)
    trainer.fit(net, datamodule=module)
    found = {"lr": net.lr, "batch_size": module.batch_size}
    if style == "rate":
        found["suggestion"] = finder[0].optimal_lr.suggestion()
    return [facts(trainer, net), found]


def retried(cfg: DictConfig) -> list[Any]:
    """Fit again, with less, where a first fit has failed in its second epoch."""

    def fail(self: Any) -> None:
        if self.current_epoch == START:
            raise MemoryError

    try:
        one(cfg, make_net(cfg, on_train_epoch_end=fail))
    except MemoryError:
        event("between fits")
    return one(cfg, make_net(cfg))


def misplaced(cfg: DictConfig) -> list[Any]:
    """Load the end of a first epoch again, at the start of every process's fit."""
    file = sweeper.trial_dir() / "first.ckpt"

    def on_train_epoch_end(self: Any) -> None:
        if not file.exists():
            self.trainer.save_checkpoint(file)

    def on_train_start(self: Any) -> None:
        if file.exists():
            self.trainer._checkpoint_connector.restore(file)

    methods = {"on_train_epoch_end": on_train_epoch_end}
    return one(cfg, make_net(cfg, **methods, on_train_start=on_train_start))


KINDS: Mapping[str, Callable[[DictConfig], list[Any]]] = {
    f.__name__: f
    for f in (
        *(finetuning, thaw, frozen_norm, attributes, longer, averaging, accumulation),
        *(folds, skipped, one_net, pretraining, twice, from_best, retried, misplaced),
    )
}


def train(cfg: DictConfig) -> None:
    """Run the target of a kind, then write what must not depend on a kill."""
    style = cfg.kind.removeprefix("search_")
    is_search = style != cfg.kind
    found = search(cfg, style) if is_search else KINDS[cfg.kind](cfg)
    event("after fit")
    torch.save(found, sweeper.trial_dir() / "result.pt")

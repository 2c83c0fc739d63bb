"""Each private interface that a trial uses does what it is used for."""

import importlib
import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchmetrics import MaxMetric

from sweeper.trial.compat import lightning as compat
from sweeper.trial.compat import torch as torch_compat

pytestmark = pytest.mark.filterwarnings("ignore")
PACKAGES = ("lightning.pytorch", "pytorch_lightning")


@pytest.mark.parametrize("package", PACKAGES)
def test_the_methods_that_are_replaced_take_what_they_took(package: str) -> None:
    connectors = f"{package}.trainer.connectors"
    checkpoint = importlib.import_module(f"{connectors}.checkpoint_connector")
    loggers = importlib.import_module(f"{connectors}.logger_connector.logger_connector")
    methods = {
        checkpoint._CheckpointConnector._select_ckpt_path: ("state_fn", "ckpt_path"),
        checkpoint._CheckpointConnector.resume_start: (
            *("checkpoint_path", "weights_only"),
        ),
        loggers._LoggerConnector.configure_logger: ("logger",),
    }
    for method, arguments in methods.items():
        original = inspect.unwrap(method)
        names = tuple(inspect.signature(original).parameters)[1:]
        assert names[: len(arguments)] == arguments


class _Net:
    """A module of either package: it logs "a" per step, and validates."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        loss: torch.Tensor = self.layer(batch).sum()
        self.log("a", torch.tensor(float(batch_idx)), on_step=True, on_epoch=True)  # type: ignore[attr-defined]  # a LightningModule
        return loss

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        self.log("v", torch.tensor(1.0))  # type: ignore[attr-defined]  # the same

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.layer.parameters(), lr=0.1)


class _Watch:
    """A callback of either package: it reads everything after the third batch."""

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {}

    def on_train_batch_end(self, trainer: Any, *_: object) -> None:
        if trainer.global_step != 3:
            return
        result = compat.logged(trainer)["training_step.a"]
        before = compat.has_validated(trainer)
        compat.set_has_validated(trainer, value=not before)
        self.seen = {
            "step": compat.logger_step(trainer),
            "last": float(compat.step_value(result)),
            "sum": float(result.metric_state["value"]),
            "loaders": len(compat.loaders(trainer, split="train") or ()),
            "validation": len(compat.loaders(trainer, split="val") or ()),
            "validating": compat.is_validating_after(trainer, SimpleNamespace(done=0)),
            "accumulating": compat.is_accumulating(trainer),
            "toggled": compat.has_validated(trainer) is not before,
            "weights": set(compat.dump_checkpoint(trainer)["state_dict"]),
        }
        compat.set_has_validated(trainer, value=before)
        compat.set_step_value(result, torch.tensor(7.0))
        compat.continue_epoch(trainer)
        self.seen["set"] = float(compat.step_value(result))

    def on_validation_end(self, trainer: Any, *_: object) -> None:
        names = {r.meta.name for r in compat.logged(trainer, split="val").values()}
        self.seen["names"] = names


@pytest.mark.parametrize("package", PACKAGES)
def test_a_fit_shows_its_loops(package: str, tmp_path: Path) -> None:
    library = importlib.import_module(package)
    net = type("Net", (_Net, library.LightningModule), {})()
    watch = type("Watch", (_Watch, library.Callback), {})()
    trainer = library.Trainer(
        **{"max_epochs": 1, "accelerator": "cpu", "callbacks": [watch]},
        **{"logger": False, "enable_checkpointing": False},
        **{"enable_progress_bar": False, "enable_model_summary": False},
        default_root_dir=tmp_path,
    )
    assert watch in compat.callbacks(trainer)
    assert compat.loaders(trainer, split="train") is None
    assert not compat.starts_processes(trainer.strategy)
    loader = DataLoader(torch.ones(5, 2))  # type: ignore[arg-type]  # a data set
    trainer.fit(net, loader, loader)
    assert watch.seen == {
        **{"step": 2, "last": 2.0, "sum": 3.0, "loaders": 1, "validation": 1},
        **{"validating": False, "accumulating": False, "toggled": True},
        **{"weights": {"layer.weight", "layer.bias"}, "set": 7.0, "names": {"v"}},
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_callbacks_and_loggers_have_the_attributes_that_are_set(
    package: str, tmp_path: Path
) -> None:
    callbacks = importlib.import_module(f"{package}.callbacks")
    loggers = importlib.import_module(f"{package}.loggers")
    assert vars(callbacks.ModelCheckpoint()).keys() >= set(compat.CHECKPOINT_MEMORY)
    csv = loggers.CSVLogger(tmp_path)
    assert set(compat.LOGGER_FOLDERS) & vars(csv).keys()
    finetuning = callbacks.BackboneFinetuning()
    finetuning.load_state_dict(finetuning.state_dict())
    assert finetuning._restarting
    compat.end_finetuning_restart(finetuning)
    assert not finetuning._restarting
    finder = callbacks.LearningRateFinder()
    assert not compat.is_tuner_search([finder])
    finder._early_exit = True
    assert "_early_exit" in inspect.getsource(callbacks.LearningRateFinder)
    assert compat.is_tuner_search([finder])
    result = compat.make_lr_search(
        type(finder).__module__, {"results": {"lr": [1.0], "loss": [2.0]}}
    )
    assert result.results["lr"] == [1.0]
    assert result.suggestion(skip_begin=0, skip_end=0) is None
    averaging = callbacks.StochasticWeightAveraging(swa_lrs=0.1)
    assert averaging.state_dict()["latest_update_epoch"] == -1


@pytest.mark.parametrize("package", PACKAGES)
def test_a_strategy_that_starts_processes_is_known(package: str) -> None:
    trainer = importlib.import_module(package).Trainer(
        **{"strategy": "ddp_spawn", "accelerator": "cpu", "devices": 1},
        **{"logger": False, "enable_checkpointing": False},
    )
    assert compat.starts_processes(trainer.strategy)


def test_persistent_workers_are_ended() -> None:
    data: Any = torch.arange(4)
    loader = DataLoader(data, num_workers=1, persistent_workers=True)
    iterator = iter(loader)
    next(iterator)
    (worker,) = iterator._workers  # type: ignore[attr-defined]  # of several processes
    torch_compat.end_workers(loader)
    assert not worker.is_alive()
    assert next(iter(loader)) == 0
    torch_compat.end_workers(loader)


def test_buffers_outside_of_a_state_dict_are_named() -> None:
    module = nn.Module()
    module.register_buffer("a", torch.ones(1), persistent=False)
    module.register_buffer("b", torch.ones(1))
    assert set(torch_compat.unsaved_buffers(module)) == {"a"}


def test_a_metric_continues_where_it_was() -> None:
    one, other = MaxMetric(), MaxMetric()
    one.update(3.0)
    other.update(1.0)
    assert other.compute() == 1
    torch_compat.restore_metric(other, torch_compat.metric_state(one))
    assert other.update_count == 1
    assert other.compute() == 3

"""What `init` writes is a sweep of the project's own config, and `plan` accepts it."""

from pathlib import Path

import pytest
import yaml

from sweeper import cli
from sweeper.plan.plan import Plan, make_plan
from tests.helpers import STRANGERS, write

NET = """
import lightning as L


class Net(L.LightningModule):
    def _shared_step(self, batch, stage):
        self.log(f"{stage}/loss", 0.1)
        self.log_dict({f"{stage}/acc": 0.5})

    def training_step(self, batch, index):
        self._shared_step(batch, "train")

    def validation_step(self, batch, index):
        self._shared_step(batch, stage="val")
        self.log("examples_seen", 3)

    def on_validation_epoch_end(self):
        self.log("val/acc_best", 0.5)

    def test_step(self, batch, index):
        self._shared_step(batch, "test")
"""
TRAINER = """
import hydra
import lightning as L
from hydra.utils import instantiate


@hydra.main(version_base="1.3", config_path="{path}", config_name="{name}")
def main(cfg):
    trainer: L.Trainer = instantiate(cfg.trainer)
    trainer.{method}(instantiate(cfg.model), instantiate(cfg.data))


if __name__ == "__main__":
    main()
"""
TEMPLATE = {  # the layout of ashleve/lightning-hydra-template
    "pyproject.toml": "",
    "src/__init__.py": "",
    "src/train.py": TRAINER.format(path="../configs", name="train.yaml", method="fit"),
    "src/eval.py": TRAINER.format(path="../configs", name="eval.yaml", method="test"),
    "src/models/__init__.py": "",
    "src/models/digits.py": NET,
    "src/models/old.py": NET.replace('"val/acc_best"', '"val/aaa"'),
    "configs/train.yaml": "defaults:\n  - _self_\n  - data: digits\n"
    "  - model: dense12\n  - callbacks: default\n  - logger: null\n"
    "  - trainer: default\n"
    "  - experiment: null\n  - hparams_search: null\n  - optional local: default\n"
    "  - debug: null\ntask_name: train\ntags: [dev]\ntrain: true\nckpt_path: null\n"
    "seed: null\n",
    "configs/eval.yaml": "defaults:\n  - _self_\n  - data: digits\n  - model: dense12\n"
    "  - trainer: default\nckpt_path: ???\n",
    "configs/local/.gitkeep": "",
    "configs/debug/default.yaml": "# @package _global_\ntask_name: debug\n",
    "configs/data/digits.yaml": "{_target_: src.data.Digits, batch_size: 128}",
    "configs/trainer/default.yaml": "{_target_: lightning.Trainer, max_epochs: 10}",
    "configs/trainer/gpu.yaml": "defaults: [default]\naccelerator: gpu\n",
    "configs/callbacks/default.yaml": "defaults: [checkpoint, _self_]\n",
    "configs/callbacks/checkpoint.yaml": "checkpoint:\n  _target_: lightning.x\n"
    "  monitor: val/acc\n  mode: max\n",
    "configs/callbacks/unused.yaml": "early: {monitor: val/aaa_unused, mode: min}\n",
    "configs/experiment/example.yaml": "# @package _global_\n"
    "defaults:\n  - override /model: dense24\n",
    "configs/hparams_search/digits_optuna.yaml": "# @package _global_\ndefaults:\n"
    "  - override /hydra/sweeper: optuna\noptimized_metric: val/acc_best\n"
    "hydra: {mode: MULTIRUN, sweeper: {params: {model.optimizer.lr: 'interval(0,1)'}}}",
    **{
        f"configs/model/{name}.yaml": f"{{_target_: src.models.{module}.Net, "
        f"optimizer: {{_partial_: true, lr: {rate}}}}}"
        for name, module, rate in [
            ("aardvark", "old", 0.1),
            ("dense12", "digits", 0.001),
            ("dense24", "digits", 0.001),
            ("dense8", "digits", 0.001),
            ("dense99", "digits", 0.001),
            ("zebra", "old", 0.1),
        ]
    },
}


def made(project: Path, folder: Path) -> tuple[dict[str, object], Plan]:
    """Run `init` on a project; the file's data, and the plan that is made of it."""
    output = folder / "first.yaml"
    assert cli.main(["init", str(project), "-o", str(output)]) == 0
    data: dict[str, object] = yaml.safe_load(output.read_text())
    return data, make_plan(output, (), sweeps=folder / "sweeps")


def test_a_template_is_swept_around_its_own_config(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, plan = made(write(tmp_path / "project", TEMPLATE), tmp_path)
    assert data["target"] == "src.train:main"
    assert data["config"] == "configs/train.yaml"
    assert data["overrides"] == ["trainer.max_epochs=3"]
    assert data["search_space"] == {
        "model": "dense12, dense8, dense24",
        "model.optimizer.lr": [0.0003, 0.001, 0.003],
        "data.batch_size": [64, 128],
    }
    assert data["objective"] == {"metric": "val/acc", "mode": "max"}
    assert plan.space.size == 3 * 3 * 2
    assert "refuses" not in capsys.readouterr().out


PLAIN = """
import hydra
import torch


@hydra.main(config_path="conf", config_name="plain", version_base=None)
def main(cfg):
    for epoch in range(3):
        print(epoch)
"""


def test_a_main_with_a_trainer_goes_before_a_loop_that_logs_nothing(
    tmp_path: Path,
) -> None:
    files = {
        "a_train_loop.py": PLAIN,
        "deep/experiment.py": TRAINER.format(
            path="../conf", name="deep", method="fit"
        ).replace("import hydra\n", "import hydra\nfrom model import Net\n"),
        "model.py": NET,
        "conf/plain.yaml": "lr: 0.1\n",
        "conf/deep.yaml": "model: {_target_: model.Net, lr: 1}\ntrainer: {}",
    }
    data, _ = made(write(tmp_path / "project", files), tmp_path)
    assert (data["target"], data["config"]) == (
        "deep.experiment:main",
        "conf/deep.yaml",
    )
    assert data["objective"] == {"metric": "val/acc", "mode": "max"}


@pytest.mark.parametrize(
    ("code", "objective"),
    [
        ('def training_step(self): self.log("train_loss", 1)', ("train_loss", "min")),
        (
            'def validation_step(self): self.log("valid_rmse", 1); self.log("lr", 2)',
            ("valid_rmse", "min"),
        ),
        (
            'def validation_step(self):\n  self.log("confidence", 1)\n'
            "  wandb.log({'val/acc': 1})",
            ("confidence", "max"),
        ),
        (
            'def validation_step(self): self.log("val_iou", 1)\n'
            ' def test_step(self): self.log("a_val_test", 1)\n'
            ' c = EarlyStopping(monitor="val_iou", mode="max")',
            ("val_iou", "max"),
        ),
        (
            "def validation_step(self): self.log_dict(self.found)\n"
            ' c = ModelCheckpoint(monitor="val_score_x", mode="min")',
            ("val_score_x", "min"),
        ),
        (
            "def fit(self):\n  for epoch in range(3):\n"
            '   sweeper.report(epoch, {"loss/val": 1, "loss/train": 2})',
            ("loss/val", "min"),
        ),
    ],
)
def test_the_objective_is_one_that_a_fit_logs(
    tmp_path: Path, code: str, objective: tuple[str, str]
) -> None:
    files = {
        "train.py": PLAIN + f"\nclass Net:\n {code}\n",
        "conf/plain.yaml": "lr: 0.1\n",
    }
    data, _ = made(write(tmp_path / "project", files), tmp_path)
    assert data["objective"] == dict(zip(("metric", "mode"), objective, strict=True))


OPTIMS = {"conf/model/a.yaml": "x: 1\nlr: 0.1", "conf/model/b.yaml": "y: 2\nlr: 0.1"}


@pytest.mark.parametrize(
    ("files", "space"),
    [
        (  # left open: the swept choice counts
            {"conf/plain.yaml": "defaults:\n  - _self_\n  - model: ???\n", **OPTIMS},
            {"model": "a, b", "model.lr": [0.03, 0.1, 0.3]},
        ),
        (  # an option without the key that is swept is left out
            {
                "conf/plain.yaml": "defaults: [_self_, {model: b}]\n",
                **OPTIMS,
                "conf/model/a.yaml": "x: 1",
            },
            {"model.lr": [0.03, 0.1, 0.3]},
        ),
        (  # not in the defaults list: it would need a +
            {"conf/plain.yaml": "batch_size: 1\nlr: 0\nmax_epochs: 2\n", **OPTIMS},
            {},
        ),
        (
            {"conf/plain.yaml": "name: x\nseed: 3\n"},
            {},
        ),
        (
            {
                "conf/plain.yaml": "defaults: [_self_, {model@net.inner: b}]\n",
                **OPTIMS,
            },
            {"model@net.inner": "b, a", "net.inner.lr": [0.03, 0.1, 0.3]},
        ),
    ],
)
def test_plan_accepts_what_init_writes(
    tmp_path: Path,
    files: dict[str, str],
    space: dict[str, object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    project = write(tmp_path / "project", {"train.py": PLAIN, **files})
    data, _ = made(project, tmp_path)
    assert data["search_space"] == space
    assert "refuses" not in capsys.readouterr().out


def test_a_primary_config_in_a_sub_folder_is_surveyed(tmp_path: Path) -> None:
    files = {
        "train.py": PLAIN.replace('"plain"', '"exp/main"'),
        "conf/exp/main.yaml": "# @package _global_\ndefaults: [/model: b, _self_]\n",
        **OPTIMS,
    }
    data, plan = made(write(tmp_path / "project", files), tmp_path)
    assert data["config"] == "conf/exp/main.yaml"
    assert data["search_space"] == {"model": "b, a", "model.lr": [0.03, 0.1, 0.3]}
    assert plan.space.size == 6


@pytest.mark.parametrize("project", ["functions", "classic", "script", "packaged"])
def test_plan_accepts_what_init_writes_for_a_stranger(
    tmp_path: Path, project: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made(STRANGERS / project, tmp_path)
    assert "refuses" not in capsys.readouterr().out

"""Memory is predicted for strangers by their own target, or not at all."""

from pathlib import Path

import pytest
import yaml

from sweeper.experiment import loading, space
from sweeper.packing import memory
from sweeper.packing.memory import Prediction
from sweeper.trial.compose import Composer

pytestmark = pytest.mark.slow

TARGET = """
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(LightningModule):
    def __init__(self, width, kind):
        super().__init__()
        self.kind = kind
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(192, width), nn.ReLU(), nn.Linear(width, 10)
        )

    def training_step(self, batch, batch_idx):
        images, labels = batch
        loss = nn.functional.cross_entropy(self.net(images), labels)
        if self.kind == "asks" and loss.item() < 0:
            raise ValueError
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters())


def train(cfg):
    if cfg.kind == "missing":
        raise FileNotFoundError("no folder ./images")
    if cfg.kind == "quits":
        return
    if not torch.cuda.is_available():
        raise RuntimeError("this project trains on GPUs only")
    images = torch.zeros(1000, 3, 8, 8)
    data = TensorDataset(images, torch.zeros(1000, dtype=torch.long))
    loader = DataLoader(data, cfg.data.batch_size, num_workers=2)
    trainer = Trainer(max_epochs=3, accelerator="gpu", precision="16-mixed")
    trainer.fit(Net(cfg.model.width, cfg.kind), loader)
    raise AssertionError("nothing is to be trained")
"""
CONFIG = {
    "kind": "plain",
    "model": {"_target_": "toy.Net", "width": 512, "kind": "${kind}"},
    "data": {"batch_size": 256, "image_size": 8},
    "trainer": {"precision": "16-mixed", "max_epochs": 3},
}


def _predict(folder: Path, **keys: object) -> dict[str, Prediction]:
    path = folder / "sweep.yaml"
    content = {"objective": {"metric": "acc", "mode": "max"}, "wandb": None, **keys}
    path.write_text(yaml.safe_dump(content))
    loaded = loading.load(path)
    composer = Composer(loaded.project / loaded.config, loaded.project)
    parsed = space.parse(loaded, composer.groups())
    cache = folder / "memory.json"
    found = memory.predict(loaded, parsed, cache=cache)
    written = cache.stat().st_mtime_ns
    assert memory.predict(loaded, parsed, cache=cache) == found
    assert cache.stat().st_mtime_ns == written  # nothing was asked again
    return dict(found)


def test_a_stranger_is_followed_measured_or_given_a_card(
    tmp_path: Path,
) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "toy.py").write_text(TARGET)
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(CONFIG))
    found = _predict(
        tmp_path,
        target="toy:train",
        config="toy.yaml",
        search_space={"kind": ["plain", "asks", "missing", "quits"]},
    )
    plain, asks = found["kind=plain"], found["kind=asks"]
    missing, quits = found["kind=missing"], found["kind=quits"]
    assert (plain.how, plain.note) == ("followed", "")
    assert (plain.precision, plain.optimizer) == ("16-mixed", "AdamW")
    assert (plain.batch_size, plain.steps, plain.epochs) == (256, 4, 3)
    assert plain.parameters == 192 * 512 + 512 + 512 * 10 + 10
    assert asks.how == "measured on the CPU"
    assert "cannot be followed" in asks.note
    # A line through two tiny batches errs on the large side.
    assert 0.9 * plain.peak_bytes <= asks.peak_bytes <= 1.5 * plain.peak_bytes
    assert (missing.how, missing.peak_bytes) == ("none", 0)
    assert "no folder ./images" in missing.note
    assert quits.how == "none"
    assert "without Trainer.fit" in quits.note
    assert quits.peak_bytes == 0


@pytest.mark.parametrize(
    ("project", "keys", "how"),
    [
        (
            "functions",
            {
                "target": "train:main",
                "config": "conf/config.yaml",
                "search_space": {"model": ["deep", "linear"]},
            },
            "followed",
        ),
        (
            "loop",
            {
                "target": "loop:train",
                "config": "conf/loop.yaml",
                "search_space": {"rate": [0.1]},
            },
            "none",
        ),
    ],
)
@pytest.mark.few(1)
def test_projects_of_others_are_predicted_as_they_are(
    tmp_path: Path, project: str, keys: dict[str, object], how: str
) -> None:
    folder = Path(__file__).parents[1] / "strangers" / project
    found = _predict(tmp_path, **keys, project=str(folder))
    assert {prediction.how for prediction in found.values()} == {how}
    if how == "none":
        (prediction,) = found.values()
        assert "without a Lightning Trainer" in prediction.note

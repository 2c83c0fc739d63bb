"""Every file of conf/ that this project reads makes its object; defaults hold."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger
from torch import nn

from sweeper.vision.classifier import Classifier
from sweeper.vision.data import ImageData
from sweeper.vision.jersey import JerseyData
from sweeper.vision.train import parts
from tests.vision.composing import CONF, composed

RECIPES = {
    *("none", "default", "light", "strong"),
    *("colour", "geometric", "blur", "erasing"),
}


def names(group: str) -> list[str]:
    found = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
    assert found, f"conf/{group} is empty"
    return found


@pytest.mark.parametrize("name", names("model"))
def test_every_model_instantiates(tmp_path, name):
    node = composed(tmp_path, f"model={name}").model
    with torch.device("meta"):
        model = instantiate(node, num_classes=7, image_size=224)
    assert isinstance(model, Classifier)
    assert model.hparams["name"] == name
    assert not model.hparams["pretrained"]


@pytest.mark.parametrize("name", names("data"))
def test_every_data_module_instantiates(tmp_path, name):
    data = instantiate(composed(tmp_path, f"data={name}").data)
    assert isinstance(data, ImageData)
    assert len(data.config.augmentations) == 2


@pytest.mark.parametrize("name", names("transforms"))
def test_every_recipe_augments_by_the_global_seed_alone(tmp_path, name):
    node = composed(tmp_path, f"transforms={name}").transforms.train
    recipe = nn.Sequential(*instantiate(node))
    image = torch.full((3, 32, 32), 60, dtype=torch.uint8)
    image[:, 8:24, 8:16] = torch.tensor([200, 30, 40], dtype=torch.uint8).view(3, 1, 1)

    def draw(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.stack([recipe(image) for _ in range(32)])

    drawn = draw(0)
    assert (drawn.shape, drawn.dtype) == ((32, 3, 32, 32), torch.uint8)
    assert torch.equal(drawn, draw(0))
    assert torch.equal(drawn, draw(1)) == (name == "none")


def test_the_named_recipes_are_there():
    assert set(names("transforms")) >= RECIPES


@pytest.mark.parametrize("name", names("trainer"))
def test_every_trainer_instantiates(tmp_path, name):
    trainer = instantiate(composed(tmp_path, f"trainer={name}").trainer)
    assert isinstance(trainer, Trainer)
    assert Path(trainer.default_root_dir) == tmp_path / "out"


@pytest.mark.parametrize("name", names("logging"))
def test_every_logger_instantiates(tmp_path, name):
    loggers = parts(composed(tmp_path, f"logging={name}").get("logging"))
    assert len(loggers) == (name != "none")
    assert all(isinstance(logger, Logger) for logger in loggers)


def test_t4_defaults(tmp_path):
    cfg = composed(tmp_path, "trainer=t4", "data=jersey")
    trainer = cfg.trainer
    assert (trainer.accelerator, trainer.devices) == ("gpu", 1)
    assert trainer.precision == "16-mixed"
    assert trainer.gradient_clip_val == 1.0
    assert trainer.gradient_clip_algorithm == "norm"
    assert trainer.accumulate_grad_batches == 1
    assert trainer.max_epochs == 100
    assert (cfg.data.batch_size, cfg.data.num_workers, cfg.seed) == (64, 4, 42)
    made = instantiate(trainer)
    assert (made.gradient_clip_val, made.gradient_clip_algorithm) == (1.0, "norm")
    assert (made.accumulate_grad_batches, made.max_epochs) == (1, 100)


@pytest.mark.parametrize(
    ("name", "learning_rate"),
    [("resnet18", 1e-4), ("resnet34", 1e-4), ("resnet50", 5e-5)],
)
def test_learning_rates_of_the_resnets(tmp_path, name, learning_rate):
    assert composed(tmp_path, f"model={name}").model.learning_rate == learning_rate


def test_overrides_reach_the_instances(tmp_path):
    overrides = ["model=resnet50", "data=jersey", "data.batch_size=32"]
    cfg = composed(tmp_path, *overrides, "trainer.gradient_clip_val=0.5")
    data = instantiate(cfg.data)
    assert isinstance(data, JerseyData)
    assert data.config.batch_size == 32
    assert data.root == tmp_path / "data" / "jersey"
    with torch.device("meta"):
        model = instantiate(cfg.model, num_classes=42)
    assert model.network.fc.out_features == 42
    assert model.network.fc.in_features == 2048
    assert instantiate(cfg.trainer).gradient_clip_val == 0.5

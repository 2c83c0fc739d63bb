"""Every file of conf/ that this project reads makes its object; defaults hold."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import nn

from sweeper.vision import trainer
from sweeper.vision.classifier import Classifier
from sweeper.vision.data import ImageData
from sweeper.vision.jersey import JerseyData
from sweeper.vision.train import parts
from tests.vision.composing import CONF, composed

RECIPES = {
    *("none", "default", "light", "strong"),
    *("colour", "geometric", "blur", "erasing"),
}
GROUPS = {
    str(group)
    for entry in OmegaConf.load(CONF / "train.yaml").defaults
    for group in (entry if isinstance(entry, DictConfig) else ())
}


def names(group: str) -> list[str]:
    found = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
    assert found, f"conf/{group} is empty"
    return found


def nodes(node: object) -> list[DictConfig]:
    """The outermost nodes with a `_target_`."""
    if isinstance(node, DictConfig):
        children = [node] if "_target_" in node else list(node.values())
    else:
        children = list(node) if isinstance(node, ListConfig) else []
    if len(children) == 1 and children[0] is node:
        return children
    return [found for child in children for found in nodes(child)]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize(
    "file", sorted(CONF.rglob("*.yaml")), ids=lambda file: str(file.relative_to(CONF))
)
def test_every_file_of_conf_makes_its_objects(tmp_path, file):
    overrides = ["model.num_classes=3", "model.image_size=224"]
    if file.parent == CONF:
        made = nodes(composed(tmp_path, *overrides))
    else:
        group = file.parent.name
        new = "" if group in GROUPS else "+"
        cfg = composed(tmp_path, f"{new}{group}={file.stem}", *overrides)
        made = nodes(cfg[group])
    with torch.device("meta"):
        objects = [instantiate(node) for node in made]
    assert objects or file.stem == "none"


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
    made = instantiate(composed(tmp_path, f"trainer={name}").trainer)
    assert isinstance(made, Trainer)
    assert Path(made.default_root_dir) == tmp_path / "out"


@pytest.mark.parametrize("name", names("logging"))
def test_every_logger_instantiates(tmp_path, name):
    loggers = parts(composed(tmp_path, f"logging={name}").get("logging"))
    assert len(loggers) == (name != "none")
    assert all(isinstance(logger, Logger) for logger in loggers)


def test_t4_defaults(tmp_path):
    cfg = composed(tmp_path, "trainer=t4", "data=jersey")
    assert cfg.seed == 42
    data = instantiate(cfg.data)
    assert (data.config.batch_size, data.config.num_workers) == (64, 4)
    made = instantiate(cfg.trainer)
    assert (made.gradient_clip_val, made.gradient_clip_algorithm) == (1.0, "norm")
    assert (made.accumulate_grad_batches, made.max_epochs) == (1, 100)


def test_a_machine_with_a_gpu_gets_the_t4_defaults(tmp_path, monkeypatch):
    given: dict[str, object] = {}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    # Lightning's Trainer would look for the card.
    monkeypatch.setattr(trainer, "Trainer", lambda **settings: given.update(settings))
    for name in ("t4", "auto"):
        given.clear()
        instantiate(composed(tmp_path, f"trainer={name}").trainer)
        assert (given["accelerator"], given["devices"]) == ("gpu", 1)
        assert (given["precision"], given["benchmark"]) == ("16-mixed", True)
        assert given["gradient_clip_val"] == 1.0
        assert given["gradient_clip_algorithm"] == "norm"
        assert (given["accumulate_grad_batches"], given["max_epochs"]) == (1, 100)
        assert given["deterministic"] is False


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

"""Parts of the packaged project that the first user had and lost."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from hydra.utils import instantiate
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from PIL import Image

from sweeper.system.errors import ConfigError
from sweeper.trial.compose import Composer
from sweeper.vision import register
from sweeper.vision.callbacks.confusion_matrix import ConfusionMatrix
from sweeper.vision.registry import RegisterError, _registered
from sweeper.vision.trainer import make_trainer
from tests.cases.harness import copy_case, run_case
from tests.vision.composing import composed
from tests.vision_callbacks.fitting import fit


class Seen(Callback):
    """Keeps which epoch's matrix is on disk at each epoch's end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.epochs: list[int] = []

    def on_train_epoch_end(self, *_: object) -> None:
        file = self.folder / "confusion_matrix.json"
        self.epochs.append(json.loads(file.read_text())["epoch"])
        with Image.open(self.folder / "confusion_matrix.png") as image:
            image.verify()


def test_a_confusion_matrix_is_drawn_after_each_validation(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    fit([ConfusionMatrix(str(tmp_path)), seen], tmp_path, max_epochs=3)
    assert seen.epochs == [1, 2, 3]


@pytest.mark.parametrize("group", ["auto", "cpu", "t4"])
def test_trainer_keys_are_overridden_without_a_plus(group: str, tmp_path: Path) -> None:
    keys = {
        "strategy": "auto",
        "val_check_interval": 0.5,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "num_sanity_val_steps": 0,
        "limit_train_batches": 2,
        "check_val_every_n_epoch": 2,
    }
    words = [f"trainer.{key}={value}" for key, value in keys.items()]
    config = composed(tmp_path, f"trainer={group}", *words)
    trainer = instantiate(config.trainer)
    assert trainer.val_check_interval == 0.5
    assert trainer.num_sanity_val_steps == 0
    assert trainer.limit_train_batches == 2
    assert trainer.check_val_every_n_epoch == 2


def test_what_is_switched_off_is_dropped(tmp_path: Path) -> None:
    settings = {"accelerator": "cpu", "default_root_dir": tmp_path}
    both = [ModelCheckpoint(), TQDMProgressBar()]
    trainer = make_trainer(
        callbacks=both,
        enable_checkpointing=False,
        enable_progress_bar=False,
        **settings,
    )
    assert not trainer.checkpoint_callbacks
    assert trainer.progress_bar_callback is None
    trainer = make_trainer(callbacks=both, **settings)
    assert trainer.checkpoint_callbacks == both[:1]


@pytest.fixture
def _own_store() -> Iterator[None]:
    repo, known = ConfigStore.instance().repo, dict(_registered)
    ConfigStore.instance().repo = {**repo}
    yield
    ConfigStore.instance().repo = repo
    _registered.clear()
    _registered.update(known)


class First:
    def __init__(self, size: int, rate: float = 0.1, *, sizes: object = (1, 2)) -> None:
        self.size, self.rate, self.sizes = size, rate, sizes


class Second:
    pass


@pytest.mark.usefixtures("_own_store")
def test_a_class_is_an_option_with_the_defaults_of_its_signature(
    tmp_path: Path,
) -> None:
    register(name="mine", group="model")(First)
    project = copy_case("registered", tmp_path)
    config = Composer(project / "conf" / "config.yaml", project).compose(
        ["model=mine", "model.size=3", "model.rate=0.5"]
    )
    made = instantiate(config.model, _convert_="all")
    assert isinstance(made, First)
    assert (made.size, made.rate, made.sizes) == (3, 0.5, [1, 2])


@pytest.mark.usefixtures("_own_store")
def test_a_name_of_a_file_and_a_class_is_an_error_that_names_both(
    tmp_path: Path,
) -> None:
    register(name="linear", group="model")(First)
    project = copy_case("registered", tmp_path)
    with pytest.raises(ConfigError) as error:
        Composer(project / "conf" / "config.yaml", project)
    assert "conf/model/linear.yaml" in str(error.value)
    assert f"{First.__module__}.First" in str(error.value)


@pytest.mark.usefixtures("_own_store")
def test_two_classes_of_one_name_are_an_error_that_names_both() -> None:
    register(name="mine", group="model")(First)
    register(name="mine", group="model")(First)  # its module was run again
    with pytest.raises(RegisterError) as error:
        register(name="mine", group="model")(Second)
    assert "First" in str(error.value)
    assert "Second" in str(error.value)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.e2e
def test_a_registered_model_is_swept_beside_one_of_a_file(tmp_path: Path) -> None:
    sweep = run_case("registered", tmp_path)
    assert sweep.code == 0, sweep.output
    found = {final["kind"]: final for final in (sweep.final(0), sweep.final(1))}
    assert found["Net"]["width"] == 8
    assert (found["Wide"]["width"], found["Wide"]["lr"]) == (32, 0.05)

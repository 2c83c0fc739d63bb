"""`sweeper init`: a first experiment file for a project that nobody has described."""

import shutil
from pathlib import Path

import pytest

from sweeper import cli
from sweeper.commands import init
from sweeper.experiment import loading, space
from sweeper.project import points
from sweeper.project.scan import MAX_PYTHON_FILES, scan
from sweeper.trial.compose import Composer
from tests.helpers import STRANGERS, write

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("project", "target", "config", "objective", "rate", "batch"),
    [
        ("functions", "train:main", "conf/config.yaml", ("val/acc", "max"), "lr", ""),
        ("classic", "run:main", "configs/main.yaml", ("val_loss", "min"), "lr", "size"),
        ("script", "train:main", "conf/config.yaml", ("acc/val", "max"), "lr", ""),
    ],
)
def test_a_project_is_surveyed(
    project: str,
    target: str,
    config: str,
    objective: tuple[str, str],
    rate: str,
    batch: str,
) -> None:
    found = scan(STRANGERS / project)
    assert found.target == target
    assert found.config == config
    assert found.objective == objective
    assert found.first(["lr"], (int, float)).endswith(rate)
    assert found.first(["batch_size"], int).endswith(batch)


def test_sweepers_own_project_is_surveyed() -> None:
    found = scan(ROOT)
    assert found.target == "sweeper.vision.train:main"
    assert found.objective == ("val/acc_top1", "max")
    assert "resnet18" in found.description.groups["model"]
    assert found.keys["model.learning_rate"] == 1e-4


def test_a_virtual_environment_does_not_hide_the_project(tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(STRANGERS / "functions", project)
    packages = project / ".venv" / "lib"
    packages.mkdir(parents=True)
    for number in range(MAX_PYTHON_FILES + 1):
        (packages / f"module{number}.py").touch()
    assert scan(project) == scan(STRANGERS / "functions")


def test_the_written_file_is_an_experiment_of_that_project(tmp_path: Path) -> None:
    output = tmp_path / "first.yaml"
    project = STRANGERS / "classic"
    assert cli.main(["init", str(project), "-o", str(output)]) == 0
    loaded = loading.load(output)
    composer = Composer(loaded.project / loaded.config, loaded.project)
    parsed = space.parse(loaded, composer.groups())
    points.check(composer, loaded, parsed)
    assert parsed.size == 2 * 3 * 2


def test_an_existing_file_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "first.yaml"
    output.write_text("mine")
    assert cli.main(["init", str(STRANGERS / "classic"), "-o", str(output)]) == 2
    assert "exists" in capsys.readouterr().err
    assert output.read_text() == "mine"


def test_a_folder_without_hydra_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "first.yaml"
    assert cli.main(["init", str(tmp_path), "-o", str(output)]) == 2
    assert "@hydra.main" in capsys.readouterr().err


TRAIN = """
import hydra
import lightning as L

OPTIONS = {"version_base": "1.3", "config_path": str(ROOT / "configs"), **OTHERS}
PARAMS = {"config_path": str(ROOT / "configs"), "config_name": "train.yaml"}


@hydra.main(**PARAMS)
def main(cfg):
    logger.log({"val/real pictures": 1})
    self.log("val/fid", 0.1)
"""
FILES = {
    "src/train.py": TRAIN,
    "configs/eval.yaml": "defaults: [_self_]\nckpt: ???\n",
    "configs/train.yaml": "defaults:\n  - model: ???\n  - experiment: ???\n"
    "  - _self_\nckpt: ???\nloaders: {test: {batch_size: 8}, train: {batch_size: 4}}\n",
    "configs/model/net.yaml": "optimizer: {lr: 0.01}\n",
    "configs/experiment/first.yaml": "# @package _global_\ndefaults:\n"
    "  - override /model: net\nmax_epochs: 20\n",
}


def test_what_a_config_cannot_do_without_is_chosen(tmp_path: Path) -> None:
    found = scan(write(tmp_path, FILES))
    assert (found.target, found.config) == ("src.train:main", "configs/train.yaml")
    assert found.description.needed == ("experiment=first",)  # which chooses the model
    assert found.first(["lr"], float) == "model.optimizer.lr"
    assert found.first(["batch_size"], int) == "loaders.train.batch_size"
    assert found.objective == ("val/fid", "min")
    text = init.first_experiment(tmp_path, found)
    assert "overrides: [experiment=first, max_epochs=3]" in text
    assert "must be set as well: ckpt" in text
    assert "sweeper.report" not in text


def test_a_program_of_hydra_zen_is_a_target(tmp_path: Path) -> None:
    package = "src/pack/"
    main = "zen(train).hydra_main(config_path=None, config_name='config')\n"
    files = {f"{package}__init__.py": "", f"{package}train.py": main}
    found = scan(write(tmp_path, files))
    assert (found.target, found.config) == ("[python, -m, pack.train]", "config")
    text = init.first_experiment(tmp_path, found)
    assert "has to call sweeper.report" in text
    assert "{metric: val/loss, mode: min}" in text

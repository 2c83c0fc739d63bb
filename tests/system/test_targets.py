"""The files that a target is made of, and structured configs that they register."""

import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.system import targets
from sweeper.system.errors import ExperimentError, TargetError
from sweeper.trial.importing import load, register
from tests.helpers import make_experiment

ROOT = Path(__file__).parents[2]
STRANGERS = ROOT / "tests" / "strangers"


@pytest.mark.parametrize(
    ("target", "file"),
    [
        ("fit:run", "fit.py"),
        ("settings.schema:register", "settings/schema.py"),
        ("settings:x", "settings/__init__.py"),
        ("python fit.py --x", "fit.py"),
        ("python -m settings.schema", "settings/schema.py"),
        ("elsewhere:run", None),
        ("bash run.sh", None),
    ],
)
def test_a_target_starts_in_a_file(target: str, file: str | None) -> None:
    project = STRANGERS / "structured"
    expected = None if file is None else project / file
    assert targets.entry(target, project) == expected


def test_what_a_target_imports_of_the_project_is_reached() -> None:
    project = STRANGERS / "structured"
    found = targets.reached("fit:run", project)
    names = {str(file.relative_to(project)) for file in found}
    assert names == {"fit.py", "settings/__init__.py", "settings/schema.py"}
    assert targets.mentions(found, "ConfigStore")


def test_sweepers_own_target_needs_no_import_before_it_is_composed() -> None:
    found = targets.reached("sweeper.vision.train:train", ROOT)
    assert found
    assert not targets.mentions(found, "ConfigStore")


def test_relative_imports_are_followed(tmp_path: Path) -> None:
    package = tmp_path / "pack"
    (package / "inner").mkdir(parents=True)
    for name in ("__init__.py", "inner/__init__.py", "base.py"):
        (package / name).touch()
    (package / "inner" / "train.py").write_text("from ..base import x\n")
    found = targets.reached("pack.inner.train:main", tmp_path)
    assert package / "base.py" in found


def test_a_program_is_a_target(tmp_path: Path) -> None:
    loaded = make_experiment(tmp_path, target=["python", "my train.py"])
    assert loaded.target == "python 'my train.py'"
    with pytest.raises(ExperimentError, match="module:function, or a program"):
        make_experiment(tmp_path, target="train")


def test_a_secret_in_env_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="no secret such as 'WANDB_API_KEY'"):
        make_experiment(tmp_path, env={"WANDB_API_KEY": "x"})


def test_a_missing_target_names_the_nearest() -> None:
    with pytest.raises(TargetError, match="did you mean 'load'"):
        load("sweeper.trial.importing:laod")


@pytest.mark.slow
def test_a_structured_config_is_planned_with_its_groups(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(
        f"project: {STRANGERS / 'structured'}\ntarget: fit:run\nconfig: main_config\n"
        "search_space: {optim: 'adam, sdg'}\nobjective: {metric: accuracy}\n"
    )
    done = subprocess.run(  # the project's modules are not this process's
        [sys.executable, "-m", "sweeper", "run", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "s.yaml:4: search_space: group 'optim' has no option 'sdg'" in done.stderr


MAIN = """
from dataclasses import dataclass

import hydra
from hydra.core.config_store import ConfigStore


@dataclass
class Config:
    lr: float = 0.1
    seed: int = 1


def train(cfg):
    raise AssertionError("nothing may be trained here")


def main():
    ConfigStore.instance().store(name="registered_late", node=Config)
    hydra.main(config_path=None, config_name="registered_late", version_base="1.3")(
        train
    )()


if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
def test_a_program_that_registers_its_configs_in_main_is_planned(
    tmp_path: Path,
) -> None:
    package = tmp_path / "src" / "late"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "train.py").write_text(MAIN)
    file = tmp_path / "late.yaml"
    file.write_text(
        f"project: {tmp_path}\ntarget: [python, -m, late.train]\n"
        "config: registered_late\nsearch_space: {lt: [1, 2]}\nobjective: {metric: a}\n"
    )
    done = subprocess.run(  # the project's modules are not this process's
        [sys.executable, "-m", "sweeper", "plan", str(file), "--no-memory"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "the config has no key 'lt'; known: lr, seed" in done.stderr, done.stderr


def test_a_target_that_cannot_be_imported_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "from hydra.core.config_store import ConfigStore\n\nraise KeyError('HOME')\n"
    )
    with pytest.raises(TargetError, match=r"raised KeyError at broken.py:3: 'HOME'"):
        register("broken:main", tmp_path)

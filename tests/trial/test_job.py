"""A config that is changed for a trial equals the one that Hydra composes for it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from sweeper.trial import job
from sweeper.trial.compose import Composer
from sweeper.trial.job import Source
from tests.helpers import write_configs

CONF = """
defaults: [_self_, model: small]
lr: 0.1
name: run
layers: [1, 2]
optimizer: {betas: [0.9, 0.99], decay: 0}
half: ${lr}
hydra: {job: {config: {override_dirname: {exclude_keys: [name]}}}}
"""
FIRST = (
    "lr=0.5",
    "model=small",
    "+new=1",
    "name=a",
    "layers=[3]",
    "hydra.verbose=true",
)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "train.yaml").write_text(CONF)
    for name, width in {"small": 8, "large": 64}.items():
        file = tmp_path / "conf" / "model" / f"{name}.yaml"
        file.write_text(f"width: {width}\nrate: ${{lr}}\n")
    yield tmp_path
    job._bases.clear()


Request = tuple[Source, tuple[str, ...]]


def ask(project: Path, *overrides: str) -> Request:
    config = project / "conf" / "train.yaml"
    return Source(config=config, project=project), overrides


def composed(request: Request) -> DictConfig:
    source, overrides = request
    return Composer(source.config, source.project).compose_with_hydra(overrides)


def changed(word: str) -> tuple[str, ...]:
    """The first overrides with another value of one key."""
    key = word.partition("=")[0]
    return tuple(word if w.partition("=")[0] == key else w for w in FIRST)


@pytest.mark.parametrize(
    "word",
    [
        *(
            "lr=0.25",
            "lr=1",
            "lr='1e-3'",
            "lr=null",
            "lr=true",
            "lr=${optimizer.decay}",
        ),
        *("+new=x", "name='a b=c'", 'name="${lr}"'),
    ],
)
def test_a_plain_value_changes_the_base(project: Path, word: str) -> None:
    job.prepare(*ask(project, *FIRST))
    (base,) = job._bases
    request = ask(project, *changed(word))
    expected = composed(request)
    composer, config = job.take(*request)
    assert composer is base.composer
    assert OmegaConf.to_yaml(config) == OmegaConf.to_yaml(expected)
    assert list(map(str, config)) == list(map(str, expected))
    assert OmegaConf.is_struct(config) == OmegaConf.is_struct(expected)


@pytest.mark.parametrize(
    "words",
    [
        changed("model=large"),
        changed("layers=[4, 5]"),
        changed("hydra.verbose=false"),
        (*FIRST, "lr=0.3"),
        FIRST[:-1],
        ("lr=0.7", *FIRST[1:-1], "lr=0.9"),
        ("++lr=0.7", *FIRST[1:]),
        ("~lr", *FIRST[1:]),
        ("optimizer.decay=1", *FIRST[1:]),
    ],
)
def test_another_change_is_composed(project: Path, words: tuple[str, ...]) -> None:
    job.prepare(*ask(project, *FIRST))
    (base,) = job._bases
    request = ask(project, *words)
    composer, config = job.take(*request)
    assert composer is not base.composer
    assert OmegaConf.to_yaml(config) == OmegaConf.to_yaml(composed(request))


def test_a_value_inside_of_another_override_is_composed(project: Path) -> None:
    words = ("optimizer={decay: 1}", "optimizer.decay=2")
    job.prepare(*ask(project, *words))
    request = ask(project, words[0], "optimizer.decay=3")
    (base,) = job._bases
    assert job.take(*request)[0] is not base.composer


def test_an_edited_config_is_composed(project: Path) -> None:
    job.prepare(*ask(project, *FIRST))
    (project / "conf" / "model" / "small.yaml").write_text("width: 16\n")
    _, config = job.take(*ask(project, *FIRST))
    assert config.model.width == 16


def test_there_is_a_base_for_each_choice_of_groups(project: Path) -> None:
    for word in ("model=small", "model=large", "lr=0.2", "model=small"):
        job.prepare(*ask(project, *changed(word)))
    assert len(job._bases) == 2


def test_an_unknown_key_is_the_same_error(project: Path) -> None:
    words = ("lr=1", "nothing=2")
    with pytest.raises(Exception, match="nothing"):
        job.prepare(*ask(project, *words))
    assert job._bases == []


# ---- jobs


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    return write_configs(tmp_path)


def test_a_trials_config_knows_the_trials_folder(configs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "trials" / "abc"
    config = job.compose(
        Source(
            config=configs / "conf" / "train.yaml",
            project=configs,
            target="my_project.fit:main",
        ),
        ["model=large", "hydra.run.dir=elsewhere", "+hydra.job.env_set.MARK=7"],
        output_dir=folder,
        number=3,
    ).config
    assert config.output == str(folder)
    assert config.name == "large-64"
    assert "hydra" not in config
    hydra = HydraConfig.get()
    assert hydra.run.dir == hydra.runtime.output_dir == str(folder)
    assert hydra.job.name == "fit"
    assert hydra.job.num == 3
    assert hydra.job.id == "abc"
    assert hydra.runtime.choices["model"] == "large"
    assert list(hydra.overrides.task) == ["model=large"]
    assert os.environ["MARK"] == "7"


def test_a_second_trial_in_one_process_gets_its_own_folder(
    configs: Path, tmp_path: Path
) -> None:
    source = Source(config=configs / "conf" / "train.yaml", project=configs)
    for name in ("a", "b"):
        made = job.compose(source, [], output_dir=tmp_path / name).config
        assert made.output == str(tmp_path / name)
        assert OmegaConf.is_struct(made)


def test_all_that_composes_and_calls_a_target_needs_only_hydra() -> None:
    """It will run in the project's interpreter, which need not have the others."""
    code = "import sys, sweeper.trial.job; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    ours = {"pydantic", "optuna", "ray", "numpy", "torch", "lightning", "rich", "scipy"}
    assert not ours & set(printed.split())

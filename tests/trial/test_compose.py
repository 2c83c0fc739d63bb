"""Configs compose as Hydra composes them."""

from pathlib import Path

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from sweeper.system.errors import ConfigError
from sweeper.trial.compose import Composer
from tests.helpers import write_configs


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_configs(tmp_path)


@pytest.fixture
def composer(project: Path) -> Composer:
    return Composer(project / "conf" / "train.yaml", project)


def test_groups_are_found_with_their_options(composer: Composer) -> None:
    assert composer.groups() == {
        "callbacks": ("ema",),
        "data": ("crops", "digits"),
        "model": ("large", "small"),
        "model/head": ("linear",),
    }


def test_a_config_is_the_one_that_hydra_composes(
    project: Path, composer: Composer
) -> None:
    words = ["model=large", "model.learning_rate=0.5", "+callbacks=ema"]
    with initialize_config_dir(str(project / "conf"), version_base="1.3"):
        expected = hydra_compose("train", words)
    assert composer.compose(words) == expected


def test_hydra_stays_as_another_user_of_it_left_it(
    project: Path, composer: Composer
) -> None:
    with initialize_config_dir(str(project / "conf"), version_base="1.3"):
        composer.compose(["model=large"])
        assert hydra_compose("train").model.kind == "small"
    assert not GlobalHydra.instance().is_initialized()


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("model=lrage", ["Could not find 'model/lrage'", "small"]),
        ("modl=small", ["Could not override 'modl'"]),
        ("model.widht=3", ["Could not override 'model.widht'", "Key 'widht'"]),
        ("model=[", ["no viable alternative", "model=["]),
        ("model=3", ["must be a string or a list"]),
        ("seed=1,2", ["seed=1,2"]),
    ],
)
def test_hydras_own_reason_is_kept_in_one_line(
    composer: Composer, word: str, parts: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        composer.compose([word])
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_broken_config_file_is_named(project: Path, composer: Composer) -> None:
    (project / "conf" / "model" / "small.yaml").write_text("a: [1")
    with pytest.raises(ConfigError, match=r"small\.yaml"):
        composer.compose([])


def test_a_missing_primary_config_is_named_with_those_beside_it(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"trian\.yaml.* did you mean 'train\.yaml'"):
        Composer(project / "conf" / "trian", project)


@pytest.mark.parametrize("config", ["conf/train", "pkg://conf/train"])
def test_a_config_is_found_without_its_suffix_and_in_a_package(
    project: Path, config: str
) -> None:
    assert Composer(project / config, project).compose([]).seed == 42


@pytest.mark.parametrize(
    ("word", "seed"),
    [
        ("seed=7", 7),
        ("seed='12'", 12),
        ("seed=${data.batch_size}", 64),
        ("seed=${hydra:runtime.output_dir}", None),  # known in the trial only
        ("seed=null", None),
        ("seed=-1", None),
        ("seed=true", None),
        ("seed=4294967296", None),
    ],
)
def test_a_config_asks_for_a_seed(
    composer: Composer, word: str, seed: int | None
) -> None:
    assert composer.seed([word]) == seed

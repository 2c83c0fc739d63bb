"""A config that is changed for a trial equals the one that Hydra composes for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from sweeper.trial import base_config
from sweeper.trial.base_config import Request
from sweeper.trial.compose import Composer

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
    base_config._bases.clear()


def ask(project: Path, *overrides: str) -> Request:
    config = project / "conf" / "train.yaml"
    return Request(config=config, project=project, target="", overrides=overrides)


def composed(request: Request) -> DictConfig:
    composer = Composer(request.config, request.project, target=request.target)
    return composer.compose_with_hydra(request.overrides)


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
    base_config.prepare(ask(project, *FIRST))
    (base,) = base_config._bases
    request = ask(project, *changed(word))
    expected = composed(request)
    composer, config = base_config.take(request)
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
    base_config.prepare(ask(project, *FIRST))
    (base,) = base_config._bases
    request = ask(project, *words)
    composer, config = base_config.take(request)
    assert composer is not base.composer
    assert OmegaConf.to_yaml(config) == OmegaConf.to_yaml(composed(request))


def test_a_value_inside_of_another_override_is_composed(project: Path) -> None:
    words = ("optimizer={decay: 1}", "optimizer.decay=2")
    base_config.prepare(ask(project, *words))
    request = ask(project, words[0], "optimizer.decay=3")
    (base,) = base_config._bases
    assert base_config.take(request)[0] is not base.composer


def test_an_edited_config_is_composed(project: Path) -> None:
    base_config.prepare(ask(project, *FIRST))
    (project / "conf" / "model" / "small.yaml").write_text("width: 16\n")
    _, config = base_config.take(ask(project, *FIRST))
    assert config.model.width == 16


def test_there_is_a_base_for_each_choice_of_groups(project: Path) -> None:
    for word in ("model=small", "model=large", "lr=0.2", "model=small"):
        base_config.prepare(ask(project, *changed(word)))
    assert len(base_config._bases) == 2


def test_an_unknown_key_is_the_same_error(project: Path) -> None:
    words = ("lr=1", "nothing=2")
    with pytest.raises(Exception, match="nothing"):
        base_config.prepare(ask(project, *words))
    assert base_config._bases == []

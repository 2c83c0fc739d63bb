"""Configs are those of `python train.py OVERRIDES`, whatever Hydra's features are used.

The oracle is Hydra's own command line, as `hydra_oracle.py` runs it.
"""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from sweeper.experiment import loading, space
from sweeper.plan.plan import make_plan
from sweeper.project.points import check, configs
from sweeper.system.errors import ConfigError, SweeperError
from sweeper.trial.compose import Composer

PROJECT = Path(__file__).parents[1] / "cases" / "composed"
ORACLE = Path(__file__).with_name("hydra_oracle.py")
CONFIG = "conf/main.yaml"

ACCEPTED = [
    [],
    ["model=wide"],
    ["model=wide", "model/head=linear", "model.width=3"],
    ["+experiment=big"],
    ["+experiment=nested/bigger"],
    ["+experiment=nested/bigger", "optim@critic=sgd"],
    ["optim@model.optim=adam", "model.optim.betas=[0.8, 0.9]"],
    ["optim@model.optim=muon"],  # on the search path that the primary config adds
    ["+optim@extra.deep=adam"],
    ["~optim@critic"],
    ["~model.optim"],
    ["data=digits", "data.size=4"],
    ["data=crops"],
    ["logger=[csv, board]"],
    ["logger=board"],
    ["clip.norm=2", "clip.is_on=yes"],
    ["layers.0=5"],
    ["layers=[]"],
    ["table={a: 2, b: {c: null}}"],
    ["++table.b.f={g: 'x, y'}"],
    ["+new.key.deep=1e-3", "+text='a=b: ${seed}'"],
    ["where=/a/b-c.d", "double=null"],
    ["+escaped='it\\'s \\\\ here'"],
    ["hydra.job.chdir=true", "hydra.run.dir=elsewhere"],
]
REFUSED = [
    ["modle=wide"],
    ["model=huge"],
    ["model.widht=3"],
    ["experiment=big"],
    ["clip.norm=loud"],
    ["+experiment=nested/biggest"],
    ["table={a: 2, b: {e: [1]}}"],
    ["~nothing"],
]
PLANNED = [
    ["model=wide", "model/head=linear", "model.width=3"],
    ["+experiment=nested/bigger", "optim@critic=sgd"],
    ["optim@model.optim=muon"],
    ["~optim@critic", "logger=[csv, board]", "layers.0=5"],
    ["table={a: 2, b: {c: null}}", "+text='a=b: ${seed}'"],
]


@cache
def oracle() -> list[str | None]:
    """What Hydra prints for each entry of ACCEPTED, then of REFUSED."""
    done = subprocess.run(
        [sys.executable, str(ORACLE)],
        input=json.dumps([*ACCEPTED, *REFUSED]),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[str | None] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer(PROJECT / CONFIG, PROJECT, target="train:main")


@pytest.mark.parametrize("index", range(len(ACCEPTED)))
def test_a_config_is_the_one_that_the_command_line_composes(
    composer: Composer, index: int
) -> None:
    expected = oracle()[index]
    assert expected is not None, ACCEPTED[index]
    made = OmegaConf.to_yaml(composer.compose(ACCEPTED[index]))
    assert yaml.safe_load(made) == yaml.safe_load(expected)


@pytest.mark.parametrize("index", range(len(REFUSED)))
def test_what_the_command_line_refuses_is_refused(
    composer: Composer, index: int
) -> None:
    assert oracle()[len(ACCEPTED) + index] is None
    with pytest.raises(ConfigError):
        composer.compose(REFUSED[index])


def _plan(folder: Path, words: list[str]) -> None:
    folder.mkdir(exist_ok=True)
    data = yaml.safe_load((PROJECT / "exp.yaml").read_text())
    file = folder / "exp.yaml"
    data |= {"project": str(PROJECT), "overrides": words}
    data["search_space"] = {"where": ["/a", "/b"]}
    file.write_text(yaml.safe_dump(data))
    make_plan(file, [], sweeps=folder / "sweeps")


@pytest.mark.parametrize("words", PLANNED)
def test_a_plan_accepts_what_hydra_accepts(tmp_path: Path, words: list[str]) -> None:
    _plan(tmp_path, words)


@pytest.mark.parametrize("words", REFUSED[1::2])
def test_a_plan_refuses_what_hydra_refuses(tmp_path: Path, words: list[str]) -> None:
    with pytest.raises(SweeperError, match=words[0].partition("=")[0].lstrip("+~")):
        _plan(tmp_path, words)


def test_swept_points_are_what_the_command_line_composes(tmp_path: Path) -> None:
    data = yaml.safe_load((PROJECT / "exp.yaml").read_text())
    data["project"] = str(PROJECT)
    data["search_space"] = {
        "+experiment": ["big", "nested/bigger"],
        "optim@model.optim": "sgd, muon",
        "logger": [["csv"], ["csv", "board"]],
        "table": [{"a": 3}, {"b": {"c": None}}],
    }
    file = tmp_path / "exp.yaml"
    file.write_text(yaml.safe_dump(data, sort_keys=False))
    loaded = loading.load(file)
    composer = Composer(PROJECT / CONFIG, PROJECT, target=loaded.target)
    parsed = space.parse(loaded, composer.groups())
    check(composer, loaded, parsed)
    points = list(parsed.points())
    assert len(points) == 2**4
    words = [list(parsed.overrides(point)) for point in points]
    done = subprocess.run(
        [sys.executable, str(ORACLE)],
        input=json.dumps(words),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    printed = json.loads(done.stdout.splitlines()[-1])
    made = [config for _, config in configs(composer, loaded, parsed, points)]
    expected = [yaml.safe_load(text) for text in printed]
    assert [yaml.safe_load(OmegaConf.to_yaml(config)) for config in made] == expected

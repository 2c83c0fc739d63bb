"""How Hydra begins: the primary config's folder, nested options, version, warnings."""

import logging
import shutil
from pathlib import Path

import pytest

from sweeper.plan.plan import Plan, make_plan
from sweeper.project.points import configs as point_configs
from sweeper.system.errors import ConfigError, ExperimentError
from sweeper.trial import compose, program
from sweeper.trial.compose import Composer
from tests.cases.harness import CASES
from tests.helpers import write
from tests.kinds.specs import spec_of

MAIN = """
import hydra


@hydra.main({arguments})
def main(cfg):
    pass
"""
CONF = {
    "conf/exp/main.yaml": "# @package _global_\ndefaults: [/model: a, _self_]\nx: 1\n",
    "conf/exp/relative.yaml": "defaults: [inner: b, _self_]\nx: 1\n",
    "conf/exp/inner/b.yaml": "y: 2\n",
    "conf/model/a.yaml": "width: 8\n",
    "conf/model/b.yaml": "width: 64\n",
    "more/model/c.yaml": "width: 99\n",
}


def plan(project: Path, *overrides: str) -> Plan:
    return make_plan(project / "exp.yaml", overrides, sweeps=project / "sweeps")


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """A folder that holds copies of C21 and C31."""
    for name in ("C21", "C31"):
        shutil.copytree(CASES / name, tmp_path / name)
        (tmp_path / name / "pyproject.toml").touch()
    return tmp_path


def test_a_primary_config_in_a_sub_folder_is_planned(case: Path) -> None:
    assert plan(case / "C21").space.size == 2


def test_an_option_of_a_nested_group_is_a_choice(case: Path) -> None:
    made = plan(case / "C31")
    assert made.space.size == 6
    composer = Composer(case / "C31" / "conf" / "config.yaml", case / "C31")
    points = list(made.space.points())
    configs = [
        c for _, c in point_configs(composer, made.experiment, made.space, points)
    ]
    assert [(c["model"]["width"], c["model"]["depth"]) for c in configs[::2]] == [  # type: ignore[index]
        (64, 1),
        (8, 9),
        (64, 3),
    ]
    words = ["+experiment=nested/small_fast", "search_space={model.depth: [1, 2]}"]
    assert plan(case / "C31", *words).space.size == 2


@pytest.mark.parametrize("word", ["nested/small_fats", "nestde/small_fast", "deeper"])
def test_a_misspelt_nested_option_is_refused_with_the_nearest(
    case: Path, word: str
) -> None:
    file = case / "C31" / "exp.yaml"
    text = file.read_text().replace("nested/small_fast", word)
    file.write_text(text)
    with pytest.raises(ExperimentError, match="nested/") as caught:
        plan(case / "C31")
    assert caught.value.line == 5
    assert f"no option {word!r}" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "config", "key"),
    [
        ('"conf", "exp/main", None', "conf/exp/main.yaml", "model.width"),
        ('"conf", "exp/main", None', "conf/exp/main", "model.width"),
        (
            'config_path="conf", config_name="exp/relative"',
            "conf/exp/relative",
            "exp.x",
        ),
        ("config_path=str(HERE / 'conf')", "conf/exp/main.yaml", "model.width"),
        ('config_path="pkg://conf", config_name="x"', "pkg://conf/exp/main", "x"),
        # Another config beside the main's own, as with --config-name.
        ('config_path="conf", config_name="exp/main"', "conf/exp/relative", "exp.y"),
        # A config of another folder, as with --config-path.
        ('config_path="other", config_name="x"', "conf/exp/relative.yaml", "inner.y"),
    ],
)
def test_a_config_is_found_where_the_main_says(
    tmp_path: Path, arguments: str, config: str, key: str
) -> None:
    files = {"train.py": MAIN.format(arguments=arguments), **CONF}
    project = write(tmp_path, files)
    made = Composer(project / config, project, target="train:main").compose([])
    assert compose.to_plain(made)
    node: object = made
    for part in ("exp.inner.y" if key == "exp.y" else key).split("."):
        node = node[part]  # type: ignore[index]
    assert node in (1, 2, 8)


@pytest.mark.parametrize(
    ("arguments", "version"),
    [
        ("version_base=None", "1.3"),
        ('version_base="1.2"', "1.2"),
        ('version_base="1.1"', "1.1"),
        ('config_path="conf"', "1.1"),
        ("version_base=VERSION", "1.3"),
    ],
)
def test_the_defaults_are_those_of_the_mains_version_of_hydra(
    tmp_path: Path, arguments: str, version: str
) -> None:
    files = {"train.py": MAIN.format(arguments=arguments), "conf/config.yaml": "x: 1\n"}
    project = write(tmp_path, files)
    config = project / "conf" / "config.yaml"
    made = Composer(config, project, target="train:main").compose_with_hydra([])
    assert made.hydra.runtime.version_base == version
    assert made.hydra.job.name == "train"
    assert made.hydra.runtime.cwd == str(project)


def test_a_programs_own_command_line_counts(tmp_path: Path) -> None:
    arguments = 'config_path="conf", config_name="exp/main", version_base=None'
    project = write(tmp_path, {"train.py": MAIN.format(arguments=arguments), **CONF})
    config = project / "conf" / "exp" / "main.yaml"
    target = "python train.py --config-dir more model=b +z=3"
    composer = Composer(config, project, target=target)
    assert composer.groups()["model"] == ("a", "b", "c")
    assert composer.compose([]).model.width == 64
    assert composer.compose(["model=c"]) == {"model": {"width": 99}, "x": 1, "z": 3}
    with pytest.raises(ConfigError, match="--config-name"):
        Composer(config, project, target="python train.py --config-name other")


def test_a_program_is_started_as_one_job_with_its_trials_number(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, "lr=1", target="python train.py", number=7)
    words = program.words(spec)
    for word in ("hydra.mode=RUN", "hydra.job.num=7", "hydra.job.id=trial7"):
        assert word in words


def test_a_warning_of_hydra_is_shown_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    project = write(tmp_path, {"conf/train.yaml": "hydra: {searchpath: [nowhere]}\n"})
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            composer = Composer(project / "conf" / "train.yaml", project)
            composer.groups()
            composer.compose([])
    shown = [r for r in caplog.records if "nowhere is not available" in r.getMessage()]
    assert len(shown) == 1

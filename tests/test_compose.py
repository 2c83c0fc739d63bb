"""Configs compose as Hydra composes them, and what they lack is named with its line."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from sweeper.experiment.experiment import Experiment, load
from sweeper.experiment.space import Space, parse
from sweeper.project import check as checking
from sweeper.project.points import configs
from sweeper.system.errors import ConfigError, ExperimentError
from sweeper.trial import job
from sweeper.trial.compose import Composer, to_plain

FILES = {
    "train.yaml": """
        defaults:
          - _self_
          - model: small
          - data: digits
        seed: 42
        layers: [1, 2, 3]
        name: ${model.kind}-${data.batch_size}
        output: ${hydra:runtime.output_dir}
        trainer: {max_epochs: 3, callbacks: {early: {patience: 2}}}
        """,
    "model/small.yaml": "{kind: small, learning_rate: 1e-3, width: 8}",
    "model/large.yaml": "{kind: large, learning_rate: 1e-4, depth: 50}",
    "data/digits.yaml": "{batch_size: 64, path: digits}",
    "data/crops.yaml": "{batch_size: 32, path: crops}",
    "callbacks/ema.yaml": "{decay: 0.999}",
    "model/head/linear.yaml": "{bias: true}",
}
HEAD = """\
objective: {metric: acc}
search_space:
  model: small, large
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the configs of FILES."""
    (tmp_path / "pyproject.toml").touch()
    for name, text in FILES.items():
        path = tmp_path / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [line.removeprefix("        ") for line in text.splitlines()]
        path.write_text("\n".join(lines))
    return tmp_path


@pytest.fixture
def composer(project: Path) -> Composer:
    return Composer(project / "conf" / "train.yaml", project)


Checked = tuple[Experiment, Space]
Check = Callable[..., Checked]


@pytest.fixture
def check(project: Path, composer: Composer) -> Check:
    """Load an experiment text, parse its space and check both."""

    def run(text: str, *overrides: str) -> Checked:
        path = project / "exp.yaml"
        path.write_text(text)
        experiment = load(path, overrides)
        space = parse(experiment, composer.groups())
        checking.check(composer, experiment, space)
        return experiment, space

    return run


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


def test_all_that_composes_and_calls_a_target_needs_only_hydra() -> None:
    """It will run in the project's interpreter, which need not have the others."""
    code = "import sys, sweeper.trial.job; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    ours = {"pydantic", "optuna", "ray", "numpy", "torch", "lightning", "rich", "scipy"}
    assert not ours & set(printed.split())


def test_keys_of_every_choice_of_groups_pass(check: Check) -> None:
    text = HEAD + (
        "  model.learning_rate: 1e-3, 1e-2\n"
        "  layers.0: [5, 6]\n"
        "  +model.extra: [1, 2]\n"
        "overrides: [data=crops, trainer.max_epochs=5, '+callbacks=ema', ++a.b=1]\n"
        "variants: {plain: [], deep: [data.batch_size=8, ~name]}\n"
    )
    _, space = check(text)
    assert space.size == 2 * 2 * 2 * 2 * 2


@pytest.mark.parametrize(
    ("lines", "line", "parts"),
    [
        (
            "  model.learnig_rate: [1]",
            4,
            ["no key 'model.learnig_rate'", "did you mean 'model.learning_rate'?"],
        ),
        (
            "  trainer.callbacks.early.patiense: [1]",
            4,
            ["did you mean 'trainer.callbacks.early.patience'?"],
        ),
        ("  learning_rate: [1]", 4, ["did you mean 'model.learning_rate'?"]),
        ("  model.lr: [1]", 4, ["known in 'model': kind, learning_rate, width"]),
        (
            "  model.width: [1]",
            4,
            ["with model=large, though there is with model=small", "where:"],
        ),
        ("  data: digits, corps", 4, ["'data' has no option 'corps'", "'crops'?"]),
        ("  data:\n    - digits\n    - corps", 6, ["no option 'corps'"]),
        ("  dtaa: digits, crops", 4, ["no key 'dtaa'", "did you mean 'data'?"]),
        ("  callbacks: [ema]", 4, ["+callbacks=ema"]),
        ("overrides:\n- seeds.x=1\n", 5, ["overrides: the config has no key"]),
        ("overrides: [trainer=1]\n  \nvariants:\n  v:\n  - data=x", 8, ["variants.v"]),
        ("variants:\n  a: []\n  b:\n  - data.batchsize=1", 7, ["data.batch_size"]),
        ("overrides: [model/head=linaer]", 4, ["did you mean 'linear'"]),
    ],
)
def test_what_a_config_lacks_is_told_with_line_and_nearest_key(
    check: Check, lines: str, line: int, parts: list[str]
) -> None:
    with pytest.raises(ExperimentError) as caught:
        check(HEAD + lines + "\n")
    assert caught.value.line == line, caught.value
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_a_key_may_exist_only_where_the_condition_allows_it(check: Check) -> None:
    text = HEAD + "  model.width: [8, 16]\n"
    check(text + "where: model == 'small'\n")
    with pytest.raises(ExperimentError, match="where:"):
        check(text)


def test_a_word_of_the_command_line_is_told_as_such(check: Check) -> None:
    with pytest.raises(ExperimentError) as caught:
        check(HEAD, "seedz=[1]")
    assert str(caught.value).startswith("command line: overrides: ")
    assert "'seeds'" in str(caught.value) or "'seed'" in str(caught.value)


def test_a_group_of_many_options_composes_each_once(
    project: Path, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = []
    original = Composer.compose_with_hydra

    def counting(self: Composer, overrides: list[str]) -> object:
        composed.append(overrides)
        return original(self, overrides)

    for group in ("a", "b"):
        (project / "conf" / group).mkdir()
        for index in range(6):
            path = project / "conf" / group / f"o{index}.yaml"
            path.write_text(f"value: {index}")
    monkeypatch.setattr(Composer, "compose_with_hydra", counting)
    check(
        "objective: {metric: acc}\n"
        "search_space: {+a: 'glob(*)', +b: 'glob(*)', model.learning_rate: [1, 2]}\n"
    )
    assert len(composed) == 6 + 5  # each option at least once
    words = {word for overrides in composed for word in overrides}
    assert {f"+{g}=o{i}" for g in "ab" for i in range(6)} < words


def test_points_made_on_plain_containers_equal_composed_ones(
    check: Check, composer: Composer
) -> None:
    experiment, space = check(
        HEAD + "  model.learning_rate: [1e-3, '1e-3', null, true]\n"
        "  layers: [[1, 2], null, ['[1, 2]']]\n"
        "  +trainer.callbacks: [{early: {patience: 5}}, {ema: {decay: 0.9}}, {}]\n"
        "  data.batch_size: 8, 16\n"
        "overrides: [data=crops]\n"
        "variants: {plain: [], odd: [data.batch_size=7, +z=1]}\n"
        "where: not (model == 'small' and data.batch_size == 8)\n"
    )
    points = list(space.points())
    assert len(points) == 3 * 4 * 3 * 3 * 2
    for params, config in configs(composer, experiment, space, points[::29]):
        words = [*experiment.overrides, *space.overrides(params)]
        assert config == to_plain(composer.compose(words)), params


def test_ten_thousand_points_are_composed(check: Check, composer: Composer) -> None:
    experiment, space = check(
        HEAD + "  model.learning_rate: range(50)\n  data.batch_size: range(10)\n"
        "  trainer.max_epochs: range(10)\n"
    )
    made = sum(1 for _ in configs(composer, experiment, space, space.points()))
    assert made == 10_000


def test_a_trials_config_knows_the_trials_folder(project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "trials" / "abc"
    config = job.compose(
        project / "conf" / "train.yaml",
        ["model=large", "hydra.run.dir=elsewhere", "+hydra.job.env_set.MARK=7"],
        output_dir=folder,
        number=3,
        target="my_project.fit:main",
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
    project: Path, tmp_path: Path
) -> None:
    config = project / "conf" / "train.yaml"
    for name in ("a", "b"):
        made = job.compose(config, [], output_dir=tmp_path / name).config
        assert made.output == str(tmp_path / name)
        assert OmegaConf.is_struct(made)

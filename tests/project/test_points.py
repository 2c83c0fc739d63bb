"""What a config lacks is named with its line in the experiment file."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeper.experiment.definition import Experiment
from sweeper.experiment.loading import load
from sweeper.experiment.space import Space, parse
from sweeper.plan.plan import make_plan
from sweeper.project import points
from sweeper.project.points import configs
from sweeper.system.errors import ExperimentError, TargetError
from sweeper.trial.compose import Composer, to_plain
from tests.helpers import STRANGERS, write_configs

HEAD = """\
objective: {metric: acc}
search_space:
  model: small, large
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_configs(tmp_path)


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
        points.check(composer, experiment, space)
        return experiment, space

    return run


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


def test_every_space_of_a_list_is_checked(check: Check) -> None:
    text = (
        "objective: {metric: acc}\nsearch_space:\n"
        "- {model: [small], model.width: [1]}\n"
        "- {data: [digits, crops], model.widht: [2]}\n"
    )
    with pytest.raises(ExperimentError, match=r"no key 'model\.widht'") as caught:
        check(text)
    assert caught.value.line == 4
    check(text.replace("widht", "width"))


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


@pytest.mark.slow
def test_a_target_that_registers_configs_is_imported_in_another_process(
    tmp_path: Path,
) -> None:
    file = tmp_path / "exp.yaml"
    text = (
        f"project: {STRANGERS / 'structured'}\ntarget: fit:run\nconfig: main_config\n"
        "search_space: {optim: 'adam, sgd'}\nobjective: {metric: accuracy}\n"
    )
    file.write_text(text)
    plan = make_plan(file, [], sweeps=tmp_path / "sweeps")
    assert plan.space.size == 2
    file.write_text(text.replace("sgd", "sdg"))
    with pytest.raises(ExperimentError, match="no option 'sdg'") as caught:
        make_plan(file, [], sweeps=tmp_path / "sweeps")
    assert caught.value.line == 4
    assert "fit" not in sys.modules


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise KeyError('HOME')", r"raised KeyError at broken\.py:3"),
        ("import os; os._exit(3)", "ends the process"),
    ],
)
def test_a_target_that_cannot_be_imported_for_its_configs_is_one_message(
    tmp_path: Path, code: str, reason: str
) -> None:
    head = "from hydra.core.config_store import ConfigStore\nConfigStore\n"
    (tmp_path / "broken.py").write_text(f"{head}{code}\ndef main(cfg): pass\n")
    file = tmp_path / "exp.yaml"
    file.write_text(
        f"project: {tmp_path}\ntarget: broken:main\nconfig: some_config\n"
        "search_space: {lr: [1, 2]}\nobjective: {metric: a}\n"
    )
    with pytest.raises(TargetError, match=reason):
        make_plan(file, [], sweeps=tmp_path / "sweeps")

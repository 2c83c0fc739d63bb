"""A start that is refused: one clear line before anything starts, and nothing left."""

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from sweeper import cli
from sweeper.driver.driver import admit as admit_to
from sweeper.experiment import loading, space
from sweeper.journal import store
from sweeper.journal.journal import Journal
from sweeper.journal.record import Failure
from sweeper.plan.plan import Plan, make_plan
from sweeper.protocol import FailureKind, Report
from sweeper.system.errors import ExperimentChangedError, ExperimentError
from sweeper.system.paths import SweepPaths
from tests.cases.harness import copy_case, run_case
from tests.e2e.harness import driver
from tests.helpers import CONTEXT, make_experiment, open_journal

CONFIG = """\
lr: 0.1
batch_size: 8
precision: 32
devices: 1
name: plain
gamma: ${lr}
model: {depth: 3, width: 8}
"""
GOOD = {
    "target": "work:main",
    "config": "conf/main.yaml",
    "search_space": {"lr": [0.1, 0.2]},
    "objective": {"metric": "acc", "mode": "max"},
}


def make_project(folder: Path) -> Path:
    """Write a project with the target `work:main`."""
    (folder / "pyproject.toml").touch()
    (folder / "conf").mkdir()
    (folder / "conf" / "main.yaml").write_text(CONFIG)
    (folder / "work.py").write_text("def main(cfg):\n    pass\n")
    return folder


def plan_of(folder: Path, **keys: object) -> Plan:
    """Plan an experiment, each of whose values stands in a line of its own."""
    file = folder / "exp.yaml"
    file.write_text(yaml.safe_dump({**GOOD, **keys}, sort_keys=False))
    return make_plan(file, [], sweeps=folder / "sweeps")


def line_of(folder: Path, text: str) -> int:
    """Return the line of the experiment file in which a text stands first."""
    lines = (folder / "exp.yaml").read_text().splitlines()
    return next(i for i, line in enumerate(lines, start=1) if text in line)


# ---- one clear line before anything starts


@pytest.mark.parametrize(
    ("keys", "place", "said"),
    [
        ({"config": ""}, "config:", "at least 1 character"),
        ({"config": "conf"}, "config:", r"is a folder; .*in it: main\.yaml"),
        ({"config": "conf/"}, "config:", "is a folder"),
        ({"config": "conf/mian.yaml"}, "config:", "did you mean 'main.yaml'"),
        ({"config": "cnof/main.yaml"}, "config:", "no such Hydra config"),
        ({"target": "work:mian"}, "target:", "no function 'mian'; did you mean 'main'"),
        ({"target": "wrok:main"}, "target:", "cannot import 'wrok'.*'work'"),
        ({"target": "work.deep:main"}, "target:", "cannot import 'work.deep'"),
        ({"target": ["python", "wrok.py"]}, "target:", "wrok.py does not exist"),
        ({"target": ["python", "-m", "wrok"]}, "target:", "cannot import 'wrok'"),
        ({"target": ["no-such-program", "x"]}, "target:", "no program"),
        ({"target": "work"}, "target:", "module:function"),
        ({"wandb": {"project": "a/b"}}, "project:", "W&B refuses"),
        ({"wandb": {"project": "50%"}}, "project:", "W&B refuses"),
        ({"wandb": {"project": "x" * 129}}, "project:", "128"),
        ({"wandb": {"tags": ["ok", ""]}}, "tags:", "64"),
        ({"storage": "sqlite:///x.db"}, "storage:", "export --format optuna"),
        ({"warm_start": "never_ran"}, "warm_start:", "no sweep is there"),
        ({"name": "a/b"}, "name:", "names a folder"),
        ({"name": ".."}, "name:", "names a folder"),
        ({"name": ""}, "name:", "names a folder"),
        ({"search_space": {"lr": []}}, "lr:", "0 values"),
        ({"search_space": {"lr": [0.1, 0.1]}}, "lr:", "remove one"),
        ({"search_space": {"lr": [1, 1.0]}}, "lr:", "remove one"),
        ({"search_space": {"lr": "0.1, nan"}}, "lr:", "not a finite number"),
        ({"search_space": {"lr": [0.1, float("nan")]}}, ".nan", "not a finite number"),
        ({"search_space": {"lr": [0.1, float("inf")]}}, ".inf", "not a finite number"),
        ({"search_space": {"lr": [0.1, "fast"]}}, "fast", "'fast' .*number 0.1"),
        ({"search_space": {"lr": ["fast", 0.1]}}, "fast", "'fast' .*number 0.1"),
        ({"search_space": {"lr": "0.1, 1e-3x"}}, "lr:", "'1e-3x' .*number 0.1"),
        ({"search_space": {"lr": [0.1, "0.2"]}}, "'0.2'", "'0.2' .*number 0.1"),
        ({"search_space": {"batch_size": [8, True]}}, "true", "True .*number 8"),
        ({"search_space": {"model.depth": [2, "x"]}}, "- x", "'x' .*number 3"),
        ({"search_space": {"gamma": [0.5, "x"]}}, "- x", "'x' .*number 0.1"),
        (
            {"search_space": {"p": "zip(lr=choice(1, x), batch_size=choice(1, 2))"}},
            "p:",
            "'x' .*number 0.1",
        ),
    ],
)
def test_a_wrong_value_is_one_line_with_its_place_before_anything_starts(
    tmp_path: Path, keys: dict[str, object], place: str, said: str
) -> None:
    make_project(tmp_path)
    with pytest.raises(ExperimentError) as caught:
        plan_of(tmp_path, **keys)
    message = str(caught.value)
    assert re.search(said, message), message
    assert "\n" not in message
    assert caught.value.line == line_of(tmp_path, place), message
    assert not (tmp_path / "sweeps").exists()


@pytest.mark.parametrize(
    "space",
    [
        {"lr": [None, "sqrt", 0.5]},  # as the max_features of scikit-learn
        {"precision": [32, "16-mixed"]},  # Lightning takes both
        {"devices": [1, "auto"]},
        {"lr": [0.1, "${gamma}"]},
        {"lr": [0.1, None]},
        {"name": ["plain", 3]},  # the config has a word
        {"batch_size": [8, [8, 16]]},
        {"+new": [1, "x"]},
    ],
)
def test_a_list_of_several_kinds_that_may_be_meant_is_accepted(
    tmp_path: Path, space: dict[str, list[object]]
) -> None:
    (values,) = space.values()
    plan = plan_of(make_project(tmp_path), search_space=space)
    assert plan.num_trials == len(values)


def test_a_word_that_is_meant_goes_into_variants(tmp_path: Path) -> None:
    variants = {"slow": ["lr=0.1"], "own": ["lr=adaptive"]}
    plan = plan_of(
        make_project(tmp_path), search_space={"batch_size": [8]}, variants=variants
    )
    assert plan.num_trials == 2


@pytest.mark.parametrize(
    "content",
    [
        "from elsewhere import *\n",
        "def __getattr__(name):\n    return print\n",
        "from functools import partial\nmain = partial(print)\n",
        "try:\n    from fast import main\nexcept ImportError:\n    main = print\n",
        "if True:\n    def main(cfg): pass\n",
        "globals()['main'] = print\n",
        "async def main(cfg): pass\n",
        "class main: pass\n",
    ],
)
def test_a_function_that_may_be_there_is_not_refused(
    tmp_path: Path, content: str
) -> None:
    make_project(tmp_path)
    (tmp_path / "work.py").write_text(content)
    assert plan_of(tmp_path).num_trials == 2


def test_a_target_in_a_file_that_is_no_python_names_the_line(tmp_path: Path) -> None:
    make_project(tmp_path)
    (tmp_path / "work.py").write_text("x = 1\ndef main(cfg:\n")
    with pytest.raises(ExperimentError, match=r"work\.py:2: not valid"):
        plan_of(tmp_path)


@pytest.mark.parametrize(
    "keys",
    [
        {"baseline": {"lr": 0.1}},
        {"enqueue": [{"lr": 0.1}]},
        {"where": "lr < 0.2"},
        {"variants": {"a": ["batch_size=4"], "b": []}, "where": "lr < 0.2"},
    ],
)
def test_a_misspelt_key_of_the_space_is_blamed_on_its_own_line(
    tmp_path: Path, keys: dict[str, object]
) -> None:
    make_project(tmp_path)
    space = {"batch_size": [8], "lrr": [0.1, 0.2]}
    with pytest.raises(ExperimentError, match="no key 'lrr'; did you mean 'lr'") as e:
        plan_of(tmp_path, search_space=space, **keys)
    assert e.value.line == line_of(tmp_path, "lrr:")


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ({"search_space": {"lrr": [1], "lr": {"when": "lr > 0", "values": [1]}}}, "lr"),
        ({"search_space": {"p": "zip(lrr=choice(1,2), batch_size=choice(1,2))"}}, "p:"),
        ({"variants": {"a": [], "b": ["lrr=1"]}}, "lrr=1"),
        ({"overrides": ["batch_size=4", "lrr=1"]}, "lrr=1"),
        ({"baseline": {"lrr": 0.1}}, "lrr"),  # here the space is right
        ({"enqueue": [{"lr": 0.1}, {"lrr": 0.1}]}, "lrr"),
        ({"where": "lrr < 1"}, "lrr"),
    ],
)
def test_a_misspelt_key_is_blamed_where_it_stands(
    tmp_path: Path, keys: dict[str, object], place: str
) -> None:
    make_project(tmp_path)
    with pytest.raises(ExperimentError) as caught:
        plan_of(tmp_path, **keys)
    assert caught.value.line == line_of(tmp_path, place)


def test_a_misspelt_key_of_the_space_wins_over_a_condition_that_reads_it(
    tmp_path: Path,
) -> None:
    make_project(tmp_path)
    conditional = {"when": "model.depth > 2", "values": [8, 16]}
    space = {"modle.depth": [2, 3], "model.width": conditional}
    with pytest.raises(ExperimentError, match=r"no key 'modle\.depth'") as caught:
        plan_of(tmp_path, search_space=space)
    assert caught.value.line == line_of(tmp_path, "modle")


@pytest.mark.parametrize(
    "search_space",
    [
        {"lr": "interval(0.1, 1.0)"},
        dict.fromkeys(("lr", "batch_size", "devices"), "range(0, 10000)"),
    ],
)
@pytest.mark.few(1)
def test_a_plan_of_a_million_million_trials_ends(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    search_space: dict[str, str],
) -> None:
    make_project(tmp_path)
    plan_of(
        tmp_path, search_space=search_space, search="random", budget={"trials": 10**12}
    )
    assert cli.main(["plan", str(tmp_path / "exp.yaml"), "--no-memory"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "1000000000000 trials" in shown
    assert "10000 trials were looked at" in shown


# ---- nothing is left behind


def admit(folder: Path, **keys: object) -> bool:
    """Admit an experiment to the sweep `toy`, as `run` does."""
    return admit_to(make_experiment(folder, **keys), _paths(folder))


def _paths(folder: Path) -> SweepPaths:
    return SweepPaths(folder / "sweeps" / "toy")


def _started(folder: Path, **keys: object) -> Journal:
    admit(folder, **keys)
    journal = open_journal(folder, **keys)
    assert journal.claim("a") is not None
    journal.start("a")
    return journal


def _stopped(folder: Path, **keys: object) -> None:
    _started(folder, **keys).pause("a")


def _failed(folder: Path, **keys: object) -> None:
    journal = _started(folder, **keys)
    journal.fail("a", Failure(kind=FailureKind.ERROR, message="KeyError: 'x'"))


def _killed(folder: Path, **keys: object) -> None:
    _started(folder, **keys)


def _without_objective(folder: Path, **keys: object) -> None:
    journal = _started(folder, **keys)
    journal.report("a", Report(epoch=1, values=(), metrics={"loss": 1.0}))
    journal.fail("a", Failure(kind=FailureKind.NAN, message="acc was never finite"))


CHANGES: list[dict[str, object]] = [
    {"objective": {"metric": "val/acc", "mode": "max"}},
    {"objective": {"metric": "acc", "mode": "min"}},
    {"objective": [{"metric": "acc"}, {"metric": "loss", "mode": "min"}]},
    {"target": "work:main"},
    {"overrides": ["lr=0.1"]},
    {"config": "other.yaml"},
    {"search_space": {"x": [2, 3]}, "overrides": ["lr=0.1"]},
]


@pytest.mark.parametrize("start", [_stopped, _failed, _killed, _without_objective])
@pytest.mark.parametrize("change", CHANGES[:4])
def test_a_sweep_without_a_reported_epoch_takes_any_change(
    tmp_path: Path,
    start: Callable[..., None],
    change: dict[str, object],
) -> None:
    start(tmp_path)
    assert admit(tmp_path, **change)
    stored = store.load_sweep(_paths(tmp_path).folder)
    assert stored.trials == ()
    # The corrected sweep runs as a new one: its directions are of its own objectives.
    journal = _started(tmp_path, **change)
    values = tuple(0.5 for _ in stored.experiment.objectives)
    journal.report("a", Report(epoch=1, values=values))
    journal.finish("a")
    trials = store.load_sweep(_paths(tmp_path).folder).trials
    assert [trial.values for trial in trials] == [{1: 0.5}]


@pytest.mark.parametrize("change", CHANGES)
def test_files_of_trials_without_a_result_do_not_outlive_the_change(
    tmp_path: Path, change: dict[str, object]
) -> None:
    _killed(tmp_path)
    paths = _paths(tmp_path)
    stale = paths.trial("0123456789").last
    stale.parent.mkdir(parents=True)
    stale.touch()
    paths.memory.write_text("{}")
    assert admit(tmp_path, **change)
    assert not stale.exists()
    assert not paths.memory.exists()


@pytest.mark.parametrize("change", CHANGES)
def test_a_sweep_with_a_reported_epoch_refuses_the_change(
    tmp_path: Path, change: dict[str, object]
) -> None:
    _started(tmp_path).report("a", Report(epoch=1, values=(0.5,)))
    with pytest.raises(ExperimentChangedError, match="--fork NAME"):
        admit(tmp_path, **change)
    assert len(store.load_sweep(_paths(tmp_path).folder).trials) == 1


def test_failures_that_a_change_may_have_mended_are_run_again(tmp_path: Path) -> None:
    _failed(tmp_path, env={"DATA": "nowhere"})
    assert admit(tmp_path, env={"DATA": "here"})
    assert store.load_sweep(_paths(tmp_path).folder).trials == ()


def test_what_changes_nothing_removes_nothing(tmp_path: Path) -> None:
    _failed(tmp_path)
    assert not admit(tmp_path)
    assert len(store.load_sweep(_paths(tmp_path).folder).trials) == 1


def test_a_trial_in_its_first_epoch_survives_a_change_that_keeps_it_comparable(
    tmp_path: Path,
) -> None:
    _stopped(tmp_path)
    assert not admit(tmp_path, budget={"trials": 2})
    assert len(store.load_sweep(_paths(tmp_path).folder).trials) == 1


@pytest.mark.parametrize("name", ["journal.jsonl", "trials", "memory.json"])
def test_a_kill_in_the_middle_of_making_room_is_made_good(
    tmp_path: Path, name: str
) -> None:
    _killed(tmp_path)
    for made in ("trials", "trials/0123456789"):
        (_paths(tmp_path).folder / made).mkdir()
    gone = _paths(tmp_path).folder / name
    if gone.is_dir():
        (gone / "0123456789").rmdir()
    else:
        gone.unlink(missing_ok=True)
    assert admit(tmp_path, target="work:main")
    assert not any(_paths(tmp_path).trials.glob("*"))


def test_plan_refuses_the_change_that_run_refuses(tmp_path: Path) -> None:
    make_project(tmp_path)
    plan = plan_of(tmp_path)
    paths = SweepPaths(plan.folder)
    admit_to(plan.experiment, paths)
    parsed = space.parse(plan.experiment, {})
    journal = Journal(plan.experiment, parsed, plan.folder, CONTEXT)
    assert journal.claim("a") is not None
    journal.start("a")
    assert plan_of(tmp_path, overrides=["batch_size=4"])  # no epoch so far
    journal.report("a", Report(epoch=1, values=(0.5,)))
    with pytest.raises(ExperimentChangedError, match=r"\+ batch_size=4"):
        plan_of(tmp_path, overrides=["batch_size=4"])
    assert loading.load(paths.experiment).overrides == ()


@pytest.mark.slow
@pytest.mark.e2e
def test_a_misspelt_metric_that_the_preflight_refused_is_corrected_in_the_file(
    tmp_path: Path,
) -> None:
    project = copy_case("loop_of_epochs", tmp_path)
    file = project / "exp.yaml"
    good = file.read_text()
    file.write_text(good.replace("metric: acc", "metric: ac"))
    refused = run_case("loop_of_epochs", tmp_path)
    assert refused.code == 2, refused.output
    assert "did you mean 'acc'" in refused.output
    file.write_text(good)
    done = run_case("loop_of_epochs", tmp_path)
    assert done.code == 0, done.output
    assert "resume" not in done.output
    assert done.epochs() == [1, 2]


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.parametrize("wrong", ["target=train:broken", "objective.metric=ac"])
def test_a_start_that_its_first_trials_failed_is_corrected_by_the_same_command(
    tmp_path: Path, wrong: str
) -> None:
    first = run_case("loop_of_epochs", tmp_path, wrong, "preflight=false")
    assert first.code != 0, first.output
    done = run_case("loop_of_epochs", tmp_path, "preflight=false")
    assert done.code == 0, done.output
    assert [done.epochs(number) for number in (0, 1)] == [[1, 2], [1, 2]]


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.e2e
def test_a_start_that_was_stopped_before_its_first_report_takes_any_change(
    tmp_path: Path,
) -> None:
    project = copy_case("loop_of_epochs", tmp_path)
    words = ("exp.yaml", "name=sweep", "seconds=600", "preflight=false")
    with driver(*words, output=tmp_path / "out", cwd=project) as started:
        started.wait_for(" running")
        started.kill(signal.SIGINT)
        started.wait_for("stopping")
        started.kill(signal.SIGINT)
        assert started.wait() == 130
    done = run_case("loop_of_epochs", tmp_path, "preflight=false")
    assert done.code == 0, done.output
    assert done.epochs() == [1, 2]

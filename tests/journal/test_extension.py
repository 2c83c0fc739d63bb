"""A sweep is extended by editing its file: only the new work runs."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.experiment import space
from sweeper.experiment.definition import changes
from sweeper.experiment.loading import load
from sweeper.journal import store
from sweeper.journal.journal import Journal
from sweeper.journal.record import Failure, State, StopReason, Sweep
from sweeper.journal.study import again
from sweeper.protocol import FailureKind, Report
from sweeper.reporting.tables import remarks
from sweeper.statistics import leaderboard
from sweeper.system import code_version
from tests.helpers import CONTEXT, make_experiment, open_journal


def _run_all(journal: Journal, *, epochs: int = 1) -> list[tuple[dict, int]]:  # type: ignore[type-arg]
    """Run what the journal hands out, from the epoch that is reported; the trials."""
    ran = []
    while journal.claim("a") is not None:
        spec = journal.start("a")
        ran.append((dict(spec.params), spec.seed))
        first = journal._store.get(spec.id).last_epoch
        for epoch in range(first + 1, epochs + 1):
            value = epoch + spec.params["x"] / 10
            journal.report("a", Report(epoch=epoch, values=(value,), busy_seconds=1.0))
        journal.finish("a")
    return ran


def _first_run(journal: Journal) -> tuple[str, object]:
    """Id of the journal's first trial, and that of its W&B run."""
    assert journal.claim("a") is not None
    spec = journal.start("a")
    return spec.id, spec.wandb["id"]


def test_a_run_of_wandb_is_of_one_sweep_over_kills_and_moves(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "fork"]
    for folder in folders:
        folder.mkdir()
    (trial, run), (same, other) = [_first_run(open_journal(f)) for f in folders]
    assert trial == same  # one point, one seed, two sweeps
    assert run != other
    assert str(run).startswith(trial)
    assert _first_run(open_journal(folders[0])) == (trial, run)  # its driver died
    moved = folders[0].rename(tmp_path / "moved")
    assert _first_run(open_journal(moved)) == (trial, run)
    loaded = make_experiment(moved)
    uid = store.Reader(loaded, moved / "sweeps" / "toy").sweep().uid
    assert run == f"{trial}-{uid}"


def _sweep(folder: Path) -> Sweep:
    loaded = load(folder / "toy.yaml")
    return store.Reader(loaded, folder / "sweeps" / "toy").sweep()


def test_values_seeds_variants_and_trials_are_added(tmp_path: Path) -> None:
    keys: dict[str, object] = {
        "search_space": {"x": [1, 2]},
        "budget": {"trials": 1},
    }
    assert _run_all(open_journal(tmp_path, **keys)) == [({"x": 1}, 42)]
    keys["budget"] = {"trials": 10}
    assert _run_all(open_journal(tmp_path, **keys)) == [({"x": 2}, 42)]
    keys["search_space"] = {"x": [0, 1, 2]}
    assert _run_all(open_journal(tmp_path, **keys)) == [({"x": 0}, 42)]
    keys["seeds"] = [42, 43]
    ran = _run_all(open_journal(tmp_path, **keys))
    assert sorted(p["x"] for p, _ in ran) == [0, 1, 2]
    assert {seed for _, seed in ran} == {43}
    assert _run_all(open_journal(tmp_path, **keys)) == []


def test_a_variant_is_added_to_those_that_are_there(tmp_path: Path) -> None:
    keys: dict[str, object] = {"search_space": {"x": [1]}}
    keys["variants"] = {"plain": []}
    assert len(_run_all(open_journal(tmp_path, **keys))) == 1
    keys["variants"] = {"plain": [], "smooth": ["y=1"]}
    ran = _run_all(open_journal(tmp_path, **keys))
    assert ran == [({"x": 1, "variant": "smooth"}, 42)]


def test_a_budget_of_hours_that_is_raised_goes_on(tmp_path: Path) -> None:
    small = {"budget": {"wall_hours": 1e-9}}
    journal = open_journal(tmp_path, **small)
    assert journal.claim("a") is None
    assert journal.stopped_by().reason is StopReason.BUDGET
    assert len(_run_all(open_journal(tmp_path, budget={"wall_hours": 8.0}))) == 3


def test_removed_points_are_hidden_and_come_back(tmp_path: Path) -> None:
    _run_all(open_journal(tmp_path))
    assert leaderboard.best(_sweep(tmp_path)).params == {"x": 3}
    journal = open_journal(tmp_path, search_space={"x": [1, 2]})
    assert _run_all(journal) == []
    sweep = _sweep(tmp_path)
    assert [t.params["x"] for t in sweep.trials] == [1, 2]
    assert [t.params["x"] for t in sweep.hidden] == [3]
    assert leaderboard.best(sweep).params == {"x": 2}
    assert remarks(sweep) == ["1 trials hidden: not in the file any more"]
    assert _run_all(open_journal(tmp_path)) == []
    assert len(_sweep(tmp_path).trials) == 3
    assert _sweep(tmp_path).hidden == ()


def test_a_removed_seed_is_hidden(tmp_path: Path) -> None:
    _run_all(open_journal(tmp_path, seeds=[1, 2]))
    assert _run_all(open_journal(tmp_path, seeds=[2])) == []
    assert {t.seed for t in _sweep(tmp_path).trials} == {2}
    assert {t.seed for t in _sweep(tmp_path).hidden} == {1}


def test_a_waiting_trial_that_is_removed_does_not_run(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    assert journal.claim("a") is not None
    journal.start("a")
    ran = _run_all(open_journal(tmp_path, search_space={"x": [2, 3]}))
    assert [p["x"] for p, _ in ran] == [2, 3]
    assert [t.state for t in _sweep(tmp_path).hidden] == [State.WAITING]


def test_hidden_trials_stay_in_the_budget_once_they_ran(tmp_path: Path) -> None:
    budget = {"trials": 3}
    _run_all(open_journal(tmp_path, budget=budget))
    keys = {"search_space": {"x": [1, 4, 5]}, "budget": budget}
    assert _run_all(open_journal(tmp_path, **keys)) == []


def test_more_epochs_continue_what_was_complete(tmp_path: Path) -> None:
    _run_all(open_journal(tmp_path, overrides=["max_epochs=3"]), epochs=3)
    journal = open_journal(tmp_path, overrides=["max_epochs=6"])
    assert {t.state for t in _sweep(tmp_path).trials} == {State.WAITING}
    ran = _run_all(journal, epochs=6)
    assert [p["x"] for p, _ in ran] == [1, 2, 3]
    sweep = _sweep(tmp_path)
    assert {tuple(t.values) for t in sweep.trials} == {(1, 2, 3, 4, 5, 6)}
    assert {t.state for t in sweep.trials} == {State.COMPLETE}
    assert {t.starts for t in sweep.trials} == {2}
    assert _run_all(open_journal(tmp_path, overrides=["max_epochs=6"])) == []


def test_more_epochs_leave_stopped_and_failed_trials_alone(tmp_path: Path) -> None:
    keys = {"scheduler": {"_target_": "optuna.pruners.ThresholdPruner", "lower": 1.15}}
    journal = open_journal(tmp_path, overrides=["max_epochs=1"], **keys)
    for number in range(3):
        assert journal.claim("a") is not None
        spec = journal.start("a")
        value = 1 + spec.params["x"] / 10
        journal.report("a", Report(epoch=1, values=(value,), busy_seconds=1.0))
        failure = Failure(kind=FailureKind.ERROR, message="boom")
        journal.fail("a", failure) if number == 2 else journal.finish("a")
    again_ = open_journal(tmp_path, overrides=["max_epochs=2"], **keys)
    assert again_ is not None
    states = [t.state for t in _sweep(tmp_path).trials]
    assert states == [State.PRUNED, State.WAITING, State.FAILED]


def test_a_start_that_is_cut_while_it_extends_extends_once(tmp_path: Path) -> None:
    _run_all(open_journal(tmp_path, overrides=["max_epochs=1"]))
    journal = open_journal(tmp_path, overrides=["max_epochs=1"])
    record = journal._store.all()[0]
    journal._store.add(again(record))  # what a cut start may have written
    _run_all(open_journal(tmp_path, overrides=["max_epochs=2"]), epochs=2)
    assert {tuple(t.values) for t in _sweep(tmp_path).trials} == {(1, 2)}


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("target", "other:train", "target: 'sweeper.vision.train:train' -> 'other:"),
        ("config", "conf/other.yaml", "config: 'conf/train.yaml' -> 'conf/other"),
        ("overrides", ["a=2", "max_epochs=3"], "overrides: - a=1"),
        ("overrides", ["a=1", "max_epochs=2"], "overrides: - max_epochs=3"),
        ("overrides", ["a=1", "max_epochs=-1"], "overrides: + max_epochs=-1"),
        ("objective", {"metric": "f1"}, "objective.metric: 'acc' -> 'f1'"),
        ("objective", {"metric": "acc", "mode": "min"}, "'max' -> 'min'"),
    ],
)
def test_what_would_make_values_incomparable_is_a_change(
    tmp_path: Path, key: str, value: object, line: str
) -> None:
    keys: dict[str, object] = {"overrides": ["a=1", "max_epochs=3"]}
    old = make_experiment(tmp_path, **keys)
    new = make_experiment(tmp_path, **{**keys, key: value})
    assert any(line in change for change in changes(old, new)), changes(old, new)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("overrides", ["a=1", "max_epochs=6"]),
        ("search_space", {"x": [7]}),
        ("seeds", [1]),
        ("variants", {"a": []}),
        ("budget", {"trials": 2}),
        ("scheduler", "asha"),
        ("search", "random"),
        ("retry", {"error": 1}),
        ("timeout", 5),
        ("name", "other"),
    ],
)
def test_what_may_change_is_none(tmp_path: Path, key: str, value: object) -> None:
    keys: dict[str, object] = {"overrides": ["a=1", "max_epochs=3"]}
    old = make_experiment(tmp_path, **keys)
    assert changes(old, make_experiment(tmp_path, **{**keys, key: value})) == ()


def _git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(
        ["/usr/bin/git", "-C", str(folder), *identity, *arguments],
        check=True,
        capture_output=True,
    )


def test_a_version_of_code_is_a_commit_and_what_differs(tmp_path: Path) -> None:
    assert code_version.version(tmp_path) == ""
    _git(tmp_path, "init")
    (tmp_path / "train.py").write_text("x = 1\n")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-m", "one")
    clean = code_version.version(tmp_path)
    assert len(clean) == 10
    (tmp_path / "train.py").write_text("x = 2\n")
    edited = code_version.version(tmp_path)
    assert edited.startswith(f"{clean}+")
    assert code_version.version(tmp_path) == edited
    (tmp_path / "train.py").write_text("x = 3\n")
    assert code_version.version(tmp_path) not in (clean, edited)
    _git(tmp_path, "commit", "-am", "two")
    assert code_version.version(tmp_path) not in (clean, edited)
    committed = code_version.version(tmp_path)
    (tmp_path / "new.py").write_text("y = 1\n")
    assert code_version.version(tmp_path).startswith(f"{committed}+")


def test_status_tells_that_the_code_has_changed(tmp_path: Path) -> None:
    loaded = make_experiment(tmp_path)
    for version in ("1111111111", "2222222222+3333333333"):
        context = replace(CONTEXT, code=version)
        parsed = space.parse(loaded, {})
        journal = Journal(loaded, parsed, tmp_path / "sweeps" / "toy", context)
        assert journal.claim("a") is not None
        journal.start("a")
        journal.report("a", Report(epoch=1, values=(0.5,), busy_seconds=1.0))
        journal.finish("a")
    (line,) = remarks(_sweep(tmp_path))
    assert "1 trials with 1111111111" in line
    assert "1 trials with 2222222222+3333333333" in line

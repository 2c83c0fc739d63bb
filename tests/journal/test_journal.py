"""The journal's answers are a function of what it has written."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeper.experiment import space
from sweeper.experiment.loading import load
from sweeper.journal import store
from sweeper.journal.journal import Journal
from sweeper.journal.record import Failure, State, StopReason, Sweep, TrialRecord
from sweeper.protocol import Decision, FailureKind, Report
from tests.helpers import CONTEXT, make_experiment, open_journal

ERROR = Failure(kind=FailureKind.ERROR, message="boom")
LOST = Failure(kind=FailureKind.LOST, message="gone")


def _start(journal: Journal, slot: str = "a") -> str:
    """Claim and start the next trial on `slot`; its id."""
    assert journal.claim(slot) is not None
    return journal.start(slot).id


def _report(journal: Journal, value: float, *, epoch: int = 1) -> Decision:
    return journal.report(
        "a",
        Report(epoch=epoch, values=(value,), metrics={"acc": value}, busy_seconds=1.0),
    )


def _sweep(folder: Path) -> Sweep:
    loaded = load(folder / "toy.yaml")
    return store.Reader(loaded, folder / "sweeps" / "toy").sweep()


def _trial(folder: Path, identity: str) -> TrialRecord:
    return next(t for t in _sweep(folder).trials if t.id == identity)


def test_a_grid_hands_out_each_point_once(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    ids = []
    while journal.claim("a") is not None:
        ids.append(journal.start("a").id)
        _report(journal, 0.5)
        journal.finish("a")
    assert len(set(ids)) == len(ids) == 3
    assert journal.is_finished()
    assert [t.params["x"] for t in _sweep(tmp_path).trials] == [1, 2, 3]


def test_a_report_is_journaled_before_it_is_answered(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    identity = _start(journal)
    _report(journal, 0.25)
    trial = _trial(tmp_path, identity)
    assert trial.values == {1: 0.25}
    assert trial.metrics == {"acc": 0.25}
    assert trial.state is State.RUNNING


def test_the_second_report_of_an_epoch_replaces_the_first(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    identity = _start(journal)
    _report(journal, 0.25)
    _report(journal, 0.75)
    assert _trial(tmp_path, identity).values == {1: 0.75}


def test_a_trial_left_running_is_handed_out_first_and_again(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    identity = _start(journal)
    _report(journal, 0.25)
    again = open_journal(tmp_path)
    assert _start(again) == identity
    trial = _trial(tmp_path, identity)
    assert trial.starts == 2
    assert trial.failures == ()
    assert trial.values == {1: 0.25}


def test_a_new_start_never_repeats_a_finished_trial(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    first = _start(journal)
    _report(journal, 0.5)
    journal.finish("a")
    again = open_journal(tmp_path)
    assert {_start(again, slot) for slot in "abc"[:2]}.isdisjoint({first})
    assert again.claim("c") is None
    assert not again.is_finished()  # two of its trials still run


def test_two_slots_never_hold_one_trial(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    assert len({_start(journal, slot) for slot in "abc"}) == 3


def test_each_suggestion_is_run_with_each_seed(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, seeds=[1, 2])
    for _ in range(6):
        _start(journal)
        _report(journal, 0.5)
        journal.finish("a")
    assert journal.claim("a") is None
    pairs = {(t.params["x"], t.seed) for t in _sweep(tmp_path).trials}
    assert pairs == {(x, seed) for x in (1, 2, 3) for seed in (1, 2)}


def test_a_seed_added_later_runs_for_the_old_suggestions(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    for _ in range(3):
        _start(journal)
        _report(journal, 0.5)
        journal.finish("a")
    again = open_journal(tmp_path, seeds=[42, 43])
    seeds = []
    while again.claim("a") is not None:
        seeds.append(again.start("a").seed)
        _report(again, 0.5)
        again.finish("a")
    assert seeds == [43, 43, 43]


@pytest.mark.parametrize(
    ("mode", "values", "best"),
    [("max", (0.2, 0.9, 0.5), 0.9), ("min", (0.2, 0.9, 0.5), 0.2)],
)
def test_the_value_of_a_trial_is_its_best_epoch(
    tmp_path: Path, mode: str, values: tuple[float, ...], best: float
) -> None:
    journal = open_journal(tmp_path, objective={"metric": "acc", "mode": mode})
    identity = _start(journal)
    for epoch, value in enumerate(values, start=1):
        _report(journal, value, epoch=epoch)
    assert journal.finish("a") is State.COMPLETE
    loaded = load(tmp_path / "toy.yaml")
    found = _trial(tmp_path, identity).best(loaded.objective)
    assert found is not None
    assert found[1] == best


def test_a_trial_that_is_never_finite_has_failed(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    identity = _start(journal)
    _report(journal, math.nan)
    assert journal.finish("a") is State.FAILED
    assert _trial(tmp_path, identity).failures[0].kind is FailureKind.NAN


def test_an_error_is_not_tried_again_by_default(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    identity = _start(journal)
    assert journal.fail("a", ERROR) is State.FAILED
    assert _start(journal) != identity


@pytest.mark.parametrize("allowed", [0, 1, 3])
def test_a_lost_trial_is_tried_again_as_often_as_allowed(
    tmp_path: Path, allowed: int
) -> None:
    journal = open_journal(tmp_path, retry={"lost": allowed})
    identity = _start(journal)
    states = [journal.fail("a", LOST)]
    while states[-1] is State.WAITING:
        assert _start(journal) == identity
        states.append(journal.fail("a", LOST))
    assert len(states) == allowed + 1
    assert _trial(tmp_path, identity).starts == allowed + 1


def test_failures_are_counted_over_restarts(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, retry={"lost": 1})
    identity = _start(journal)
    assert journal.fail("a", LOST) is State.WAITING
    again = open_journal(tmp_path, retry={"lost": 1})
    assert _start(again) == identity
    assert again.fail("a", LOST) is State.FAILED


def test_draining_pauses_and_keeps_the_trial(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    identity = _start(journal)
    journal.drain()
    assert _report(journal, 0.5) is Decision.PAUSE
    journal.pause("a")
    assert journal.claim("a") is None
    assert journal.is_finished()
    assert journal.stopped_by().reason is StopReason.INTERRUPTED
    trial = _trial(tmp_path, identity)
    assert trial.state is State.WAITING
    assert trial.values == {1: 0.5}


def test_a_slot_that_dies_loses_only_its_own_trial(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    lost, kept = _start(journal, "a"), _start(journal, "b")
    journal.lost("a")
    journal.lost("never seen")
    assert _trial(tmp_path, lost).state is State.WAITING
    assert _trial(tmp_path, kept).state is State.RUNNING


def test_an_error_of_every_trial_stops_the_sweep(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    identity = _start(journal)
    journal.abort("a", "objective.metric: 'ac' is not logged")
    assert journal.claim("b") is None
    assert journal.stopped_by().reason is StopReason.ERROR
    assert _trial(tmp_path, identity).failures == ()


def test_a_pruned_trial_stays_pruned_over_a_restart(tmp_path: Path) -> None:
    keys = {"scheduler": {"_target_": "optuna.pruners.ThresholdPruner", "lower": 0.5}}
    journal = open_journal(tmp_path, **keys)
    identity = _start(journal)
    assert _report(journal, 0.1) is Decision.STOP
    again = open_journal(tmp_path, **keys)
    assert _start(again) == identity
    assert _report(again, 0.9) is Decision.STOP
    assert again.finish("a") is State.PRUNED


def test_busy_time_adds_up_over_attempts(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    identity = _start(journal)
    _report(journal, 0.1)
    again = open_journal(tmp_path)
    _start(again)
    _report(again, 0.1)
    assert _trial(tmp_path, identity).busy_seconds == pytest.approx(2.0)


def test_wall_hours_count_over_all_starts(tmp_path: Path) -> None:
    now = [0.0]

    def start() -> Journal:
        loaded = make_experiment(tmp_path, budget={"wall_hours": 2.0})
        journal = open_journal(tmp_path, budget={"wall_hours": 2.0})
        del journal
        parsed = space.parse(loaded, {})
        folder = tmp_path / "sweeps" / "toy"
        return Journal(loaded, parsed, folder, CONTEXT, clock=lambda: now[0])

    journal = start()
    _start(journal)
    now[0] += 3600 * 1.5
    assert _report(journal, 0.1) is Decision.CONTINUE
    again = start()
    _start(again)
    now[0] += 3600 * 0.6
    assert _report(again, 0.1) is Decision.PAUSE
    assert again.stopped_by().reason is StopReason.BUDGET


def test_finalists_run_again_on_fresh_seeds_once_all_have_ended(tmp_path: Path) -> None:
    keys = {"seeds": {"values": [1], "confirm": {"top": 2, "seeds": 2}}}
    journal = open_journal(tmp_path, **keys)
    for slot in "abc":
        _start(journal, slot)
    assert journal.claim("d") is None  # nothing is owed until the three have ended
    for slot, value in zip("abc", (0.2, 0.9, 0.5), strict=True):
        assert not journal.is_finished()
        metrics = {"acc": value}
        journal.report(
            slot, Report(epoch=1, values=(value,), metrics=metrics, busy_seconds=1.0)
        )
        journal.finish(slot)
    points = []
    for number in range(4):
        journal = open_journal(tmp_path, **keys) if number == 1 else journal
        identity = _start(journal)
        _report(journal, 0.5)
        journal.finish("a")
        trial = _trial(tmp_path, identity)
        points.append((trial.params["x"], trial.seed))
    assert journal.claim("a") is None
    assert journal.is_finished()
    assert [x for x, _ in points] == [2, 3, 2, 3]
    assert len({seed for _, seed in points} | {1}) == 3


@pytest.mark.parametrize("name", ["toy", "renamed"])
@pytest.mark.parametrize("move", [shutil.copytree, shutil.move])
def test_a_folder_that_is_moved_renamed_or_copied_goes_on(
    tmp_path: Path, name: str, move: Callable[[Path, Path], object]
) -> None:
    journal = open_journal(tmp_path)
    done = _start(journal)
    _report(journal, 0.5)
    journal.finish("a")
    old = tmp_path / "sweeps" / "toy"
    new = tmp_path / "elsewhere" / name
    new.parent.mkdir()
    move(old, new)
    loaded = make_experiment(tmp_path, name=name)
    again = Journal(loaded, space.parse(loaded, {}), new, CONTEXT)
    ids = []
    while again.claim("a") is not None:
        spec = again.start("a")
        assert Path(spec.folder).is_relative_to(new)
        ids.append(spec.id)
        _report(again, 0.5)
        again.finish("a")
    assert len(ids) == 2
    assert done not in ids
    trials = store.Reader(loaded, new).sweep().trials
    assert {trial.id for trial in trials} == {done, *ids}
    assert not old.exists() or _sweep(tmp_path).trials == trials[:1]


def test_a_value_added_to_a_parameter_runs_alone(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, search_space={"x": [1, 2]})
    for _ in range(2):
        _start(journal)
        _report(journal, 0.5)
        journal.finish("a")
    again = open_journal(tmp_path, search_space={"x": [3, 2, 1]})
    assert _start(again) not in {t.id for t in _sweep(tmp_path).trials[:2]}
    _report(again, 0.75)
    again.finish("a")
    assert again.claim("a") is None
    assert [t.params["x"] for t in _sweep(tmp_path).trials] == [1, 2, 3]

"""When a sweep has had enough."""

from dataclasses import replace
from pathlib import Path

import pytest

from sweeper import exit_codes
from sweeper.driver import summary
from sweeper.experiment import space
from sweeper.experiment.loading import dump
from sweeper.journal import store
from sweeper.journal.journal import Journal
from sweeper.journal.record import Failure, State, StopReason, Sweep
from sweeper.journal.study import again
from sweeper.protocol import Decision, FailureKind, Report
from sweeper.system.paths import SweepPaths, write_text
from tests.helpers import HALF, make_experiment


class _Sweep:
    """A journal with a clock, opened as often as a test likes."""

    def __init__(self, folder: Path, **keys: object) -> None:
        self.now = 0.0
        self._folder = folder
        self._keys = keys
        self.journal = self.open()

    def open(self, **keys: object) -> Journal:
        self._keys |= keys
        experiment = make_experiment(
            self._folder, search_space={"x": list(range(50))}, **self._keys
        )
        parsed = space.parse(experiment, {})
        folder = self._folder / "sweeps" / "toy"
        write_text(SweepPaths(folder).experiment, dump(experiment))
        self.journal = Journal(experiment, parsed, folder, HALF, clock=lambda: self.now)
        return self.journal

    def load(self) -> Sweep:
        return store.load_sweep(self._folder / "sweeps" / "toy")

    def run(self, value: float, *, hours: float = 0.0) -> Decision | None:
        """One trial with one report; None where none is handed out."""
        if self.journal.claim("a") is None:
            return None
        self.journal.start("a")
        self.now += hours * 3600
        decision = self.journal.report(
            "a", Report(epoch=1, values=(value,), busy_seconds=hours * 3600)
        )
        if decision is Decision.PAUSE:
            self.journal.pause("a")
        else:
            self.journal.finish("a")
        return decision

    def runs(self, values: list[float], *, hours: float = 0.0) -> int:
        """How many trials run to their end before the sweep stops."""
        count = 0
        for value in values:
            if self.run(value, hours=hours) is not Decision.CONTINUE:
                break
            count += 1
        return count


@pytest.mark.parametrize(
    ("budget", "price", "ended"),
    [
        ({"gpu_hours": 2.0}, {}, 3),  # each takes half a card for an hour
        ({"cost": 1.04}, {"T4": 0.7}, 2),  # and costs 0.35
        ({"wall_hours": 5.0}, {}, 4),
        ({"trials": 4}, {}, 4),
    ],
)
def test_limits_pause_what_runs_and_hold_over_restarts(
    tmp_path: Path, budget: dict[str, float], price: dict[str, float], ended: int
) -> None:
    sweep = _Sweep(tmp_path, budget=budget, price=price)
    count = 0
    while sweep.run(0.5, hours=1.0) is Decision.CONTINUE:
        count += 1
        sweep.open()  # each trial in a start of its own
    assert count == ended
    if "trials" not in budget:
        assert sweep.journal.stopped_by().reason is StopReason.BUDGET


@pytest.mark.parametrize(
    ("limit", "low", "high"),
    [
        ("gpu_hours", 1.2, 9.0),  # two trials at half a card, for an hour each epoch
        ("wall_hours", 1.5, 9.0),
        ("cost", 0.4, 9.0),
        ("target", 0.45, 2.0),
        ("patience", 1, 9),
    ],
)
def test_a_limit_pauses_what_runs_exits_with_4_and_goes_on_when_raised(
    tmp_path: Path, limit: str, low: float, high: float
) -> None:
    sweep = _Sweep(tmp_path, budget={limit: low, "trials": 4}, price={"T4": 0.35})
    ids = _start_two(sweep)
    assert _epoch(sweep, "b", 1, 0.1) is Decision.CONTINUE
    sweep.now += 3600
    assert _epoch(sweep, "a", 1, 0.4) is Decision.CONTINUE
    sweep.journal.finish("a")
    for number in range(2) if limit == "patience" else ():  # trials that are no better
        if sweep.journal.claim("a") is None:
            break
        sweep.journal.start("a")
        sweep.journal.report("a", Report(epoch=1, values=(0.3 - number / 10,)))
        sweep.journal.finish("a")
    sweep.now += 3600
    assert _epoch(sweep, "b", 2, 0.46) is Decision.PAUSE  # it has finished its epoch
    sweep.journal.pause("b")
    assert sweep.journal.claim("b") is None
    assert sweep.journal.is_finished()
    found, stop = sweep.load(), sweep.journal.stopped_by()
    assert stop.message.startswith(f"budget.{limit}: ")
    assert summary.exit_code(found, stop) == exit_codes.BUDGET == 4
    paused = found.trials[1]
    assert (paused.id, paused.state) == (ids["b"], State.WAITING)
    assert paused.values == {1: 0.1, 2: 0.46}
    journal = sweep.open(budget={limit: high, "trials": 4})
    assert journal.claim("c") is not None
    assert journal.start("c").id == ids["b"]  # it goes on before any other starts
    assert _epoch(sweep, "c", 3, 0.47) is Decision.CONTINUE
    assert journal.finish("c") is State.COMPLETE
    assert sweep.load().trials[1].values == {1: 0.1, 2: 0.46, 3: 0.47}
    assert journal.claim("d") is not None


def test_the_number_of_trials_ends_a_sweep_as_planned(tmp_path: Path) -> None:
    """Those that run train to their end, the code is 0, and raising it adds trials."""
    sweep = _Sweep(tmp_path, budget={"trials": 2})
    _start_two(sweep)
    for slot in "ab":
        assert _epoch(sweep, slot, 1, 0.5) is Decision.CONTINUE
        sweep.journal.finish(slot)
    assert sweep.journal.claim("a") is None
    code = summary.exit_code(sweep.load(), sweep.journal.stopped_by())
    assert code == exit_codes.FINISHED
    assert sweep.open(budget={"trials": 3}).claim("a") is not None


def _start_two(sweep: _Sweep) -> dict[str, str]:
    ids = {}
    for slot in "ab":
        assert sweep.journal.claim(slot) is not None
        ids[slot] = sweep.journal.start(slot).id
    return ids


def _epoch(sweep: _Sweep, slot: str, epoch: int, value: float) -> Decision:
    """A report of a trial that takes an hour for each epoch."""
    report = Report(epoch=epoch, values=(value,), busy_seconds=3600.0 * epoch)
    return sweep.journal.report(slot, report)


def test_raising_a_limit_goes_on_with_the_paused_trial(tmp_path: Path) -> None:
    sweep = _Sweep(tmp_path, budget={"gpu_hours": 1.0})
    assert sweep.runs([0.5] * 9, hours=1.0) == 1
    assert sweep.run(0.5) is None
    sweep.open(budget={"gpu_hours": 2.0})
    paused = sweep.journal.claim("a")
    assert paused is not None
    assert sweep.journal.start("a").params["x"] == 1


@pytest.mark.parametrize(
    ("mode", "values", "ended"),
    [("max", [0.1, 0.96, 0.97, 0.5], 2), ("min", [3.0, 2.0, 0.97, 0.1], 2)],
)
def test_a_target_stops_the_sweep_when_it_is_met(
    tmp_path: Path, mode: str, values: list[float], ended: int
) -> None:
    sweep = _Sweep(
        tmp_path, budget={"target": 0.97}, objective={"metric": "acc", "mode": mode}
    )
    assert sweep.runs(values) == ended
    assert sweep.journal.stopped_by().message == "budget.target: 0.97 of 0.97 reached"


def test_patience_counts_trials_that_ended_since_the_best(tmp_path: Path) -> None:
    sweep = _Sweep(tmp_path, budget={"patience": 3})
    values = [0.1, 0.5, 0.4, 0.6, 0.6, 0.1, 0.2, 0.9]
    assert sweep.runs(values) == 7
    assert "3 trials without a better one" in sweep.journal.stopped_by().message
    sweep.open(budget={"patience": 4})
    assert sweep.run(0.9) is Decision.CONTINUE


def test_hours_of_attempts_with_other_shares_add_up(tmp_path: Path) -> None:
    sweep = _Sweep(tmp_path, budget={"gpu_hours": 1.6})
    assert sweep.journal.claim("a") is not None
    sweep.journal.start("a")
    report = Report(epoch=1, values=(0.1,), busy_seconds=3600.0)
    assert sweep.journal.report("a", report) is Decision.CONTINUE
    sweep.journal.fail("a", Failure(kind=FailureKind.OOM, message="oom"))
    assert sweep.journal.claim("a") is not None
    sweep.journal.start("a")  # alone now: 0.5 h before, 1.1 h more
    assert sweep.journal.report("a", replace(report, busy_seconds=3900.0)) is (
        Decision.CONTINUE
    )
    assert sweep.journal.report("a", replace(report, busy_seconds=4000.0)) is (
        Decision.PAUSE
    )


def test_a_trial_that_is_put_back_has_cost_what_it_cost(tmp_path: Path) -> None:
    price = {"T4": 0.35, "L4": 0.7}
    sweep = _Sweep(tmp_path, budget={"gpu_hours": 9.0}, price=price)
    assert sweep.journal.claim("a") is not None
    sweep.journal.start("a")
    report = Report(epoch=1, values=(0.1,), busy_seconds=3600.0)
    sweep.journal.report("a", report)
    sweep.journal.fail("a", Failure(kind=FailureKind.OOM, message="oom"))
    assert sweep.journal.claim("a") is not None  # a whole card now
    sweep.journal.start("a")
    sweep.journal.report("a", report)
    sweep.journal.finish("a")
    before = sweep.load().trials[0]
    sweep.journal._store.add(again(before))
    after = sweep.load().trials[0]
    assert after.state is State.WAITING
    assert after.card_seconds == before.card_seconds == {"T4": 5400}

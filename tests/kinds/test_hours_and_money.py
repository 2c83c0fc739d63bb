"""Hours and money count from the start of each attempt to its end."""

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from sweeper.driver.watch import EventLog
from sweeper.experiment import space
from sweeper.experiment.loading import dump
from sweeper.journal import store
from sweeper.journal.journal import COUNT_SECONDS, Journal
from sweeper.journal.record import Demand, Failure, StopReason, Sweep
from sweeper.protocol import Decision, FailureKind, Report
from sweeper.reporting import status
from sweeper.reporting.status import Lines, status_view
from sweeper.system.errors import ExperimentError
from sweeper.system.paths import SweepPaths, write_text
from tests.helpers import CONTEXT, make_experiment

HOUR = 3600.0
HALF = replace(CONTEXT, demand=Demand(cpus=1.0, gpus=0.5), cards=1, slots=2)


class _Sweep:
    """A journal with a clock; each trial has half of a card."""

    def __init__(self, folder: Path, **keys: object) -> None:
        self.now = 0.0
        self.share = 0.0  # of a card, for the newest attempt
        self._folder = folder / "sweeps" / "toy"
        self._experiment = make_experiment(
            folder, search_space={"x": list(range(9))}, **keys
        )
        write_text(SweepPaths(self._folder).experiment, dump(self._experiment))
        self.journal = self.start_driver()

    def start_driver(self) -> Journal:
        """Open the journal as the next driver does."""
        parsed = space.parse(self._experiment, {})
        self.journal = Journal(
            self._experiment, parsed, self._folder, HALF, clock=lambda: self.now
        )
        return self.journal

    def begin(self, slot: str = "a", card: str = "T4") -> bool:
        """Start the next trial; return whether there was one."""
        demand = self.journal.claim(slot)
        if demand is None:
            return False
        self.share = demand.gpus
        self.journal.start(slot, card)
        return True

    def load(self) -> Sweep:
        return store.load_sweep(self._folder)

    def hours(self) -> float:
        return status.progress(self.load()).gpu_hours


def _fail(sweep: _Sweep, kind: FailureKind) -> None:
    sweep.journal.fail("a", Failure(kind=kind, message=str(kind)))


def _finish_without_report(sweep: _Sweep) -> None:
    sweep.journal.finish("a")  # as "never finite"


ENDS = {
    "crashes": lambda sweep: _fail(sweep, FailureKind.ERROR),
    "is killed": lambda sweep: _fail(sweep, FailureKind.LOST),
    "runs out of memory": lambda sweep: _fail(sweep, FailureKind.OOM),
    "never reports": _finish_without_report,
    "loses its slot": lambda sweep: sweep.journal.lost("a"),
    "is paused": lambda sweep: sweep.journal.pause("a"),
}


@pytest.mark.parametrize("end", ENDS)
def test_an_attempt_without_a_report_costs_its_hours(tmp_path: Path, end: str) -> None:
    sweep = _Sweep(tmp_path, retry={"lost": 0, "oom": 0})
    hours = 0.0
    for _ in range(2):
        assert sweep.begin()
        hours += sweep.share  # more, once memory ran out
        sweep.now += HOUR
        ENDS[end](sweep)
        assert sweep.hours() == pytest.approx(hours)
        sweep.start_driver()
    assert sweep.hours() == pytest.approx(hours)


@pytest.mark.parametrize("limit", [{"gpu_hours": 1.5}, {"cost": 0.6}])
def test_a_budget_ends_a_sweep_whose_trials_crash(
    tmp_path: Path, limit: dict[str, float]
) -> None:
    sweep = _Sweep(tmp_path, budget=limit, price={"T4": 0.4}, retry={"lost": 9})
    starts = 0
    while sweep.begin():
        starts += 1
        sweep.now += HOUR
        _fail(sweep, FailureKind.LOST)
        sweep.start_driver()
    assert starts == 3
    assert sweep.journal.stopped_by().reason is StopReason.BUDGET


def test_time_after_the_last_report_counts_once(tmp_path: Path) -> None:
    sweep = _Sweep(tmp_path)
    sweep.begin()
    sweep.now += HOUR
    sweep.journal.report("a", Report(epoch=1, values=(0.5,), busy_seconds=HOUR))
    assert sweep.hours() == pytest.approx(0.5)
    sweep.now += HOUR
    sweep.journal.finish("a")
    assert sweep.hours() == pytest.approx(1.0)


def test_a_trial_that_is_silent_is_counted_while_it_runs(tmp_path: Path) -> None:
    sweep = _Sweep(tmp_path, budget={"gpu_hours": 1.0})
    sweep.begin("a")
    sweep.begin("b")
    sweep.now += HOUR / 2
    report = Report(epoch=1, values=(0.5,), busy_seconds=HOUR / 2)
    assert sweep.journal.report("a", report) is Decision.CONTINUE
    assert sweep.hours() == pytest.approx(0.5)  # of both trials
    sweep.now += HOUR / 2
    report = Report(epoch=2, values=(0.5,), busy_seconds=HOUR)
    assert sweep.journal.report("a", report) is Decision.PAUSE
    sweep.start_driver()  # the first one was killed
    assert sweep.hours() == pytest.approx(1.0)
    assert not sweep.begin()


def test_the_driver_has_silent_trials_counted(tmp_path: Path) -> None:
    sweep = _Sweep(tmp_path)
    sweep.begin()
    sweep.now += COUNT_SECONDS
    sweep.journal.count_time()
    assert sweep.load().trials[0].busy_seconds == COUNT_SECONDS


def test_each_card_has_its_own_price_over_the_attempts_of_a_trial(
    tmp_path: Path,
) -> None:
    sweep = _Sweep(tmp_path, price={"T4": 0.4, "A100": 4.0}, retry={"lost": 9})
    for card in ("T4", "A100", "T4"):
        sweep.begin(card=card)
        sweep.now += HOUR
        _fail(sweep, FailureKind.LOST)
        sweep.start_driver()
    trial = sweep.load().trials[0]
    assert trial.card_seconds == pytest.approx({"T4": HOUR, "A100": HOUR / 2})
    assert status.progress(sweep.load()).cost == pytest.approx(0.4 + 2.0)


@pytest.mark.parametrize("price", [{"T4": 0.4}, {"T4": 0.4, "L4": 0.7}])
def test_the_cost_of_a_card_without_a_price_is_unknown_and_said_once(
    tmp_path: Path, price: dict[str, float]
) -> None:
    sweep = _Sweep(tmp_path, price=price, budget={"cost": 9.0})
    sweep.begin(card="A100")
    sweep.now += HOUR
    sweep.journal.count_time()
    loaded = replace(sweep.load(), is_running=True)
    console = Console(width=200)
    with console.capture() as shown:
        console.print(status_view(loaded, total=9))
    assert "unknown of 9 cost" in shown.get()
    console = Console(width=200)
    event_log = EventLog(tmp_path, Lines(console))
    with console.capture() as told:
        for _ in range(2):
            event_log.write(loaded, loaded)
    assert told.get().count("no price for card 'A100'") == 1


def test_a_limit_on_cost_needs_a_price(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"budget\.cost: 3 needs the price"):
        make_experiment(tmp_path, budget={"cost": 3.0})

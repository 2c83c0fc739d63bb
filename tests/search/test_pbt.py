"""Population-based training against a small one written here, on the paper's toy."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from sweeper.experiment import space
from sweeper.experiment.loading import load
from sweeper.journal import store
from sweeper.journal.journal import Journal
from sweeper.journal.record import Failure, State, Sweep
from sweeper.plan.plan import _num_trials
from sweeper.protocol import Decision, FailureKind, Lineage, Report
from sweeper.reporting import html_report, tables
from sweeper.reporting.status import events
from sweeper.reporting.tables import leaderboard_view, to_csv
from sweeper.search import algorithms
from sweeper.search.pbt import Population, near
from sweeper.statistics.leaderboard import rank
from sweeper.system.errors import ExperimentError
from tests.helpers import make_experiment, open_journal

RATE = 0.05
POINTS = [{"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 1.1}, {"a": 0.6, "b": 0.1}]
POINTS += [{"a": 0.1, "b": 0.3}, {"a": 0.05, "b": 0.05}, {"a": 0.3, "b": 0.4}]
PBT = {
    "_target_": "sweeper.search.pbt.Population",
    "population": 6,
    "interval": 4,
    "generations": 5,
    "quantile": 0.16,  # one of six
    "resample": 0.0,
    "factors": [1.2],
}


def _keys(**keys: object) -> dict[str, object]:
    return {
        "search_space": {"a": "interval(0.0, 4.0)", "b": "interval(0.0, 4.0)"},
        "enqueue": POINTS,
        "search": "random",
        "scheduler": PBT,
        **keys,
    }


# ---- the toy of Jaderberg et al. (2017), figure 2: maximise 1.2 - x^2 - y^2 by steps
# on 1.2 - a x^2 - b y^2, which sees one axis only where a or b is 0.


def _step(at: tuple[float, float], a: float, b: float) -> tuple[float, float]:
    return at[0] - 2 * RATE * a * at[0], at[1] - 2 * RATE * b * at[1]


def _value(at: tuple[float, float]) -> float:
    return 1.2 - at[0] ** 2 - at[1] ** 2


@dataclass
class World:
    """Trains the trials of a journal, any number at a time.

    Attributes:
        slots: trials at once; the one that was claimed last ends first.
        saved: state of each trial and its epochs, as its checkpoint has them.
        broken: what goes wrong with trials, by number.
    """

    folder: Path
    keys: Mapping[str, object]
    slots: int = 1
    saved: dict[str, tuple[int, tuple[float, float]]] = field(default_factory=dict)
    broken: Mapping[int, str] = field(default_factory=dict)

    def run(self) -> Sweep:
        journal = open_journal(self.folder, **self.keys)
        while True:
            names = [str(slot) for slot in range(self.slots)]
            names = [name for name in names if journal.claim(name) is not None]
            if not names:
                break
            for name in reversed(names):
                self._train(journal, name)
        return _sweep(self.folder)

    def _train(self, journal: Journal, slot: str) -> None:
        spec = journal.start(slot)
        if self.broken.get(spec.number) == "fails":
            journal.fail(slot, Failure(kind=FailureKind.ERROR, message="broken"))
            return
        place = spec.lineage
        assert place is not None
        parent = self.saved[place.parent] if place.parent else (0, (0.9, 0.9))
        epoch, at = self.saved.get(spec.id, parent)
        assert epoch == place.start
        decision = Decision.CONTINUE
        while decision is Decision.CONTINUE:
            at = _step(at, float(str(spec.params["a"])), float(str(spec.params["b"])))
            epoch += 1
            value = math.nan if self.broken.get(spec.number) == "nan" else _value(at)
            is_first = epoch == place.start + 1
            report = Report(
                epoch=epoch,
                values=(0.1 if is_first else value,),
                metrics={},
                busy_seconds=1.0,
            )
            decision = journal.report(slot, report)
            self.saved[spec.id] = epoch, at
        journal.finish(slot)


def _sweep(folder: Path) -> Sweep:
    return store.Reader(load(folder / "toy.yaml"), folder / "sweeps" / "toy").sweep()


def _places(sweep: Sweep) -> list[Lineage]:
    found = [trial.lineage for trial in sweep.trials]
    assert None not in found
    return [place for place in found if place is not None]


def _reference() -> list[list[tuple[float, float, float, int]]]:
    """(a, b, last value, member of the parent) by generation and member.

    Without chance: the worst one starts from the best one, with its numbers by 1.2.
    """
    members = [(p["a"], p["b"], (0.9, 0.9), -1) for p in POINTS]
    result = []
    for _ in range(5):
        trained = []
        for a, b, at, parent in members:
            for _ in range(4):
                at = _step(at, a, b)
            trained.append((a, b, at, parent))
        result.append([(a, b, _value(at), parent) for a, b, at, parent in trained])
        values = [_value(at) for _, _, at, _ in trained]
        worst, best = int(np.argmin(values)), int(np.argmax(values))
        members = []
        for i, (a, b, at, _) in enumerate(trained):
            if i == worst:
                a, b, at, _ = trained[best]
                members.append((min(4.0, a * 1.2), min(4.0, b * 1.2), at, best))
            else:
                members.append((a, b, at, i))
    return result


@pytest.mark.parametrize("slots", [1, 4, 6])
def test_generations_are_those_of_a_small_population_written_here(
    tmp_path: Path, slots: int
) -> None:
    sweep = World(tmp_path, _keys(), slots).run()
    expected = _reference()
    assert len(sweep.trials) == 30
    members = {
        (p.generation, p.member): t
        for t, p in zip(sweep.trials, _places(sweep), strict=True)
    }
    for generation, wanted in enumerate(expected):
        for member, (a, b, value, parent) in enumerate(wanted):
            trial = members[generation, member]
            assert trial.params == pytest.approx({"a": a, "b": b})
            assert trial.values[max(trial.values)] == pytest.approx(value)
            assert min(trial.values) == 4 * generation + 1
            assert trial.state is State.COMPLETE
            assert trial.lineage is not None
            before = members.get((generation - 1, parent))
            assert trial.lineage.parent == (before.id if before else "")


@pytest.mark.slow
def test_a_population_finds_what_no_setting_of_its_own_does(tmp_path: Path) -> None:
    pbt = {**PBT, "population": 8, "generations": 10, "quantile": 0.25}
    pbt |= {"resample": 0.25, "factors": [0.8, 1.2]}
    points = [{"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 1.0}]
    axes = {"a": "interval(0.0, 1.0)", "b": "interval(0.0, 1.0)"}
    keys = _keys(
        search_space=axes, scheduler=pbt, enqueue=points, search="sobol", baseline={}
    )
    sweep = World(tmp_path, keys, 3).run()
    best = max(max(trial.values.values()) for trial in sweep.trials)
    whole = []
    for trial in sweep.trials[:8]:
        at = (0.9, 0.9)
        for _ in range(40):
            at = _step(at, float(str(trial.params["a"])), float(str(trial.params["b"])))
        whole.append(_value(at))
    assert max(whole[:2]) < 0.4  # an axis is never seen: the paper's point
    assert best > max(whole)


def test_who_fails_or_has_no_value_is_replaced_first(tmp_path: Path) -> None:
    world = World(tmp_path, _keys(), broken={1: "fails", 0: "nan"})
    sweep = world.run()
    places = _places(sweep)
    second = {p.member: p.parent for p in places if p.generation == 1}
    ids = [trial.id for trial in sweep.trials]
    assert second[0] not in (ids[0], ids[1])
    assert second[1] not in (ids[0], ids[1])
    for member in (2, 3, 4, 5):
        assert second[member] == ids[member]
    assert sweep.trials[1].state is State.FAILED


def test_a_population_that_failed_as_a_whole_ends(tmp_path: Path) -> None:
    keys = _keys(retry={"error": 0})
    broken = dict.fromkeys(range(6), "nan")
    world = World(tmp_path, {**keys, "retry": {"nan": 0}}, broken=broken)
    assert len(world.run().trials) <= 6


def test_no_two_children_of_a_parent_are_one_trial(tmp_path: Path) -> None:
    keys = {
        "search_space": {"a": [0.1, 0.2, 0.3], "b": [0.0, 0.5]},
        "scheduler": {**PBT, "quantile": 0.5, "resample": 0.0},
        "search": "grid",
    }
    sweep = World(tmp_path, keys, 2).run()
    assert len({trial.id for trial in sweep.trials}) == len(sweep.trials) == 30


def test_the_budget_ends_a_population_as_any_sweep(tmp_path: Path) -> None:
    sweep = World(tmp_path, _keys(budget={"trials": 8})).run()
    assert [p.generation for p in _places(sweep)] == [0] * 6 + [1] * 2


def test_more_generations_go_on_from_the_last_one(tmp_path: Path) -> None:
    world = World(tmp_path, _keys(scheduler={**PBT, "generations": 2}))
    assert len(world.run().trials) == 12
    world.keys = _keys()
    whole = World(tmp_path / "whole", _keys())
    whole.folder.mkdir()
    assert [t.id for t in world.run().trials] == [t.id for t in whole.run().trials]


# ---- what is changed, and how


def test_numbers_are_multiplied_and_choices_move_by_one(tmp_path: Path) -> None:
    of = space.parse(
        make_experiment(
            tmp_path,
            search_space={
                "lr": "tag(log, interval(1e-5, 1e-1))",
                "depth": "int(interval(1, 8))",
                "size": [16, 32, 64],
            },
            search="random",
        ),
        {},
    )
    rng = np.random.default_rng(0)

    def changed(index: int, value: object, factor: float) -> object:
        parameter = of.parameters[index]
        return near(parameter, value, rng, factors=[factor], resample=0.0)

    assert changed(0, 1e-3, 1.2) == pytest.approx(1.2e-3)
    assert changed(0, 0.09, 1.2) == 0.1  # not beyond its interval
    assert [changed(1, d, 1.2) for d in (1, 4, 8)] == [2, 5, 8]
    assert [changed(1, d, 0.8) for d in (1, 4, 8)] == [1, 3, 6]
    assert [changed(2, s, 1.2) for s in (16, 32, 64)] == [32, 64, 64]
    assert [changed(2, s, 0.8) for s in (16, 32, 64)] == [16, 16, 32]
    drawn = [
        near(of.parameters[0], 1e-3, rng, factors=[1.2], resample=1.0)
        for _ in range(200)
    ]
    logs = np.log10([float(str(v)) for v in drawn])
    assert logs.min() < -4.9 < -1.1 < logs.max()
    assert abs(logs.mean() + 3) < 0.3


# ---- what it refuses


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"seeds": [1, 2]}, "seeds: a population has one seed"),
        ({"confirm": {"top": 2, "seeds": 2}}, "confirm: a population has one seed"),
        ({"search_space": {"a": [1, 2], "b": [1, 2]}}, "6 from a space of 4 points"),
        ({"overrides": ["epochs=19"]}, "epochs=19, but 5 generations of 4 epochs"),
        ({"scheduler": {**PBT, "fixed": ["c"]}}, "fixed: 'c' is not in search_space"),
        ({"scheduler": {**PBT, "fixed": ["a", "b"]}}, "this space has none"),
    ],
)
def test_what_a_population_cannot_do_is_told(
    tmp_path: Path, keys: dict[str, object], message: str
) -> None:
    loaded = make_experiment(tmp_path, **{**_keys(enqueue=[]), **keys})
    parsed = space.parse(loaded, {})
    with pytest.raises(ExperimentError, match=message):
        _num_trials(loaded, parsed, algorithms.scheduler(loaded))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("population", 1, "population: 1 must be a whole number >= 2"),
        ("interval", 0, "interval: 0 must be"),
        ("generations", 1.5, "generations: 1.5 must be"),
        ("quantile", 0.6, "quantile: 0.6 must be 0 to 0.5"),
        ("resample", -1, "resample: -1 must be 0 to 1"),
        ("factors", [0], "must be positive numbers"),
    ],
)
def test_a_setting_that_means_nothing_is_told(
    tmp_path: Path, key: str, value: object, message: str
) -> None:
    loaded = make_experiment(tmp_path, **_keys(scheduler={**PBT, key: value}))
    with pytest.raises(ExperimentError, match=message):
        algorithms.scheduler(loaded)


def test_the_number_of_trials_is_known_without_a_budget(tmp_path: Path) -> None:
    loaded = make_experiment(tmp_path, **_keys())
    found = algorithms.scheduler(loaded)
    assert isinstance(found, Population)
    assert _num_trials(loaded, space.parse(loaded, {}), found) == 30


def test_views_say_who_is_whose_parent(tmp_path: Path) -> None:
    sweep = World(tmp_path, _keys(scheduler={**PBT, "generations": 2})).run()
    rows = rank(sweep)
    assert len(rows) == 12  # a child with its parent's numbers is a row of its own
    child = next(row for row in rows if row.parent)
    wide, narrow = Console(width=200), Console(width=40)
    for console in (wide, narrow):
        with console.capture() as capture:
            console.print(leaderboard_view(sweep))
        assert child.parent in capture.get()
        assert "add seeds" not in capture.get()
    assert to_csv(sweep, rows).splitlines()[0].endswith(",parent")
    assert f"| {child.parent} |" in tables.to_markdown(sweep, rows)
    assert f'from <a href="#t-{child.parent}">' in html_report.render(sweep)
    before = replace(sweep, trials=())
    lines = [str(event) for event in events(before, sweep)]
    assert f"{child.trials[0].id} running (from {child.parent})" in lines
    assert all(math.isnan(row.p) for row in rows[1:])  # one seed: no claims

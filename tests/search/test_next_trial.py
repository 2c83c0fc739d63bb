"""A sweep that is looked at row by row owes what its definition says it owes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.experiment import space
from sweeper.journal import journal_file
from sweeper.journal.journal import Journal
from sweeper.journal.record import Failure, State, TrialRecord
from sweeper.journal.study import from_row
from sweeper.protocol import FailureKind, Report
from sweeper.search import algorithms, policy
from sweeper.search.history import KEPT_BEST, History
from sweeper.search.next_trial import Agenda
from sweeper.search.schedulers import Action, Create, Resume
from sweeper.system.paths import SweepPaths
from tests.helpers import IN_FOLDERS, make_experiment, open_journal, start_epoch

LOST = Failure(kind=FailureKind.LOST, message="gone")
SPACES: Mapping[str, Mapping[str, object]] = {
    "grid": {"search_space": {"x": [1, 2, 3], "y": ["a", "b"]}, "where": "x + 1 != 3"},
    "baseline": {
        "search_space": {"x": [1, 2, 3]},
        "baseline": {"x": 2},
        "seeds": [1, 2],
    },
    "limit": {"search_space": {"x": [1, 2, 3, 4]}, "budget": {"trials": 3}},
    "confirm": {
        "search_space": {"x": [1, 2, 3]},
        "confirm": {"top": 2, "seeds": 2},
    },
    "random": {
        "search_space": {"x": "interval(0.0, 1.0)"},
        "search": "random",
        "budget": {"trials": 7},
    },
    "tpe": {
        "search_space": {"x": "interval(0.0, 1.0)", "y": [1, 2]},
        "search": {"_target_": "optuna.samplers.TPESampler", "n_startup_trials": 2},
        "seeds": [1, 2],
        "budget": {"trials": 8},
    },
    "promotion": {
        "search_space": {"x": [1, 2, 3, 4, 5, 6, 7]},
        "scheduler": "asha_promote",
    },
    "population": {
        "search_space": {"x": "interval(0.0, 1.0)"},
        "search": "random",
        "scheduler": {
            "_target_": "sweeper.search.pbt.Population",
            "population": 3,
            "interval": 1,
            "generations": 3,
        },
    },
}
STEPS = st.lists(st.sampled_from(["claim", "finish", "fail", "restart"]), max_size=30)


class _Watched:
    """A journal of which each step is compared with a look at all its rows."""

    def __init__(self, folder: Path, keys: Mapping[str, object]) -> None:
        self._folder = folder
        self._keys = keys
        self.experiment = make_experiment(folder, **keys)
        self.space = space.parse(self.experiment, {})
        self.search = algorithms.search(self.experiment)
        self.scheduler = algorithms.scheduler(self.experiment)
        self.held: list[str] = []
        self.restart()

    def restart(self) -> None:
        self.held = []
        self.journal = open_journal(self._folder, **self._keys)

    def step(self, kind: str, value: float) -> None:
        if kind == "restart":
            self.restart()
        elif kind == "claim":
            slot = str(len(self.held))
            if slot not in self.held and self.journal.claim(slot) is not None:
                self.journal.start(slot)
                self.held.append(slot)
        elif self.held:
            slot = self.held.pop()
            if kind == "fail":
                self.journal.fail(slot, LOST)
            else:
                record = self.journal._queue.trial(slot)
                done = record.last_epoch or start_epoch(record.lineage)
                self.journal.report(
                    slot, Report(epoch=done + 1, values=(value,), busy_seconds=0.0)
                )
                self.journal.finish(slot)

    def agenda(self) -> Agenda:
        return Agenda(
            self.experiment, self.space, self.search, scheduler=self.scheduler
        )

    def check(self, agenda: Agenda) -> None:
        records = self.journal._store.all()
        stored = self.journal._store._study.get_trials(deepcopy=False)
        newest = {row.user_attrs["id"]: from_row(row) for row in stored}
        assert list(records) == list(newest.values())
        assert _name(agenda.next(records)) == _name(self.agenda().next(records))
        waiting = [r.id for r in records if r.state is State.WAITING]
        assert [r.id for r in self.journal._store.waiting()] == waiting


def _name(action: Action) -> str:
    if isinstance(action, Create | Resume):
        return f"{type(action)} {action.record.id}"
    return str(action)


@pytest.mark.parametrize("name", SPACES)
@given(steps=STEPS, values=st.lists(st.floats(0, 1), min_size=30, max_size=30))
@settings(IN_FOLDERS, max_examples=8)
def test_row_by_row_is_as_all_at_once(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    steps: list[str],
    values: list[float],
) -> None:
    watched = _Watched(tmp_path_factory.mktemp("sweep"), SPACES[name])
    agenda = watched.agenda()
    for kind, value in zip(steps, values, strict=False):
        watched.step(kind, value)
        watched.check(agenda)


def test_tpe_looks_back_on_a_bounded_history_with_the_best(tmp_path: Path) -> None:
    keys = {"search_space": {"x": "interval(0.0, 1.0)"}, "search": "random"}
    loaded = make_experiment(tmp_path, **keys, budget={"trials": 9})
    of = space.parse(loaded, {})
    size = KEPT_BEST + 20
    rows = [
        replace(
            TrialRecord.new({"x": number / 1000}, seed=1),
            state=State.COMPLETE,
            result=(1.0 if number < 5 else 0.5,),
        )
        for number in range(300)
    ]
    objectives = loaded.objectives
    kept = History(of).update(rows).study(objectives, newest=size).trials
    assert len(kept) == size
    assert [trial.params["x"] for trial in kept[:5]] == [n / 1000 for n in range(5)]
    assert kept[-1].params == rows[-1].params
    whole = History(of).update(rows[:size]).study(objectives, newest=size).trials
    assert [trial.params for trial in whole] == [row.params for row in rows[:size]]


def test_only_tpe_forgets(tmp_path: Path) -> None:
    names = ("tpe", "gp", "cmaes", "nsga2", "sobol")
    found = {
        name: algorithms.search(make_experiment(tmp_path, search=name)).history
        for name in names
    }
    assert found == {name: policy.HISTORY if name == "tpe" else None for name in names}


def test_what_is_written_together_is_on_disk_whole_or_not_at_all(
    tmp_path: Path,
) -> None:
    journal: Journal = open_journal(tmp_path)
    assert journal.claim("a") is not None
    identity = journal.start("a").id
    store = journal._store
    path = SweepPaths(tmp_path / "sweeps" / "toy").journal
    before = path.read_bytes()
    metrics = {"acc": 0.5}
    unwritable: Any = {"scheduler": object()}
    record = replace(store.get(identity), metrics=metrics, notes=unwritable)
    with pytest.raises(TypeError):
        store.put(record)
    assert path.read_bytes() == before
    assert store.get(identity).metrics == {}
    store.put(replace(record, notes={"scheduler": 1}))
    added = path.read_bytes()[len(before) :]
    assert added.count(b"\n") == 2
    assert store.get(identity).notes == {"scheduler": 1}
    assert not journal_file.whole_part(path).damage

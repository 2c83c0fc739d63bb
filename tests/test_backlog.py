"""A sweep that is looked at row by row owes what its definition says it owes."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from sweeper import lineage
from sweeper.experiment import space
from sweeper.host.paths import SweepPaths
from sweeper.protocol import Report
from sweeper.scheduling.journal import Journal
from sweeper.search import agenda, algorithms, policy
from sweeper.search.backlog import Backlog
from sweeper.search.past import KEPT_BEST, Past
from sweeper.storage import attributes, records
from sweeper.storage.rows import Rows
from sweeper.trial import Failure, FailureKind
from tests.helpers import IN_FOLDERS, make_experiment, open_journal

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
            "_target_": "sweeper.search.population.Population",
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
                row = self.journal._rows.get(self.journal._desk.trial(slot))
                done = row.last_step or lineage.start(lineage.of(row.user_attrs))
                self.journal.report(
                    slot, Report(epoch=done + 1, values=(value,), busy_seconds=0.0)
                )
                self.journal.finish(slot)

    def check(self, backlog: Backlog) -> None:
        rows = self.journal._rows.all()
        study_id = self.journal._study._study_id
        stored = self.journal._study._storage.get_all_trials(study_id, deepcopy=False)
        assert list(rows) == attributes.newest(stored)
        fresh = agenda.next_owed(
            list(rows),
            experiment=self.experiment,
            space=self.space,
            search=self.search,
            scheduler=self.scheduler,
        )
        assert _name(backlog.next(rows)) == _name(fresh)
        held = self.journal._desk.held()
        waiting = [
            row.user_attrs["id"]
            for row in rows
            if row.state is TrialState.WAITING and row.user_attrs["id"] not in held
        ]
        assert self.journal._rows.waiting(but=held) == next(iter(waiting), None)


def _name(owed: agenda.Owed | agenda.Again | agenda.Wait | None) -> str:
    if isinstance(owed, agenda.Again):
        return f"again {owed.row.user_attrs['id']}"
    return owed.id if isinstance(owed, agenda.Owed) else str(owed)


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
    backlog = Backlog(
        watched.experiment, watched.space, watched.search, scheduler=watched.scheduler
    )
    for kind, value in zip(steps, values, strict=False):
        watched.step(kind, value)
        watched.check(backlog)


def test_tpe_looks_back_on_a_bounded_history_with_the_best(tmp_path: Path) -> None:
    keys = {"search_space": {"x": "interval(0.0, 1.0)"}, "search": "random"}
    loaded = make_experiment(tmp_path, **keys, budget={"trials": 9})
    of = space.parse(loaded, {})
    size = KEPT_BEST + 20
    rows = [
        create_trial(
            state=TrialState.COMPLETE,
            values=[1.0 if number < 5 else 0.5],
            params={"x": number / 1000},
            distributions=of.distributions,
        )
        for number in range(300)
    ]
    directions = [StudyDirection.MAXIMIZE]
    kept = Past(of).see(rows).study(directions, newest=size).trials
    assert len(kept) == size
    assert [trial.params["x"] for trial in kept[:5]] == [n / 1000 for n in range(5)]
    assert kept[-1].params == rows[-1].params
    whole = Past(of).see(rows[:size]).study(directions, newest=size).trials
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
    rows: Rows = journal._rows
    path = SweepPaths(tmp_path / "sweeps" / "toy").journal
    before = path.read_bytes()
    with pytest.raises(TypeError), rows.together():
        rows.note(identity, first=1, second=object())
    assert path.read_bytes() == before
    with rows.together():
        rows.note(identity, first=1, second=2)
        assert path.read_bytes() == before
    added = path.read_bytes()[len(before) :]
    assert added.count(b"\n") == 2
    assert rows.get(identity).user_attrs["second"] == 2
    assert not records.whole_part(path).damage

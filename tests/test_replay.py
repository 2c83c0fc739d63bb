"""A journal file is read without Optuna as Optuna reads it."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from sweeper.errors import JournalError
from sweeper.protocol import Report
from sweeper.storage import attributes, records
from sweeper.storage.replay import STATES, Replay
from sweeper.trial import Failure, FailureKind
from tests.helpers import IN_FOLDERS, open_journal

LOST = Failure(kind=FailureKind.LOST, message="gone")
NAN = Failure(kind=FailureKind.NAN, message="nan")
KEYS: Mapping[str, object] = {
    "search_space": {
        "x": "interval(0.0, 1.0)",
        "y": ["a", None, 2, 0.5, True],
        "n": {"when": "y == 'a'", "values": "interval(1, 9)"},
    },
    "search": "random",
    "budget": {"trials": 9},
    "objective": [{"metric": "acc"}, {"metric": "loss", "mode": "min"}],
}
KINDS = ("claim", "claim", "report", "finish", "lost", "nan", "pause", "restart")
STEP = st.tuples(
    st.sampled_from(KINDS), st.sampled_from([0.25, -1e-3, 1e300, math.nan])
)


class _Random:
    """A sweep that takes steps; its file is read after each of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / "sweeps" / "toy" / "journal.jsonl"
        self._epochs: dict[str, int] = {}
        self._num_claims = 0
        self.restart()

    def restart(self) -> None:
        self._epochs.clear()
        self.journal = open_journal(self._folder, **KEYS)

    def step(self, kind: str, value: float) -> None:
        slot = next(iter(self._epochs), "")
        if kind == "restart":
            self.restart()
        elif kind == "claim":
            self._num_claims += 1
            slot = f"{self._num_claims}"
            if self.journal.claim(slot) is not None:
                self.journal.start(slot)
                self._epochs[slot] = 0
        elif not slot:
            return
        elif kind == "report":
            self._epochs[slot] += 1
            report = Report(
                epoch=self._epochs[slot],
                values=(value, 1.0),
                metrics={"acc": value},
                busy_seconds=1.5,
            )
            self.journal.report(slot, report)
        else:
            ends = {
                "finish": lambda: self.journal.finish(slot),
                "lost": lambda: self.journal.fail(slot, LOST),
                "nan": lambda: self.journal.fail(slot, NAN),
                "pause": lambda: self.journal.pause(slot),
            }
            ends[kind]()
            del self._epochs[slot]


@given(steps=st.lists(STEP, min_size=10, max_size=40), every=st.integers(1, 9))
@settings(IN_FOLDERS, max_examples=25)
def test_rows_are_those_that_optuna_reads(
    tmp_path_factory: pytest.TempPathFactory,
    steps: Sequence[tuple[str, float]],
    every: int,
) -> None:
    sweep = _Random(tmp_path_factory.mktemp("sweep"))
    follower = Replay(sweep.path)
    before: dict[int, tuple[object, str]] = {}
    for number, (kind, value) in enumerate(steps):
        sweep.step(kind, value)
        if number % every:
            continue
        rows, of_study = follower.read()
        storage = records.open_file(sweep.path)
        assert of_study == storage.get_study_user_attrs(0)
        # repr: NaN is no NaN's equal, and 1 is not to be taken for True
        found = [repr(attributes.to_trial(row)) for row in rows]
        expected = storage.get_all_trials(0)
        assert found == [repr(attributes.to_trial(row)) for row in expected]
        for row, text in zip(rows, found, strict=True):  # who keeps it sees a change
            known = before.get(row.number, (None, ""))
            assert known[0] is not row or known[1] == text
            before[row.number] = (row, text)


def test_states_are_those_of_optuna() -> None:
    names = {"fail": "failed"}
    assert {
        state.value: names.get(state.name.lower(), state.name.lower())
        for state in TrialState
    } == {code: str(state) for code, state in STATES.items()}


def test_a_damage_is_told_with_its_line(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    assert journal.claim("a") is not None
    path = tmp_path / "sweeps" / "toy" / "journal.jsonl"
    follower = Replay(path)
    follower.read()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code": 8, "trial_id": 7}\n')
    number = whole.count(b"\n") + 1
    with pytest.raises(JournalError, match=rf"journal.jsonl:{number}: not a record"):
        follower.read()

"""A trial's record: what the journal writes is what every reader sees."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.cli import main
from sweeper.experiment.loading import load
from sweeper.journal import store
from sweeper.journal.record import Cause, Failure
from sweeper.journal.study import from_attrs, to_attrs
from sweeper.protocol import FailureKind, Report
from sweeper.system.errors import JournalError
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
@settings(IN_FOLDERS, max_examples=15)
def test_a_reader_sees_what_the_writer_knows(
    tmp_path_factory: pytest.TempPathFactory,
    steps: Sequence[tuple[str, float]],
    every: int,
) -> None:
    folder = tmp_path_factory.mktemp("sweep")
    sweep = _Random(folder)
    follower = store.Reader(load(folder / "toy.yaml"), sweep.path.parent)
    before: dict[int, tuple[object, str]] = {}
    for number, (kind, value) in enumerate(steps):
        sweep.step(kind, value)
        if number % every:
            continue
        # repr: NaN is no NaN's equal, and 1 is not to be taken for True
        seen = [repr(record) for record in follower.sweep().trials]
        assert seen == [repr(record) for record in sweep.journal._store.all()]
        fresh = store.Reader(load(folder / "toy.yaml"), sweep.path.parent).sweep()
        assert seen == [repr(record) for record in fresh.trials]
        for record in fresh.trials:
            again = from_attrs(
                json.loads(json.dumps(to_attrs(record))),
                number=record.number,
                params=record.params,
                state=record.state,
                notes=record.notes,
                values=record.values,
                result=record.result,
                started_at=record.started_at,
                ended_at=record.ended_at,
            )
            assert repr(again) == repr(record)
        for record in follower.sweep().trials:  # who keeps one sees a change
            known = before.get(record.number, (None, ""))
            assert known[0] is not record or known[1] == repr(record)
            before[record.number] = (record, repr(record))


def test_an_attempt_says_how_it_ended(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, retry={"lost": 3})
    ends: Sequence[tuple[Cause, Callable[[], object]]] = (
        (Cause.FAILED, lambda: journal.fail("a", LOST)),
        (Cause.PAUSED, lambda: journal.pause("a")),
        (Cause.FINISHED, lambda: journal.finish("a")),
    )
    for _, end in ends:
        assert journal.claim("a") is not None
        journal.start("a", "T4")
        journal.report("a", Report(epoch=1, values=(0.5,), busy_seconds=2.0))
        end()
    (record, *_) = journal._store.all()
    assert [attempt.cause for attempt in record.attempts] == [c for c, _ in ends]
    assert all(attempt.ended_at is not None for attempt in record.attempts)
    assert record.failures == (LOST,)
    assert record.busy_seconds == 6.0
    assert journal.claim("b") is not None
    journal.start("b")
    journal = open_journal(tmp_path, retry={"lost": 3})  # its driver was killed
    assert journal._store.all()[1].attempts[0].cause is Cause.KILLED


def test_a_journal_of_another_version_is_one_clear_error(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    assert journal.claim("a") is not None
    journal._store.set_attribute("format", 1)
    with pytest.raises(JournalError, match=r"another version of sweeper .*--fork"):
        open_journal(tmp_path)


def test_a_damage_is_told_with_its_line(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    assert journal.claim("a") is not None
    path = tmp_path / "sweeps" / "toy" / "journal.jsonl"
    follower = store.Reader(load(tmp_path / "toy.yaml"), path.parent)
    follower.sweep()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code": 8, "trial_id": 7}\n')
    number = whole.count(b"\n") + 1
    with pytest.raises(JournalError, match=rf"journal.jsonl:{number}: not a record"):
        follower.sweep()


def test_a_study_is_copied_to_any_storage_of_optuna(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = open_journal(tmp_path)
    assert journal.claim("a") is not None
    journal.start("a")
    journal.report("a", Report(epoch=1, values=(0.5,)))
    journal.finish("a")
    folder = tmp_path / "sweeps" / "toy"
    (folder / "experiment.yaml").write_text((tmp_path / "toy.yaml").read_text())
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    command = ["export", "toy", "--sweeps", str(folder.parent), "--format", "optuna"]
    assert main([*command, "--output", url]) == 0
    study = optuna.load_study(study_name="toy", storage=url)
    assert [trial.values for trial in study.trials] == [[0.5]]
    assert study.trials[0].intermediate_values == {1: 0.5}
    assert main([*command, "--output", url]) == 2  # it is there already
    assert "toy" in capsys.readouterr().err
    assert main(command) == 2
    assert "--output" in capsys.readouterr().err

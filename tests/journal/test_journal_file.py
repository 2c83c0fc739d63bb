"""A journal's file: whole records only, and damage told with its line."""

import os
import signal
from pathlib import Path

import pytest

from sweeper.experiment.loading import load
from sweeper.journal import journal_file, store
from sweeper.journal.journal import Journal
from sweeper.journal.record import Failure, State
from sweeper.protocol import FailureKind, Report
from sweeper.system.errors import JournalError
from sweeper.system.paths import SweepPaths
from tests.helpers import make_experiment, open_journal

ERROR = Failure(kind=FailureKind.ERROR, message="boom")


def _finish(journal: Journal, value: float, *, epochs: int = 1) -> str:
    assert journal.claim("a") is not None
    identity = journal.start("a").id
    for epoch in range(1, epochs + 1):
        journal.report(
            "a",
            Report(
                epoch=epoch, values=(value,), metrics={"acc": value}, busy_seconds=1.0
            ),
        )
    journal.finish("a")
    return identity


def _file(folder: Path) -> Path:
    return SweepPaths(folder / "sweeps" / "toy").journal


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The folder of a sweep of which one trial ended and one runs."""
    journal = open_journal(tmp_path)
    _finish(journal, 0.5)
    assert journal.claim("a") is not None
    journal.start("a")
    text = (tmp_path / "toy.yaml").read_text()
    (tmp_path / "sweeps" / "toy" / "experiment.yaml").write_text(text)
    return tmp_path


def test_a_journal_cut_at_any_byte_has_every_record_before_the_cut(
    written: Path,
) -> None:
    path = _file(written)
    whole = path.read_bytes()
    for cut in range(0, len(whole), 5):
        path.write_bytes(whole[:cut])
        found = journal_file.whole_part(path)
        assert not found.damage
        assert len(found.lines) == whole[:cut].count(b"\n")


def test_a_journal_cut_at_any_byte_opens_and_takes_new_records(written: Path) -> None:
    path = _file(written)
    whole = path.read_bytes()
    last = whole[:-1].rfind(b"\n") + 1
    others = range(0, last, 97)
    for cut in (*others, *range(last, len(whole))):
        path.write_bytes(whole[:cut])
        journal = open_journal(written)
        assert journal.claim("a") is not None
        identity = journal.start("a").id
        journal.fail("a", ERROR)
        sweep = store.load_sweep(written / "sweeps" / "toy")
        states = {trial.id: trial.state for trial in sweep.trials}
        assert states[identity] is State.FAILED
        records_now = path.read_bytes()
        assert records_now.startswith(whole[: whole[:cut].rfind(b"\n") + 1])


@pytest.mark.parametrize(
    "damage",
    [
        b"{broken",
        b"\x00" * 64,
        b"",
        b"5",
        b'"text"',
        b"{}",
        b'{"op_code": 99}',
        b'{"op_code":6,"worker_id":"w","trial_id":"x","state":1}',
        b'{"op_code":8,"worker_id":"w","trial_id":70,"user_attr":{}}',
        b'{"op_code":2,"worker_id":"w","study_id":0,"user_attr":{"a":1},"crc":"0"}',
        b'{"op_code":2,"worker_id":"w","study_id":0,"user_attr":{"a":1},"line":9}',
    ],
)
@pytest.mark.parametrize("number", [1, 4])
def test_damage_is_told_with_its_line_and_the_way_out(
    written: Path, damage: bytes, number: int
) -> None:
    path = _file(written)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number - 1] = damage + b"\n"
    path.write_bytes(b"".join(lines))
    for open_it in (
        lambda: store.load_sweep(written / "sweeps" / "toy"),
        lambda: open_journal(written),
    ):
        with pytest.raises(JournalError) as caught:
            open_it()
        assert f"{path}:{number}: not a record" in str(caught.value)
        assert "sweeper repair toy" in str(caught.value)
    assert path.read_bytes() == b"".join(lines)  # a reader changes nothing


def test_readers_see_whole_records_while_the_journal_is_written(
    tmp_path: Path,
) -> None:
    make_experiment(tmp_path)
    writer = os.fork()
    if writer == 0:
        try:
            journal = open_journal(tmp_path)
            _finish(journal, 0.5, epochs=150)
        finally:
            os._exit(0)
    reader = store.Reader(load(tmp_path / "toy.yaml"), tmp_path / "sweeps" / "toy")
    seen = 0
    num_snapshots = 0
    while os.waitpid(writer, os.WNOHANG) == (0, 0):
        trials = reader.sweep().trials
        values = trials[0].values if trials else {}
        assert list(values) == list(range(1, len(values) + 1))
        assert len(values) >= seen
        seen = len(values)
        num_snapshots += 1
    assert num_snapshots > 1
    assert reader.sweep().trials[0].state is State.COMPLETE
    assert len(reader.sweep().trials[0].values) == 150


def test_a_journal_that_is_killed_while_it_writes_opens_again(tmp_path: Path) -> None:
    make_experiment(tmp_path)
    for _ in range(5):
        writer = os.fork()
        if writer == 0:
            journal = open_journal(tmp_path)
            journal.claim("a")
            journal.start("a")
            for epoch in range(1, 100_000):
                journal.report(
                    "a",
                    Report(
                        epoch=epoch,
                        values=(0.5,),
                        metrics={"acc": 0.5},
                        busy_seconds=1.0,
                    ),
                )
        path = _file(tmp_path)
        size = path.stat().st_size if path.exists() else 0
        while not path.exists() or path.stat().st_size < size + 20_000:
            assert os.waitpid(writer, os.WNOHANG) == (0, 0)
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        sweep = store.Reader(load(tmp_path / "toy.yaml"), path.parent).sweep()
        assert sweep.trials[0].state is State.RUNNING
        (values,) = [trial.values for trial in sweep.trials]
        assert list(values) == list(range(1, len(values) + 1))

"""A damaged journal is rebuilt from itself and from the folders of its trials."""

import json
from pathlib import Path

import pytest

from sweeper.cli import main
from sweeper.experiment.loading import load
from sweeper.journal import store
from sweeper.journal.journal import Journal
from sweeper.journal.record import Failure, State, TrialRecord
from sweeper.journal.recovery import Repair, repair
from sweeper.protocol import FailureKind, Report
from sweeper.system import locks, metrics_file
from sweeper.system.errors import LockedError
from sweeper.system.paths import SweepPaths, write_text
from tests.helpers import open_journal

ERROR = Failure(kind=FailureKind.ERROR, message="boom")


def _start(journal: Journal) -> str:
    """Start a trial and leave in its folder what its process would; its id."""
    assert journal.claim("a") is not None
    spec = journal.start("a")
    write_text(Path(spec.folder) / "spec.json", spec.to_json())
    return spec.id


def _report(journal: Journal, identity: str, value: float, *, epoch: int) -> None:
    journal.report(
        "a",
        Report(epoch=epoch, values=(value,), metrics={"acc": value}, busy_seconds=1.0),
    )
    paths = journal._paths.trial(identity)
    metrics_file.append(paths.metrics, epoch, {"acc": value})


def _trials(folder: Path) -> dict[str, TrialRecord]:
    return {t.id: t for t in store.load_sweep(folder / "sweeps" / "toy").trials}


def _repair(folder: Path) -> Repair:
    return repair(load(folder / "toy.yaml"), SweepPaths(folder / "sweeps" / "toy"))


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A sweep with one trial ended, one failed and one that reported two epochs."""
    journal = open_journal(tmp_path)
    text = (tmp_path / "toy.yaml").read_text()
    (tmp_path / "sweeps" / "toy" / "experiment.yaml").write_text(text)
    done = _start(journal)
    for epoch, value in enumerate((0.5, 0.25), start=1):
        _report(journal, done, value, epoch=epoch)
    journal.finish("a")
    _start(journal)
    journal.fail("a", ERROR)
    runs = _start(journal)
    for epoch, value in enumerate((0.125, 0.375), start=1):
        _report(journal, runs, value, epoch=epoch)
    return tmp_path


def _without_times(trials: dict[str, TrialRecord]) -> dict[str, tuple[object, ...]]:
    return {
        name: (t.number, t.params, t.seed, t.state, t.values, t.failures)
        for name, t in trials.items()
    }


@pytest.mark.parametrize("number", [1, 2, 3, 6, 9, 12, 15, 18])
def test_a_journal_that_is_damaged_anywhere_comes_back(
    sweep: Path, number: int
) -> None:
    before = _without_times(_trials(sweep))
    path = SweepPaths(sweep / "sweeps" / "toy").journal
    lines = path.read_bytes().splitlines(keepends=True)
    assert number < len(lines)
    lines[number - 1] = b"\x00" * 30 + lines[number - 1][30:]
    path.write_bytes(b"".join(lines))
    done = _repair(sweep)
    assert f":{number}: not a record" in done.damage
    assert done.num_lost == len(lines) - number + 1
    assert done.kept is not None
    assert done.kept.read_bytes() == b"".join(lines)
    after = _without_times(_trials(sweep))
    is_alive = (State.RUNNING, State.WAITING)
    assert after.keys() == before.keys()
    for name, was in before.items():
        number_, params, seed, state, values, failures = after[name]
        assert (number_, params, seed) == was[:3]
        assert state is was[3] or (state in is_alive and was[3] in is_alive)
        assert (values, failures) == was[4:]
    assert _repair(sweep) == Repair(damage="", num_lost=0, recovered=(), kept=None)


def test_a_sweep_without_its_journal_comes_back_and_goes_on(sweep: Path) -> None:
    before = _without_times(_trials(sweep))
    SweepPaths(sweep / "sweeps" / "toy").journal.unlink()
    done = _repair(sweep)
    assert set(done.recovered) == set(before)
    journal = open_journal(sweep)
    identity = _start(journal)
    trial = _trials(sweep)[identity]
    assert trial.values == {1: 0.125, 2: 0.375}
    _report(journal, identity, 0.75, epoch=3)
    journal.finish("a")
    assert journal.claim("a") is None
    states = {t.state for t in _trials(sweep).values()}
    assert states == {State.COMPLETE, State.FAILED}


def test_a_driven_sweep_is_not_repaired(sweep: Path) -> None:
    paths = SweepPaths(sweep / "sweeps" / "toy")
    with locks.hold(paths.lock), pytest.raises(LockedError, match="stop it first"):
        _repair(sweep)


def test_the_command_says_what_it_did(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = SweepPaths(sweep / "sweeps" / "toy").journal
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:5], b"garbage\n", *lines[6:]]))
    arguments = ["toy", "--sweeps", str(sweep / "sweeps")]
    assert main(["status", *arguments]) == 2
    assert f"{path}:6" in capsys.readouterr().err
    assert main(["repair", *arguments]) == 0
    assert "journal.jsonl.damaged-1" in capsys.readouterr().out
    assert main(["status", "--json", *arguments]) == 0
    assert len(json.loads(capsys.readouterr().out)["trials"]) == 3
    assert main(["repair", *arguments]) == 0
    assert "nothing to repair" in capsys.readouterr().out


def test_a_torn_file_of_a_trial_loses_at_most_its_last_line(sweep: Path) -> None:
    paths = SweepPaths(sweep / "sweeps" / "toy")
    (runs,) = [t for t in _trials(sweep).values() if t.state is State.RUNNING]
    metrics = paths.trial(runs.id).metrics
    whole = metrics.read_bytes()
    for cut in range(len(whole) + 1):
        metrics.write_bytes(whole[:cut])
        paths.journal.unlink()
        _repair(sweep)
        found = _trials(sweep)[runs.id].values
        num_whole = whole[:cut].count(b"\n")
        assert len(found) in (num_whole, num_whole + 1)  # a line may lack its end only
        assert all(runs.values[epoch] == value for epoch, value in found.items())

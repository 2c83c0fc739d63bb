"""Failed trials are put back in the queue by hand."""

from pathlib import Path

import pytest

from sweeper.cli import main
from sweeper.journal import store
from sweeper.journal.record import Failure, State
from sweeper.protocol import FailureKind, Report
from sweeper.system import locks
from sweeper.system.paths import SweepPaths
from tests.helpers import open_journal


@pytest.fixture
def failed(tmp_path: Path) -> list[str]:
    """Ids of two failed trials; the third of the sweep is complete."""
    journal = open_journal(tmp_path)
    ids = []
    for number in range(3):
        assert journal.claim("a") is not None
        ids.append(journal.start("a").id)
        journal.report("a", Report(epoch=1, values=(0.5,), busy_seconds=1.0))
        if number == 2:
            journal.finish("a")
        else:
            journal.fail("a", Failure(kind=FailureKind.ERROR, message="boom"))
    text = (tmp_path / "toy.yaml").read_text()
    (tmp_path / "sweeps" / "toy" / "experiment.yaml").write_text(text)
    return ids[:2]


def _retry(folder: Path, *arguments: str) -> int:
    return main(["retry", "toy", *arguments, "--sweeps", str(folder / "sweeps")])


def _waiting(folder: Path) -> list[str]:
    trials = store.load_sweep(folder / "sweeps" / "toy").trials
    return [trial.id for trial in trials if trial.state is State.WAITING]


@pytest.mark.parametrize("arguments", [(), ("--failed",)])
def test_all_failed_trials_are_put_back(
    tmp_path: Path, failed: list[str], arguments: tuple[str, ...]
) -> None:
    assert _retry(tmp_path, *arguments) == 0
    assert _waiting(tmp_path) == failed
    journal = open_journal(tmp_path)
    assert journal.claim("a") is not None
    assert journal.start("a").id == failed[0]
    trials = store.load_sweep(tmp_path / "sweeps" / "toy").trials
    trial = next(t for t in trials if t.id == failed[0])
    assert trial.failures == ()
    assert trial.values == {1: 0.5}
    assert trial.starts == 2


def test_one_failed_trial_is_put_back_by_id_or_number(
    tmp_path: Path, failed: list[str]
) -> None:
    assert _retry(tmp_path, failed[1][:6]) == 0
    assert _waiting(tmp_path) == [failed[1]]
    assert _retry(tmp_path, "0") == 0
    assert _waiting(tmp_path) == failed


def test_what_has_not_failed_is_not_put_back(
    tmp_path: Path, failed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _retry(tmp_path, "2") == 2
    assert "no failed trial" in capsys.readouterr().err
    assert _waiting(tmp_path) == []


@pytest.mark.parametrize("name", ["lock", "journal_lock"])
def test_a_driven_sweep_keeps_its_queue(
    tmp_path: Path,
    failed: list[str],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(store, "WRITER_SECONDS", 0.0)
    paths = SweepPaths(tmp_path / "sweeps" / "toy")
    with locks.hold(getattr(paths, name)):
        assert _retry(tmp_path) == 5
    assert "stop it first" in capsys.readouterr().err
    assert _waiting(tmp_path) == []

"""Every file of a sweep that is replaced whole, cut at every byte: it is noticed.

Journals are in `test_records`, checkpoints and metrics in `test_snapshot`.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from sweeper.cli import main
from sweeper.journal import recovery, spec, store
from sweeper.packing import memory
from sweeper.packing.memory import Prediction
from sweeper.protocol import Report
from sweeper.system import correctness, locks
from sweeper.system.correctness import Correctness
from sweeper.system.errors import JournalError
from sweeper.system.paths import SweepPaths, TrialPaths, write_text
from tests.helpers import make_experiment, open_journal


@pytest.fixture
def sweep(tmp_path: Path) -> SweepPaths:
    """The files of a sweep whose first trial has ended."""
    journal = open_journal(tmp_path)
    assert journal.claim("a") is not None
    started = journal.start("a")
    write_text(Path(started.folder) / "spec.json", started.to_json())
    journal.report("a", Report(epoch=1, values=(0.5,), metrics={"acc": 0.5}))
    journal.finish("a")
    paths = SweepPaths(tmp_path / "sweeps" / "toy")
    store.save_experiment(make_experiment(tmp_path), paths)
    return paths


def _trial(sweep: SweepPaths) -> TrialPaths:
    (folder,) = sweep.trials.iterdir()
    return TrialPaths(folder)


def _cuts(path: Path) -> Iterator[Path]:
    """The file cut at every byte, one after another; a last line may lack its end."""
    whole = path.read_bytes()
    for cut in range(len(whole.rstrip())):
        path.write_bytes(whole[:cut])
        yield path
    path.write_bytes(whole)


def test_a_torn_experiment_is_noticed_and_a_copy_mends_it(
    sweep: SweepPaths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = store.load_experiment(sweep)
    header = len(store.KEPT_COPY)
    for path in _cuts(sweep.experiment):
        if path.stat().st_size >= header:
            with pytest.raises(JournalError, match="is cut short"):
                store.load_experiment(sweep)
    sweep.experiment.write_bytes(sweep.experiment.read_bytes()[: header + 40])
    arguments = ["toy", "--sweeps", str(tmp_path / "sweeps")]
    assert main(["status", *arguments]) == 2
    assert "copy the experiment file" in capsys.readouterr().err
    sweep.experiment.write_text((tmp_path / "toy.yaml").read_text())
    assert main(["status", *arguments]) == 0
    assert store.load_experiment(sweep).search_space == kept.search_space


@pytest.mark.parametrize("size", [0, 1, 20])
def test_of_a_torn_experiment_with_hardly_a_byte_nothing_is_taken(
    sweep: SweepPaths, tmp_path: Path, size: int
) -> None:
    sweep.experiment.write_bytes(sweep.experiment.read_bytes()[:size])
    assert main(["status", "toy", "--sweeps", str(tmp_path / "sweeps")]) == 2


def test_a_torn_spec_or_result_says_nothing(sweep: SweepPaths) -> None:
    trial = _trial(sweep)
    for path in _cuts(trial.result):
        found = recovery.read_result(TrialPaths(path.parent))
        assert found is not None  # from its spec, as a trial that has not ended
        assert not found.state.is_final
    trial.result.unlink()
    for path in _cuts(trial.spec):
        assert spec.read(path) is None
        assert spec.stored_command(path) == ""
        assert recovery.read_result(trial) is None
    trial.spec.write_text("{")
    spec.relocate(sweep, store.load_experiment(sweep))


def test_torn_predictions_are_made_again_and_torn_examples_left_out(
    tmp_path: Path,
) -> None:
    cache = tmp_path / "memory.json"
    data = {"stamp": "s", "predictions": {"key": asdict(Prediction(how="followed"))}}
    write_text(cache, json.dumps(data) + "\n")
    assert list(memory._read(cache, "s")) == ["key"]
    for torn in _cuts(cache):
        assert memory._read(torn, "s") == {}
    path = tmp_path / "correctness.json"
    found = Correctness(epoch=1, value=0.5, correct="10", order="ab")
    assert correctness.record(path, found, mode="max")
    assert correctness.read(path) == found
    for torn in _cuts(path):
        assert correctness.read(torn) is None


def test_a_torn_lock_names_nobody(tmp_path: Path) -> None:
    path = tmp_path / "driver.lock"
    with locks.hold(path):
        holder = locks.holder(path)
        assert holder is not None
        assert holder.pid == os.getpid()
        for torn in _cuts(path):
            assert locks.holder(torn) is None
            assert locks.is_held(torn)

"""Processes that a trial forks or starts may report, end and hang as they like."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.experiment import space
from sweeper.journal import store
from sweeper.journal.journal import Journal
from sweeper.journal.record import State, TrialRecord
from sweeper.project import zygote_client
from sweeper.protocol import Decision, FailureKind, Report
from tests.cases.harness import CASES
from tests.helpers import CONTEXT, make_experiment, run_slot

FORKS = CASES / "forks"


@pytest.fixture(scope="module")
def address() -> Iterator[Path]:
    """Socket of a zygote of the project, which lives as long as the tests."""
    os.environ["PYTHON"] = sys.executable
    scratch = Path(tempfile.mkdtemp(prefix="forks-"))
    process = zygote_client.launch(scratch / "zygote")
    ordered = zygote_client.order(
        scratch / "zygote", project=FORKS, target="train:main"
    )
    assert zygote_client.await_import(ordered).error == ""
    yield scratch / "zygote"
    zygote_client.end(process)
    del os.environ["PYTHON"]


def run(folder: Path, address: Path, **keys: object) -> list[TrialRecord]:
    """Run the trials of an experiment one after another in one slot."""
    loaded = make_experiment(
        folder,
        **{
            "target": "train:main",
            "config": "conf/config.yaml",
            "project": str(FORKS),
            "objective": {"metric": "score", "mode": "max"},
            "timeout": "10m",
            "wandb": "none",
            "retry": {"oom": 0, "lost": 0},
            **keys,
        },
    )
    sweep = folder / "sweeps" / "toy"
    journal = Journal(loaded, space.parse(loaded, {}), sweep, CONTEXT)
    run_slot("a", journal, address)
    return list(store.Reader(loaded, sweep).sweep().trials)


@pytest.mark.slow
def test_a_forked_process_reports_and_ends_as_it_likes(
    tmp_path: Path, address: Path
) -> None:
    ways = {
        **{"os_fork": 3, "process": 3, "watchdog": 3, "leaves": 3, "raises": 3},
        **{"returns": 3, "forks_while_a_thread_reports": 31, "several": 20},
        "helper": 3,
    }
    trials = run(tmp_path, address, search_space={"how": list(ways)})
    for trial in trials:
        how = str(trial.params["how"])
        assert trial.state is State.COMPLETE, (how, trial.failures)
        assert max(trial.values) == ways[how], how


@pytest.mark.slow
@pytest.mark.long
def test_a_trial_that_hangs_with_a_forked_process_says_where(
    tmp_path: Path, address: Path
) -> None:
    (trial,) = run(tmp_path, address, search_space={"how": ["hang"]}, timeout="20s")
    assert [failure.kind for failure in trial.failures] == [FailureKind.TIMEOUT]
    log = tmp_path / "sweeps" / "toy" / "trials" / trial.id / "log.txt"
    assert "in hang" in log.read_text()


@pytest.mark.slow
def test_a_report_from_a_process_of_its_own_is_an_error_and_not_lost(
    tmp_path: Path, address: Path
) -> None:
    (trial,) = run(tmp_path, address, search_space={"how": ["spawn"]})
    assert trial.state is State.FAILED
    log = tmp_path / "sweeps" / "toy" / "trials" / trial.id / "log.txt"
    assert "cannot report; only the trial's own process can" in log.read_text()


@pytest.mark.slow
def test_a_pause_that_a_forked_process_hears_pauses_the_trial(
    tmp_path: Path, address: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Journal.report

    def report(journal: Journal, name: str, found: Report) -> Decision:
        decision = real(journal, name, found)
        if found.epoch < 2:
            return decision
        journal.drain()
        return Decision.PAUSE

    monkeypatch.setattr(Journal, "report", report)
    (trial,) = run(tmp_path, address, search_space={"how": ["pauses"]})
    assert trial.state is State.WAITING


@pytest.mark.slow
@pytest.mark.parametrize(
    "target",
    [
        "python launch.py",
        "bash run.sh",
        pytest.param(
            "python -m torch.distributed.run --nproc-per-node 2 --master-addr "
            "127.0.0.1 --master-port 29533 report.py",
            marks=pytest.mark.long,
        ),
    ],
)
@pytest.mark.few(1)
def test_a_launcher_keeps_the_channel(
    tmp_path: Path, address: Path, target: str
) -> None:
    trials = run(tmp_path, address, search_space={"lr": [0.1]}, target=target)
    assert [trial.state for trial in trials] == [State.COMPLETE], trials[0].failures
    assert sorted(trials[0].values) == [1, 2, 3]


@pytest.mark.slow
def test_a_channel_that_is_lost_is_one_error(tmp_path: Path, address: Path) -> None:
    (trial,) = run(
        tmp_path, address, search_space={"lr": [0.1]}, target="python lost.py"
    )
    assert trial.state is State.FAILED
    assert "does not answer" in trial.failures[0].message

"""Every way a trial can end, with the zygote and the journal that `run` has.

A slot is driven without Ray: the zygote is a process, each trial another one.
"""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.experiment import space
from sweeper.experiment.loading import load
from sweeper.journal import store
from sweeper.journal.journal import Journal
from sweeper.journal.record import State, StopReason, Sweep, TrialRecord
from sweeper.project import zygote_client
from sweeper.protocol import FailureKind
from sweeper.trial.endings import describe_exit
from tests.helpers import CONTEXT, make_experiment, run_slot

LOOP = Path(__file__).parents[1] / "strangers" / "loop"
NO_RETRY = {"oom": 0, "lost": 0}


@pytest.fixture(scope="module")
def address() -> Iterator[Path]:
    """Socket of a zygote that lives as long as this module's tests."""
    scratch = Path(tempfile.mkdtemp(prefix="slot-"))
    process = zygote_client.launch(scratch / "zygote")
    zygote_client.order(scratch / "zygote", project=LOOP, target="loop:train").close()
    yield scratch / "zygote"
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()


class Runner:
    """Runs a sweep over the plain loop in one slot."""

    def __init__(self, folder: Path, address: Path) -> None:
        self._folder = folder
        self._address = address

    def run(self, **keys: object) -> Journal:
        """Run every trial, one after another; the journal."""
        loaded = make_experiment(
            self._folder,
            **{
                "target": "loop:train",
                "config": "conf/loop.yaml",
                "project": str(LOOP),
                "overrides": ["sleep=0"],
                "wandb": "none",
                **keys,
            },
        )
        folder = self._folder / "sweeps" / "toy"
        journal = Journal(loaded, space.parse(loaded, {}), folder, CONTEXT)
        run_slot("a", journal, self._address)
        return journal

    def sweep(self) -> Sweep:
        """What the journal on disk says."""
        loaded = load(self._folder / "toy.yaml")
        return store.Reader(loaded, self._folder / "sweeps" / "toy").sweep()

    def trial(self, behaviour: str) -> TrialRecord:
        """The trial with that behaviour."""
        found = [t for t in self.sweep().trials if t.params["behaviour"] == behaviour]
        return found[0]


@pytest.fixture
def runner(tmp_path: Path, address: Path) -> Runner:
    return Runner(tmp_path, address)


@pytest.mark.slow
def test_each_kind_of_failure_is_told_apart(runner: Runner) -> None:
    expected = {
        "raise": (FailureKind.ERROR, "ValueError: row"),
        "nan": (FailureKind.NAN, "acc was never finite"),
        "oom": (FailureKind.OOM, "OutOfMemoryError: CUDA out of memory"),
        "wrapped_oom": (FailureKind.OOM, "RuntimeError: the batch is too large"),
        "segfault": (FailureKind.LOST, "killed by SIGSEGV"),
        "kill": (FailureKind.LOST, "killed by SIGKILL"),
        "exit": (FailureKind.ERROR, "sys.exit(7)"),
    }
    behaviours = [*expected, "leave_children", "train"]
    runner.run(search_space={"behaviour": behaviours}, retry=NO_RETRY)
    for behaviour, (kind, message) in expected.items():
        trial = runner.trial(behaviour)
        assert trial.state is State.FAILED, behaviour
        assert [f.kind for f in trial.failures] == [kind], behaviour
        assert message in trial.failures[0].message, behaviour
    assert runner.trial("train").state is State.COMPLETE
    assert runner.trial("leave_children").state is State.COMPLETE
    paths = runner.sweep().paths
    log = paths.trial(runner.trial("segfault").id).log.read_text()
    assert "Fatal Python error: Segmentation fault" in log
    assert "in _misbehave" in log
    children = paths.trial(runner.trial("leave_children").id).folder / "children"
    pids = [int(line) for line in children.read_text().splitlines()]
    assert len(pids) == 6
    assert not [pid for pid in pids if _outlives(pid)]


def _outlives(pid: int, *, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > deadline:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.slow
def test_a_trial_that_hangs_is_ended_after_the_timeout(runner: Runner) -> None:
    runner.run(search_space={"behaviour": ["hang"]}, timeout="3s")
    trial = runner.trial("hang")
    assert trial.state is State.FAILED
    assert [f.kind for f in trial.failures] == [FailureKind.TIMEOUT]
    assert "no report for 3 s" in trial.failures[0].message
    log = runner.sweep().paths.trial(trial.id).log.read_text()
    assert "most recent call first" in log


@pytest.mark.slow
def test_one_error_in_three_trials_stops_the_sweep_with_one_message(
    runner: Runner,
) -> None:
    journal = runner.run(
        search_space={"rate": [1, 2, 3, 4, 5]}, overrides=["behaviour=raise"]
    )
    trials = runner.sweep().trials
    assert [t.state for t in trials] == [State.FAILED] * 3
    stop = journal.stopped_by()
    assert stop.reason is StopReason.FAILING
    assert all(t.id in stop.message for t in trials)
    assert "ValueError: row" in stop.message
    assert "sweeper retry toy" in stop.message
    assert journal.is_finished()
    again = runner.run(search_space={"rate": [1, 2, 3, 4, 5]})  # mended
    assert again.stopped_by().reason is StopReason.NONE
    states = [t.state for t in runner.sweep().trials]
    assert states == [State.FAILED] * 3 + [State.COMPLETE] * 2


@pytest.mark.slow
def test_a_failure_is_tried_again_as_the_file_says(runner: Runner) -> None:
    runner.run(
        search_space={"behaviour": ["raise_once", "raise", "die_once"]},
        retry={"error": 1, "lost": 1},
    )
    once, raising, died = (runner.trial(b) for b in ("raise_once", "raise", "die_once"))
    assert (once.state, once.starts, len(once.failures)) == (State.COMPLETE, 2, 1)
    assert (raising.state, raising.starts) == (State.FAILED, 2)
    assert (died.state, died.starts) == (State.COMPLETE, 2)
    assert [f.kind for f in died.failures] == [FailureKind.LOST]
    assert list(died.values) == [1, 2, 3]


@pytest.mark.parametrize(
    ("code", "words"), [(-9, "killed by SIGKILL"), (0, "exit status 0")]
)
def test_an_exit_status_is_told_in_words(code: int, words: str) -> None:
    assert describe_exit(code) == words

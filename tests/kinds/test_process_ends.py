"""How a trial's process ends, and what the journal makes of it."""

import errno
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from sweeper.experiment import space
from sweeper.experiment.loading import load
from sweeper.journal import store
from sweeper.journal.journal import Journal
from sweeper.journal.record import State, TrialRecord
from sweeper.plan.preflight import run_single
from sweeper.project import slot, zygote_client
from sweeper.protocol import Decision, FailureKind, Report
from tests.cases.harness import copy_case
from tests.exact.running import make_spec
from tests.helpers import CONTEXT, make_experiment, run_slot

EXIT_SECONDS = 3.0  # instead of a minute, for threads and exit handlers that hang

DONE = (
    *("returns", "exit_0", "exit_none", "exit_false", "os_exit_0"),
    *("write_only", "closed", "removed"),
    *("thread", "atexit", "atexit_raises", "atexit_hangs"),
)
ERRORS = {
    "exit_text": "SystemExit: sys.exit('data set is empty') (train.py:",
    "exit_empty_text": "SystemExit: sys.exit('') (train.py:",
    "exit_3": "SystemExit: sys.exit(3) (train.py:",
    "os_exit_3": "exit status 3",
    "keyboard": "KeyboardInterrupt (train.py:",
    "generator": "GeneratorExit (train.py:",
    "cancelled": "CancelledError (train.py:",
    "base": "BaseException: base (train.py:",
    "subclass": "Stopped: enough (train.py:",
    "group": "KeyError: 'label' (train.py:",
    "unprintable": "SilentError: its message cannot be shown (train.py:",
    "not_utf8": "OSError: no file \\udce9 (train.py:",
    "sigint": "KeyboardInterrupt (train.py:",
    "reads": "EOFError",
    "breaks": "BdbQuit",
    "both_closed": "ValueError: no data (train.py:",
    "pool": "KeyError: 'label' (train.py:",
    "raised_from": "raised as ValueError: row 7 of labels.csv",
}
LOST = {
    "sigterm": "killed by SIGTERM",
    "sigkill": "killed by SIGKILL",
    "segfault": "killed by SIGSEGV",
    "exit_137": "sys.exit(137)",
    "os_exit_139": "killed by SIGSEGV",
    "lost_pool": "process pool was terminated abruptly",
}
Ended = Mapping[str, tuple[TrialRecord, str]]  # the trial and its log, by `how`


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    """Every way of the case, each a trial of one sweep in one slot."""
    project = copy_case("C13", tmp_path_factory.mktemp("ends"))
    ways = [*DONE, *ERRORS, *LOST]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slot, "EXIT_SECONDS", EXIT_SECONDS)
        yield _run(project, ways)


def _run(project: Path, ways: list[str]) -> Ended:
    folder = project.parent
    experiment = make_experiment(
        folder,
        target="train:main",
        config="conf/config.yaml",
        project=str(project),
        search_space={"how": ways},
        objective={"metric": "score", "mode": "max"},
        retry={"lost": 1},
        wandb="none",
    )
    sweep_folder = folder / "sweeps" / "toy"
    scratch = Path(tempfile.mkdtemp(prefix="ends-"))
    process = zygote_client.launch(scratch / "zygote")
    try:
        order = zygote_client.order(
            scratch / "zygote", project=project, target="train:main"
        )
        order.close()
        while True:  # a new start each time three trials in a row failed alike
            journal = Journal(
                experiment, space.parse(experiment, {}), sweep_folder, CONTEXT
            )
            if journal.offer() is None:
                break
            run_slot("a", journal, scratch / "zygote")
    finally:
        _end(process)
    sweep = store.Reader(load(folder / "toy.yaml"), sweep_folder).sweep()
    logs = {t.id: sweep.paths.trial(t.id).log.read_text() for t in sweep.trials}
    return {str(t.params["how"]): (t, logs[t.id]) for t in sweep.trials}


def _end(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()


@pytest.mark.slow
def test_a_fault_of_the_journal_is_no_failure_of_the_trial(tmp_path: Path) -> None:
    """The disk of the journal, not the process of the trial, is what broke."""
    project = copy_case("C13", tmp_path)
    spec = make_spec(
        tmp_path / "trial",
        [],
        target="train:main",
        config=str(project / "conf" / "config.yaml"),
        project=str(project),
        metric="score",
        mode="max",
    )

    def refuse(report: Report) -> Decision:
        raise OSError(errno.EIO, "Input/output error")

    with (
        zygote_client.running(project=project, target="train:main") as address,
        pytest.raises(OSError, match="Input/output error"),
    ):
        run_single(spec, address, decide=refuse, env={})


@pytest.mark.slow
@pytest.mark.parametrize("how", DONE)
def test_a_trial_whose_work_is_done_is_complete(ended: Ended, how: str) -> None:
    trial, log = ended[how]
    assert trial.state is State.COMPLETE, (trial.failures, log)
    assert trial.starts == 1
    own_words, _, _stacks = log.partition("(most recent call first)")
    assert "sweeper/trial" not in own_words


@pytest.mark.slow
@pytest.mark.parametrize("how", ERRORS)
def test_what_the_code_raised_is_one_error_with_its_place(
    ended: Ended, how: str
) -> None:
    trial, log = ended[how]
    assert trial.state is State.FAILED
    assert [failure.kind for failure in trial.failures] == [FailureKind.ERROR]
    assert trial.starts == 1
    assert ERRORS[how] in trial.failures[0].message
    assert "sweeper/trial" not in log


@pytest.mark.slow
@pytest.mark.parametrize("how", LOST)
def test_death_by_a_signal_is_lost_and_tried_again(ended: Ended, how: str) -> None:
    trial, log = ended[how]
    assert trial.state is State.FAILED
    assert [failure.kind for failure in trial.failures] == [FailureKind.LOST] * 2
    assert LOST[how] in trial.failures[0].message
    assert "Traceback" not in log or "sweeper/trial" not in log

"""The message of a failure is its innermost error, in one line, with its place."""

import functools
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import hydra
import pytest
import torch

from sweeper.journal import budget
from sweeper.journal.record import Failure
from sweeper.protocol import Ended, FailureKind
from sweeper.system.errors import TargetError
from sweeper.trial import causes, endings
from tests.cases.harness import run_case

HERE = Path(__file__).parent
WORKER = """\
Caught KeyError in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "/site-packages/torch/utils/data/_utils/worker.py", line 309, in _worker_loop
    data = fetcher.fetch(index)
  File "{file}", line {line}, in __getitem__
    return row["{key}"]
           ~~~^^^^^^^^^
KeyError: '{key}'
"""


def _raised(raiser: Callable[[], object]) -> BaseException:
    try:
        raiser()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def _of(raiser: Callable[[], object]) -> Ended:
    return endings.of_exception(_raised(raiser), project=HERE)


def _raise(error: BaseException) -> None:
    raise error


def _worker(key: str, line: int) -> None:
    raise KeyError(
        type("Text", (str,), {"__repr__": str.__str__})(
            WORKER.format(file=HERE / "rows.py", key=key, line=line)
        )
    )


def _download() -> None:
    raise URLError("connection refused")


def _instantiate() -> None:
    node = {"model": {"_target_": f"{__name__}._download"}}
    hydra.utils.instantiate(node)


def _load_weights() -> None:
    torch.nn.Linear(2, 2).load_state_dict({"bias": torch.zeros(2)})


def _wrap() -> None:
    try:
        _download()
    except URLError as error:
        raise RuntimeError("no weights for resnet18") from error


def _handle() -> None:
    try:
        {}["cache"]
    except KeyError:
        raise FileNotFoundError("weights.pt")  # noqa: B904  # a fallback that failed


@pytest.mark.parametrize(
    ("raiser", "message"),
    [
        (lambda: _worker("label", 7), "KeyError: 'label' (rows.py:7 in __getitem__)"),
        (_instantiate, "URLError: <urlopen error connection refused> (test_messages"),
        (_wrap, "URLError: <urlopen error connection refused> (test_messages"),
        (_wrap, "raised as RuntimeError: no weights for resnet18"),
        (_handle, "FileNotFoundError: weights.pt (test_messages"),
        (_load_weights, 'Missing key(s) in state_dict: "weight"'),
        (lambda: _raise(KeyboardInterrupt()), "KeyboardInterrupt (test_messages"),
    ],
)
def test_the_innermost_error_is_the_message(
    raiser: Callable[[], object], message: str
) -> None:
    ended = _of(raiser)
    assert ended.kind == FailureKind.ERROR
    assert message in ended.message
    assert "Caught" not in ended.message
    assert "Error in call" not in ended.message
    assert "\n" not in ended.message


@pytest.mark.parametrize("raiser", [_instantiate, _wrap, _handle])
def test_a_program_has_the_message_that_a_function_has(
    raiser: Callable[[], None],
) -> None:
    error = _raised(raiser)
    printed = "".join(traceback.format_exception(error))
    ended = endings.of_program(1, f"epoch 1\n{printed}", project=HERE)
    inner = causes.of_exception(error)[-1]
    assert ended.message.startswith(str(inner))


def test_different_errors_stay_different_and_equal_ones_stay_together() -> None:
    """Three equal failures in a row end a sweep; three different ones do not."""
    rows = (("label", 7), ("label", 7), ("colour", 9))
    label, label_again, colour = (
        _of(functools.partial(_worker, key, line)) for key, line in rows
    )
    assert label.traceback == label_again.traceback
    assert label.traceback != colour.traceback
    programs = [
        endings.of_program(1, WORKER.format(file="a", key="k", line=n), project=HERE)
        for n in (1, 1, 2)
    ]
    assert programs[0].traceback == programs[1].traceback != programs[2].traceback
    ended = [
        (str(n), Failure(kind=FailureKind.ERROR, message="", traceback=p.traceback))
        for n, p in enumerate(programs)
    ]
    assert budget.alike(ended) == ()
    assert budget.alike([*ended[:2], ended[1]]) != ()


LOADER = "DataLoader worker (pid 41) is killed by signal: Killed. "


def _lose_worker() -> None:
    try:
        raise RuntimeError(LOADER)
    except RuntimeError as error:
        raise RuntimeError(
            "DataLoader worker (pid(s) 41) exited unexpectedly"
        ) from error


@pytest.mark.parametrize("raiser", [_lose_worker, lambda: _raise(RuntimeError(LOADER))])
def test_a_killed_loader_worker_is_lost_in_functions_and_programs(
    raiser: Callable[[], None],
) -> None:
    assert _of(raiser).kind == FailureKind.LOST
    assert "killed by signal: Killed" in _of(raiser).message
    printed = "".join(traceback.format_exception(_raised(raiser)))
    assert endings.of_program(1, printed, project=HERE).kind == FailureKind.LOST


@pytest.mark.parametrize(
    ("code", "output", "kind", "message"),
    [
        (-9, "epoch 1\n", "lost", "killed by SIGKILL"),
        (137, "epoch 1\nKilled\n", "lost", "killed by SIGKILL"),
        (-11, "Fatal Python error: Segmentation fault\n", "lost", "killed by SIGSEGV"),
        (139, "", "lost", "killed by SIGSEGV"),
        (143, "", "lost", "killed by SIGTERM"),
        (134, "terminate called\n", "lost", "killed by SIGABRT"),
        (-6, "c10::Error: CUDA out of memory.\n", "oom", "CUDA out of memory"),
        (-9, "retry after CUDA out of memory\n", "lost", "killed by SIGKILL"),
        (-40, "", "lost", "killed by signal 40"),
        (1, "data set is empty\n", "error", "exit status 1: data set is empty"),
        (255, "", "error", "exit status 255: no output"),
    ],
)
def test_a_program_ends_as_its_exit_status_says(
    code: int, output: str, kind: str, message: str
) -> None:
    ended = endings.of_program(code, output, project=HERE)
    assert ended.kind == kind
    assert message in ended.message


def test_an_interrupt_that_a_program_raised_is_its_error() -> None:
    printed = "".join(
        traceback.format_exception(_raised(lambda: _raise(KeyboardInterrupt())))
    )
    ended = endings.of_program(-2, printed, project=HERE)
    assert (ended.kind, ended.message[:17]) == ("error", "KeyboardInterrupt")


def test_a_traceback_that_did_not_end_the_program_is_not_its_message() -> None:
    handled = "".join(traceback.format_exception(_raised(_download)))
    later = "".join(f"epoch {n}\n" for n in range(9))
    ended = endings.of_program(3, f"{handled}\n{later}no data\n", project=HERE)
    assert ended.message == "exit status 3: no data"
    ignored = handled + f"\nException ignored in: <function>\n{handled}"
    assert str(causes.of_output(ignored)[-1]) == str(causes.of_output(handled)[-1])


def test_an_error_of_sweeper_behind_another_one_ends_the_sweep() -> None:
    def refuse() -> None:
        raise RuntimeError("cannot build") from TargetError("Trainer: refused")

    assert _of(refuse) == Ended(event="fatal", kind="error", message="Trainer: refused")


def test_a_text_that_is_not_utf8_can_be_written() -> None:
    ended = _of(lambda: _raise(OSError(b"no \xe9".decode(errors="surrogateescape"))))
    assert ended.message.encode().startswith(b"OSError: no \\udce9")


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.parametrize(
    "target",
    ["train:main", pytest.param(f"{sys.executable} train.py", marks=pytest.mark.long)],
)
@pytest.mark.long
def test_a_sweep_of_loaders_and_downloads_that_fail(
    tmp_path: Path, target: str
) -> None:
    sweep = run_case("C18", tmp_path, f"target={target}")
    trials = {trial["params"]["how"]: trial for trial in sweep.trials()}
    assert trials["killed"]["state"] == "complete"
    assert [f["kind"] for f in trials["killed"]["failures"]] == ["lost"]
    expected = {
        "raises_a": "KeyError: 'label' (train.py:",
        "raises_b": "KeyError: 'colour' (train.py:",
        "download": "ConnectionError: the server of the data set does not answer (",
    }
    for how, message in expected.items():
        assert [f["kind"] for f in trials[how]["failures"]] == ["error"]
        assert trials[how]["failures"][0]["message"].startswith(message)

"""How one attempt of a trial ended, for functions and programs alike.

Death by a signal that nobody of ours sent is `lost`: another attempt may well succeed.
An exit status or an exception is the project's fault: `error`.
"""

import re
import signal
from pathlib import Path

from sweeper.protocol import Ended, FailureKind
from sweeper.system.errors import SweeperError
from sweeper.trial import causes
from sweeper.trial.causes import Cause

CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT)
SHELL = 128  # a shell exits with this and the number of the signal
NUM_SIGNALS = 31
TAIL_LINES = 40
OUT_OF_MEMORY = ("OutOfMemoryError", "CUDA out of memory", "MemoryError")
# What libraries raise when one of their processes was killed.
WORKER_DIED = re.compile(
    r"DataLoader worker \(pid.*\) (is killed by signal|exited unexpectedly)"
    r"|process \d+ terminated with signal"
    r"|A process in the process pool was terminated abruptly"
    r"|A worker process managed by the executor was unexpectedly terminated"
)


def of_exception(error: BaseException, *, project: Path) -> Ended:
    """Return the outcome of an attempt whose code raised `error`.

    Args:
        project: the message names its lines of code first.
    """
    chain = causes.chain(error)
    ours = next((e for e in chain if isinstance(e, SweeperError)), None)
    if ours is not None:
        return Ended(event="fatal", kind=FailureKind.ERROR, message=str(ours))
    errors = causes.of_exception(error)
    is_oom = any(
        isinstance(e, MemoryError)
        or any(base.__name__ == "OutOfMemoryError" for base in type(e).__mro__)
        for e in chain
    )
    status = error.code if isinstance(error, SystemExit) else 0
    number = signal_of(status & 0xFF) if isinstance(status, int) else 0
    return _of_causes(errors, project=project, is_oom=is_oom, is_killed=number > 0)


def is_success(error: BaseException) -> bool:
    """Return whether an exception ends a program with exit status 0."""
    if not isinstance(error, SystemExit):
        return False
    return error.code is None or (
        isinstance(error.code, int) and error.code & 0xFF == 0
    )


def _of_causes(
    errors: list[Cause], *, project: Path, is_oom: bool, is_killed: bool = False
) -> Ended:
    dead = [i for i, cause in enumerate(errors) if WORKER_DIED.search(cause.text)]
    if dead:
        errors = errors[: dead[-1] + 1]  # what it was raised from says less
    kind = FailureKind.ERROR
    if dead or is_killed:
        kind = FailureKind.LOST
    elif is_oom:
        kind = FailureKind.OOM
    return Ended(
        event="failed",
        kind=kind,
        message=causes.message(errors, project=project),
        traceback=causes.digest(errors),
    )


def of_exit(code: int) -> Ended:
    """Return the outcome of a function's process that ended without a word of it.

    `os._exit(0)` is an end like any other.

    Args:
        code: exit status, -N for signal N.
    """
    if code == 0:
        return Ended(event="finished")
    how = describe_exit(code)
    number = signal_of(code)
    is_crash = number in CRASHES
    return Ended(
        event="failed",
        kind=FailureKind.LOST if number else FailureKind.ERROR,
        message=f"the process ended without a result: {how}",
        traceback=how if is_crash or not number else "",
    )


def of_program(code: int, output: str, *, project: Path) -> Ended:
    """Return the outcome of a program that ended with an exit status other than 0.

    Args:
        output: what it printed.
    """
    number = signal_of(code)
    errors = causes.of_output(output) if causes.ends_with_traceback(output) else []
    lines = [line for line in output.splitlines() if line.strip()]
    shown = "\n".join(map(str, errors) if errors else lines[-TAIL_LINES:])
    is_oom = number != signal.SIGKILL and any(mark in shown for mark in OUT_OF_MEMORY)
    is_interrupt = bool(errors) and errors[-1].type == "KeyboardInterrupt"
    if number and not is_oom and not (is_interrupt and number == signal.SIGINT):
        return of_exit(code)
    if errors:
        return _of_causes(errors, project=project, is_oom=is_oom)
    last = lines[-1].strip() if lines else "no output"
    text = f"{describe_exit(code)}: {causes.printable(last)}"
    return Ended(
        event="failed",
        kind=FailureKind.OOM if is_oom else FailureKind.ERROR,
        message=text,
        traceback=text,
    )


def signal_of(code: int) -> int:
    """Return the number of the signal behind an exit status; 0 without one.

    >>> signal_of(-9), signal_of(137), signal_of(1), signal_of(255)
    (9, 9, 0, 0)
    """
    if code < 0:
        return -code
    return code - SHELL if SHELL < code <= SHELL + NUM_SIGNALS else 0


def describe_exit(code: int) -> str:
    """Return an exit status in words.

    >>> describe_exit(-9), describe_exit(137), describe_exit(3)
    ('killed by SIGKILL', 'killed by SIGKILL (exit status 137)', 'exit status 3')
    """
    number = signal_of(code)
    if not number:
        return f"exit status {code}"
    names = {s.value: s.name for s in signal.Signals}
    name = names.get(number, f"signal {number}")
    return f"killed by {name}" if code < 0 else f"killed by {name} (exit status {code})"

"""One import of the target in a process of its own, before any trial.

Whatever the import does (exits, trains, hangs, crashes) happens here once, and is one
message. What it loads tells which third-party modules the template may import.
"""

import atexit
import contextlib
import faulthandler
import json
import os
import select
import signal
import sys
import tempfile
import time
import traceback
import weakref
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

from sweeper.host import orphans
from sweeper.processes import endings, fork_server
from sweeper.project import importing, targets

LEAST_SECONDS = 60.0  # third-party modules are imported for the first time, too
LEAVE_SECONDS = 2.0
NUM_TRIES = 3  # of an import that is killed
KILLS = (-signal.SIGKILL, -signal.SIGTERM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What the import of a target did.

    Attributes:
        error: why it cannot be imported, "" if it can.
        traceback: of the error, or what the import printed.
        shared: third-party modules that it loaded, in order.
        private: modules of the project that it loaded.
    """

    error: str = ""
    traceback: str = ""
    shared: Sequence[str] = ()
    private: Sequence[str] = ()


def limit(timeout_seconds: float | None) -> float:
    """Return how long the import may take."""
    if timeout_seconds is None:
        return importing.IMPORT_SECONDS
    return max(LEAST_SECONDS, min(timeout_seconds, importing.IMPORT_SECONDS))


def probe(target: str, project: Path, *, limit_seconds: float) -> Imported:
    """Import the target in a forked process; return what that did.

    A kill says nothing about the target: the machine may have been short of memory, or
    somebody ended the process. So it is tried again.
    """
    for _ in range(NUM_TRIES):
        imported, code = _try(target, project, limit_seconds)
        if code not in KILLS:
            return imported
    message = (
        f"target: {target!r}: its import was {endings.describe_exit(code)} "
        f"{NUM_TRIES} times; make sure that the machine has memory for it, then "
        "run the same command again"
    )
    return replace(imported, error=message)


def _try(target: str, project: Path, limit_seconds: float) -> tuple[Imported, int]:
    """Import the target once.

    Returns:
        What that did, and the exit code of a process that ended without an answer; 0 if
        it answered or was ended for being late.
    """
    others = set(orphans.children(os.getpid()))
    with tempfile.TemporaryFile() as output:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            _be_probe(target, project, write, output)
        os.close(write)
        try:
            answer = _answer(pid, read, limit_seconds)
        finally:
            os.close(read)
        is_late = answer is None
        if is_late:
            fork_server.dump_stacks(pid)
        code = _end(pid, 0.0 if is_late else LEAVE_SECONDS)
        for other in set(orphans.children(os.getpid())) - others:
            if not orphans.is_wandb(other):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(other, signal.SIGKILL)
        output.seek(0)
        text = output.read().decode(errors="replace")
    if answer:
        return Imported(**json.loads(answer)), 0
    if is_late:
        line = importing.place(text, project)
        message = importing.too_long(target, limit_seconds, line)
        return Imported(error=message, traceback=text), 0
    module = target.partition(":")[0]
    message = (
        f"target: {target!r}: importing it ends the process, "
        f"{endings.describe_exit(code)}; the module must be importable; try "
        f"`python -c 'import {module}'`"
    )
    return Imported(error=message, traceback=text), code


def _answer(pid: int, read: int, limit_seconds: float) -> bytes | None:
    """Return the probe's line; b"" if it died without one, None if it is late."""
    deadline = time.monotonic() + limit_seconds
    data = b""
    ended = os.pidfd_open(pid)
    try:
        while not data.endswith(b"\n"):
            # A helper that the project started may hold the pipe's other end.
            seconds = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([read, ended], [], [], seconds)
            if not ready:
                return None
            part = os.read(read, 65536) if read in ready else b""
            if not part:
                return b""
            data += part
    finally:
        os.close(ended)
    return data


def _end(pid: int, wait_seconds: float) -> int:
    """Wait for the probe's end, then kill what is left of it; return its exit code."""
    ended = os.pidfd_open(pid)
    select.select([ended], [], [], wait_seconds)
    os.close(ended)
    fork_server.kill_group(pid)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _be_probe(target: str, project: Path, write: int, output: IO[bytes]) -> None:
    """Live the probe's life; it never returns."""
    os.setpgid(0, 0)
    fork_server.die_with_parent()
    fork_server.restore_signals()
    vars(weakref.finalize)["_registry"].clear()  # the template's, not ours to run
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    fork_server.enable_stacks()
    faulthandler.enable()
    before = set(sys.modules)
    error: BaseException | None = None
    try:
        with importing.tried(target), importing.as_script(target, project):
            targets.load(target)
    except BaseException as reason:  # the one edge of this process
        error = reason
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    result = _result(target, project, before, error, output)
    line = json.dumps(asdict(result)).encode() + b"\n"
    while line:
        line = line[os.write(write, line) :]
    _leave()


def _result(
    target: str,
    project: Path,
    before: set[str],
    error: BaseException | None,
    output: IO[bytes],
) -> Imported:
    if error is not None:
        output.seek(0)
        text = output.read().decode(errors="replace")
        printed = text.partition("Traceback (most recent call last)")[0]
        message = importing.describe(target, project, error, output=printed)
        return Imported(error=message, traceback=text)
    loaded = [name for name in sys.modules if name not in before]
    own = importing.own_packages(target, project)
    shared, private = importing.split(loaded, own)
    return Imported(shared=shared, private=private)


def _leave() -> None:
    """End this process after its exit handlers, which remove temporary folders."""
    atexit._run_exitfuncs()
    os._exit(0)

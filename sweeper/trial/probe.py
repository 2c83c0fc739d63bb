"""A probe: one import of the target in a process of its own, before any trial.

Whatever the import does (exits, trains, hangs, crashes) happens here once, and is one
message. What it loads says which third-party modules the zygote may import.
"""

import atexit
import contextlib
import os
import select
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, NoReturn

from sweeper.protocol import Connection, Imported, ProtocolError
from sweeper.system import orphans
from sweeper.trial import endings, forked, importing

LEAST_SECONDS = 60.0  # third-party modules are imported for the first time, too
LEAVE_SECONDS = 2.0
NUM_TRIES = 3  # of an import that is killed
KILLS = (-signal.SIGKILL, -signal.SIGTERM)


def limit(timeout_seconds: float | None) -> float:
    """Return how long the import may take."""
    if timeout_seconds is None:
        return importing.IMPORT_SECONDS
    return max(LEAST_SECONDS, min(timeout_seconds, importing.IMPORT_SECONDS))


def probe(target: str, project: Path, *, limit_seconds: float) -> Imported:
    """Import the target in a forked process; return the result.

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
        Its result, and the exit code of a process that ended without an answer; 0 if
        it answered or was ended for being late.
    """
    others = set(orphans.children(os.getpid()))
    ours, its = socket.socketpair()
    with tempfile.TemporaryFile() as output, Connection(ours) as connection:
        pid = os.fork()
        if pid == 0:
            ours.close()
            _be_probe(target, project, Connection(its), output)
        its.close()
        ended = os.pidfd_open(pid)
        # A helper that the project started may hold the other end of the socket.
        watched: list[Connection | int] = [connection, ended]
        ready, _, _ = select.select(watched, [], [], limit_seconds)
        answer = None
        with contextlib.suppress(ProtocolError):  # it died while it wrote
            answer = connection.receive() if connection in ready else None
        if not ready:
            forked.dump_stacks(pid)
        code = _end(pid, ended, LEAVE_SECONDS if ready else 0.0)
        for other in set(orphans.children(os.getpid())) - others:
            if not orphans.is_wandb(other):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(other, signal.SIGKILL)
        output.seek(0)
        text = output.read().decode(errors="replace")
    if isinstance(answer, Imported):
        return answer, 0
    if not ready:
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


def _end(pid: int, ended: int, wait_seconds: float) -> int:
    """Wait for the probe's end, then kill what is left of it; return its exit code."""
    select.select([ended], [], [], wait_seconds)
    os.close(ended)
    forked.kill_group(pid)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _be_probe(
    target: str, project: Path, connection: Connection, output: IO[bytes]
) -> NoReturn:
    """Live the probe's life."""
    os.setpgid(0, 0)
    forked.begin()
    forked.restore_signals()
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    forked.enable_stacks()
    before, configs = set(sys.modules), _registered()
    error: BaseException | None = None
    try:
        with importing.tried(target), importing.as_script(target, project):
            importing.load(target)
    except BaseException as reason:  # the one edge of this process
        error = reason
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    has_configs = _registered() != configs
    result = _result(target, project, before, error, output)
    connection.tell(replace(result, has_configs=has_configs))
    atexit._run_exitfuncs()  # they remove temporary folders
    os._exit(0)


def _registered() -> set[str]:
    """Return the names of the configs that were registered in this process."""
    from hydra.core.config_store import ConfigStore

    return _names(ConfigStore.instance().repo)


def _names(configs: Mapping[str, object]) -> set[str]:
    """Return the names of registered configs."""
    names = set()
    for name, node in configs.items():
        inner = _names(node) if isinstance(node, Mapping) else {str(id(node))}
        names |= {f"{name}/{other}" for other in inner}
    return names


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
    return Imported(shared=tuple(shared), private=tuple(private))

"""A target that is a program: started with the trial's overrides, listened to.

The program's own process takes part through `callbacks.attach`: Lightning finds
sweeper's callbacks there by their entry points, as in a function's process.
"""

import contextlib
import json
import os
import secrets
import select
import shlex
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sweeper.callbacks import CHANNEL, FOLDER, ActiveTrial
from sweeper.callbacks.checkpoint import Paused
from sweeper.errors import MetricError, TargetError
from sweeper.reports import Measured
from sweeper.search_space import grammar
from sweeper.trial import Decision, TrialSpec

TAIL_LINES = 40
OUT_OF_MEMORY = ("OutOfMemoryError", "CUDA out of memory", "MemoryError")


class ProgramError(Exception):
    """A program that ended with an exit status other than 0."""


def run(trial: ActiveTrial) -> None:
    """Run the trial's program to its end, relaying its reports.

    Raises:
        Paused: it ended because the sweep is stopping.
        MetricError: it does not log the objective.
        MemoryError: its output says that memory ran out.
        ProgramError: it failed otherwise.
        TargetError: it cannot be started.
    """
    spec = trial.spec
    log_size = trial.paths.log.stat().st_size if trial.paths.log.exists() else 0
    # By name, since a launcher, a shell or torchrun closes descriptors; without a file,
    # so that nothing is left behind.
    name = f"sweeper-{secrets.token_hex(16)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(f"\0{name}")
        listener.listen(64)
        try:
            process = subprocess.Popen(
                words(spec), env={**environment(spec), CHANNEL: name}
            )
        except OSError as error:
            raise TargetError(f"target: {spec.target!r}: {error}") from error
        relay = _Relay(trial, listener)
        relay.serve(process)
    code = process.wait()
    if relay.fatal:
        raise MetricError(relay.fatal)
    if relay.is_paused or (trial.decision is Decision.PAUSE and code):
        raise Paused
    if code:
        _raise(code, _tail(trial.paths.log, log_size))


def environment(spec: TrialSpec) -> dict[str, str]:
    """That of the program: the project can be imported, Hydra tells errors whole."""
    paths = [spec.project, os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        FOLDER: spec.folder,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "HYDRA_FULL_ERROR": "1",
        "OMP_NUM_THREADS": str(spec.threads),
    }


def words(spec: TrialSpec) -> list[str]:
    """The command line: the program, the overrides, Hydra's folder."""
    program = shlex.split(spec.target)
    if program[0] in ("python", "python3"):
        program[0] = sys.executable
    absolute = [
        str(Path(spec.project) / word) if spec.chdir and word.endswith(".py") else word
        for word in program
    ]
    return [*absolute, *spec.overrides, f"hydra.run.dir={grammar.to_text(spec.folder)}"]


class _Relay:
    """Takes the program's messages to the trial and brings the answers back."""

    def __init__(self, trial: ActiveTrial, listener: socket.socket) -> None:
        self._trial = trial
        self._listener = listener
        self._waiting: dict[socket.socket, bytes] = {}  # by connection: half a line
        self.fatal = ""
        self.is_paused = False

    def serve(self, process: "subprocess.Popen[bytes]") -> None:
        """Serve until the program ends and what it has sent is taken."""
        ended = os.pidfd_open(process.pid)
        try:
            while True:
                sources: list[int | socket.socket] = [ended, self._listener]
                sources += self._waiting
                readable, _, _ = select.select(sources, [], [])
                for source in readable:
                    if source is self._listener:
                        self._accept()
                    elif isinstance(source, socket.socket):
                        self._receive(source)
                if readable == [ended]:
                    return
        finally:
            os.close(ended)
            for connection in self._waiting:
                connection.close()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        if struct.unpack("3i", peer)[1] == os.getuid():
            self._waiting[connection] = b""
        else:
            connection.close()  # another user's process, which has guessed the name

    def _receive(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            del self._waiting[connection]
            connection.close()
            return
        *lines, self._waiting[connection] = (self._waiting[connection] + data).split(
            b"\n"
        )
        for line in lines:
            self._take(json.loads(line), connection)

    def _take(self, message: dict[str, object], connection: socket.socket) -> None:
        match message:
            case {"event": "report", **arguments}:
                self._answer(arguments, connection)
            case {"event": "trainer"}:
                self._trial.has_trainer = True
            case {"event": "paused"}:
                self.is_paused = True

    def _answer(self, arguments: dict[str, Any], connection: socket.socket) -> None:
        try:
            answer = {"decision": str(self._trial.report(Measured(**arguments)))}
        except MetricError as error:
            self.fatal = str(error)
            answer = {"error": self.fatal}
        with contextlib.suppress(BrokenPipeError):  # it died while it waited
            connection.sendall((json.dumps(answer) + "\n").encode())


def _tail(log: Path, start: int) -> Sequence[str]:
    """The last lines that the program wrote."""
    if not log.exists():
        return ()
    with log.open("rb") as file:
        file.seek(start)
        text = file.read().decode(errors="replace")
    return deque((line for line in text.splitlines() if line.strip()), TAIL_LINES)


def _raise(code: int, tail: Sequence[str]) -> None:
    last = tail[-1].strip() if tail else "no output"
    text = f"exit status {code}: {last}"
    if any(mark in line for line in tail for mark in OUT_OF_MEMORY):
        raise MemoryError(text)
    raise ProgramError(text)

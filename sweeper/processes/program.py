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
from pathlib import Path
from typing import Any

from sweeper.callbacks import CHANNEL, FOLDER, ActiveTrial
from sweeper.callbacks.checkpoint import Paused
from sweeper.errors import MetricError, SweeperError, TargetError
from sweeper.host.paths import TrialPaths
from sweeper.processes import endings
from sweeper.reports import Measured
from sweeper.search_space import grammar
from sweeper.trial import Decision, TrialSpec

OUTPUT_BYTES = 256 * 1024  # of a program's output, from its end


class ProgramError(Exception):
    """A program that ended with an exit status other than 0.

    Args:
        code: the exit status, -N for signal N.
        output: the end of what the program printed.
    """

    def __init__(self, code: int, output: str) -> None:
        super().__init__(endings.describe_exit(code))
        self.code = code
        self.output = output


def run(trial: ActiveTrial) -> None:
    """Run the trial's program to its end, relaying its reports.

    Raises:
        Paused: it ended because the sweep is stopping.
        SweeperError: it does not log the objective, or its Trainer is refused.
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
        raise SweeperError(relay.fatal)
    if relay.is_paused or (trial.decision is Decision.PAUSE and code):
        raise Paused
    if code:
        raise ProgramError(code, _output(trial.paths.log, log_size))


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
    """The command line: the program, the overrides, what is the trial's in Hydra."""
    program = shlex.split(spec.target)
    if program[0] in ("python", "python3"):
        program[0] = sys.executable
    absolute = [
        str(Path(spec.project) / word) if spec.chdir and word.endswith(".py") else word
        for word in program
    ]
    own = {
        "hydra.mode": "RUN",  # a config may say MULTIRUN, which is two jobs or more
        "hydra.run.dir": spec.folder,
        "hydra.sweep.dir": str(TrialPaths(Path(spec.folder)).multirun),
        "hydra.job.num": spec.number,
        "hydra.job.id": spec.id,
    }
    own_words = [f"{key}={grammar.to_text(value)}" for key, value in own.items()]
    return [*absolute, *spec.overrides, *own_words]


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
            case {"event": "fatal", "message": str(text)}:
                self.fatal = text
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


def _output(log: Path, start: int) -> str:
    """Return the end of what the program wrote to the log."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(start, size - OUTPUT_BYTES))
        return file.read().decode(errors="replace")

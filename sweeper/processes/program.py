"""A target that is a program: started with the trial's overrides, listened to.

The program's own process takes part through `callbacks.attach`: Lightning finds
sweeper's callbacks there by their entry points, as in a function's process.
"""

import json
import os
import select
import shlex
import socket
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

POLL_SECONDS = 0.5
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
    ours, theirs = socket.socketpair()
    try:
        process = subprocess.Popen(
            words(spec),
            pass_fds=[theirs.fileno()],
            env={**environment(spec), CHANNEL: str(theirs.fileno())},
        )
    except OSError as error:
        raise TargetError(f"target: {spec.target!r}: {error}") from error
    theirs.close()
    with ours:
        relay = _Relay(trial, ours)
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

    def __init__(self, trial: ActiveTrial, connection: socket.socket) -> None:
        self._trial = trial
        self._connection = connection
        self.fatal = ""
        self.is_paused = False

    def serve(self, process: "subprocess.Popen[bytes]") -> None:
        """Until the program ends, whoever else still holds its socket."""
        waiting = b""
        while True:
            readable, _, _ = select.select([self._connection], [], [], POLL_SECONDS)
            if not readable:
                if process.poll() is not None:
                    return
                continue
            data = self._connection.recv(65536)
            if not data:
                return
            *lines, waiting = (waiting + data).split(b"\n")
            for line in lines:
                self._take(json.loads(line))

    def _take(self, message: dict[str, object]) -> None:
        match message:
            case {"event": "report", **arguments}:
                self._answer(arguments)
            case {"event": "trainer"}:
                self._trial.has_trainer = True
            case {"event": "fatal", "message": str(text)}:
                self.fatal = text
            case {"event": "paused"}:
                self.is_paused = True

    def _answer(self, arguments: dict[str, Any]) -> None:
        try:
            answer = {"decision": str(self._trial.report(Measured(**arguments)))}
        except MetricError as error:
            self.fatal = str(error)
            answer = {"error": self.fatal}
        self._connection.sendall((json.dumps(answer) + "\n").encode())


def _output(log: Path, start: int) -> str:
    """Return the end of what the program wrote to the log."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(start, size - OUTPUT_BYTES))
        return file.read().decode(errors="replace")

"""A target that is a program: its start, its reports and its end.

The program's own process takes part through `callbacks.attach`: Lightning finds
sweeper's callbacks there by their entry points, as in a function's process.
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

from sweeper import protocol
from sweeper.system import grammar
from sweeper.system.errors import MetricError, SweeperError, TargetError
from sweeper.system.paths import TrialPaths
from sweeper.trial import endings
from sweeper.trial.active_trial import CHANNEL, FOLDER, ActiveTrial
from sweeper.trial.exact_resume import Paused

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
    # By name, since a launcher, a shell or torchrun closes descriptors.
    with protocol.Server() as server:
        try:
            process = subprocess.Popen(
                words(spec), env={**environment(spec), CHANNEL: server.address}
            )
        except OSError as error:
            raise TargetError(f"target: {spec.target!r}: {error}") from error
        relay = _Relay(trial, server)
        relay.serve(process)
    code = process.wait()
    event = "" if relay.ended is None else relay.ended.event
    if relay.ended is not None and event == "fatal":
        raise SweeperError(relay.ended.message)
    if event == "paused" or (trial.decision is protocol.Decision.PAUSE and code):
        raise Paused
    if code:
        raise ProgramError(code, _output(trial.paths.log, log_size))


def environment(spec: protocol.TrialSpec) -> dict[str, str]:
    """Return the program's environment: the project can be imported."""
    paths = [spec.project, os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        FOLDER: spec.folder,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "HYDRA_FULL_ERROR": "1",
        "OMP_NUM_THREADS": str(spec.threads),
    }


def words(spec: protocol.TrialSpec) -> list[str]:
    """Return the command line: the program, the overrides, the trial's Hydra keys."""
    program = shlex.split(spec.target)
    if program[0] in ("python", "python3"):
        program[0] = sys.executable
    absolute = [
        str(Path(spec.project) / word) if spec.chdir and word.endswith(".py") else word
        for word in program
    ]
    hydra = {
        "hydra.mode": "RUN",  # a config may say MULTIRUN, which is two jobs or more
        "hydra.run.dir": spec.folder,
        "hydra.sweep.dir": str(TrialPaths(Path(spec.folder)).multirun),
        "hydra.job.num": spec.number,
        "hydra.job.id": spec.id,
    }
    keys = [f"{key}={grammar.to_text(value)}" for key, value in hydra.items()]
    return [*absolute, *spec.overrides, *keys]


class _Relay:
    """Takes the program's messages to the trial and brings the answers back."""

    def __init__(self, trial: ActiveTrial, server: protocol.Server) -> None:
        self._trial = trial
        self._server = server
        self.ended: protocol.Ended | None = None

    def serve(self, process: "subprocess.Popen[bytes]") -> None:
        """Serve until the program ends and everything that it has sent is taken."""
        exited = os.pidfd_open(process.pid)
        try:
            while True:
                messages, others = self._server.wait(exited)
                for peer, message in messages:
                    self._take(peer, message)
                if others:
                    return
        finally:
            os.close(exited)

    def _take(self, peer: protocol.Peer, message: protocol.Message | None) -> None:
        match message:
            case protocol.Report():
                try:
                    answer = protocol.Answer(decision=self._trial.report(message))
                except MetricError as error:
                    answer = protocol.Answer(error=str(error))
                    self.ended = protocol.Ended(event="fatal", message=str(error))
                peer.answer(answer)
            case protocol.UsesTrainer():
                self._trial.has_trainer = True
            case protocol.Ended():
                self.ended = message


def _output(log: Path, start: int) -> str:
    """Return the end of what the program wrote to the log."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(start, size - OUTPUT_BYTES))
        return file.read().decode(errors="replace")

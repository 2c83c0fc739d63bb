"""How a program that a trial started finds its trial: by the environment.

Its reports go to the trial's process over a socket that is found by its name. Processes
that it forks may report, too; what it starts in turn does not take part.
"""

import atexit
import json
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

import torch
import yaml

from sweeper.callbacks import CHANNEL, FOLDER, ActiveTrial, is_other_rank, wandb
from sweeper.callbacks.checkpoint import Paused
from sweeper.errors import MetricError, SweeperError, TargetError
from sweeper.host.paths import TrialPaths
from sweeper.reports import Measured
from sweeper.trial import Decision, TrialSpec


class Link:
    """The program's end of the socket: one JSON object a line.

    A process that the program forks has a connection of its own: two processes that
    read from one would take each other's answers.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._connect()

    def _connect(self) -> None:
        """Connect this process to the trial's.

        Raises:
            TargetError: it does not answer, so that reports would be lost.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(f"\0{self._name}")
        except OSError as error:
            connection.close()
            raise TargetError(
                f"{CHANNEL}: the trial of {os.environ[FOLDER]} does not answer "
                f"({error}); a program must report from the machine, the user and the "
                "network namespace of its trial, and before the trial has ended; "
                f"unset {CHANNEL} for what must not take part"
            ) from error
        self._connection, self._pid = connection, os.getpid()

    def tell(self, **message: object) -> None:
        """Send a message that has no answer."""
        if os.getpid() != self._pid:
            self._connect()
        self._connection.sendall((json.dumps(message) + "\n").encode())

    def _receive(self) -> bytes:
        line = b""
        while not line.endswith(b"\n") and (part := self._connection.recv(65536)):
            line += part
        return line

    def report(self, measured: Measured) -> Decision:
        """Report an epoch.

        Raises:
            MetricError: the objective is not among the metrics.
        """
        self.tell(event="report", **asdict(measured))
        answer: Mapping[str, str] = json.loads(self._receive())
        if "error" in answer:
            raise MetricError(answer["error"])
        return Decision(answer["decision"])


class ProgramTrial(ActiveTrial):
    """The trial, in its program's process."""

    link: Link

    def report(self, measured: Measured) -> Decision:
        """Report one epoch; what is to be done next."""
        self.log(measured)
        self.decision = self.link.report(measured)
        return self.decision

    def reject(self, error: SweeperError) -> None:
        """Tell the trial's process first, since here the error ends a program."""
        self.link.tell(event="fatal", message=str(error))
        super().reject(error)

    def use_trainer(self) -> None:
        """Say that a Lightning Trainer takes care of pauses."""
        super().use_trainer()
        self.link.tell(event="trainer")


def from_environment() -> ActiveTrial | None:
    """The trial whose program this process is; None where it is none.

    Of several processes that a launcher starts, only the first one takes part.
    """
    name = os.environ.pop(CHANNEL)
    if is_other_rank(os.environ):
        return None
    link = Link(name)
    paths = TrialPaths(Path(os.environ[FOLDER]))
    spec = TrialSpec.from_json(paths.spec.read_text(encoding="utf-8"))
    trial = ProgramTrial(spec=spec)
    trial.link = link
    if not torch.cuda.is_available():
        torch.set_num_threads(spec.threads)
    elif spec.memory_fraction < 1:
        torch.cuda.set_per_process_memory_fraction(spec.memory_fraction)
    trial.run = wandb.start(spec)
    if trial.run is not None:
        config = yaml.safe_load(paths.config.read_text(encoding="utf-8"))
        trial.run.describe(wandb.description(spec, config))
        atexit.register(trial.run.leave)
    _be_quiet_on_pause(trial.link)
    return trial


def _be_quiet_on_pause(link: Link) -> None:
    """A pause ends the program as an exception does, but it is none."""
    before = sys.excepthook

    def hook(
        kind: type[BaseException],
        error: BaseException,
        traceback: TracebackType | None,
    ) -> None:
        if issubclass(kind, Paused):
            link.tell(event="paused")
        else:
            before(kind, error, traceback)

    sys.excepthook = hook

"""How a program that a trial started finds its trial: by the environment.

Its reports go to the trial's process over a socket that it inherits. What the program
starts in turn does not take part.
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

from sweeper.callbacks import CHANNEL, FOLDER, ActiveTrial, wandb
from sweeper.callbacks.checkpoint import Paused
from sweeper.errors import MetricError, SweeperError
from sweeper.host.paths import TrialPaths
from sweeper.reports import Measured
from sweeper.trial import Decision, TrialSpec


class Link:
    """The program's end of the socket: one JSON object a line."""

    def __init__(self, connection: socket.socket) -> None:
        self._lines = connection.makefile("rw", encoding="utf-8")

    def tell(self, **message: object) -> None:
        """Send a message that has no answer."""
        self._lines.write(json.dumps(message) + "\n")
        self._lines.flush()

    def report(self, measured: Measured) -> Decision:
        """Report an epoch.

        Raises:
            MetricError: the objective is not among the metrics.
        """
        self.tell(event="report", **asdict(measured))
        answer: Mapping[str, str] = json.loads(self._lines.readline())
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
    """The trial whose program this process is; None where it is none."""
    number = os.environ.pop(CHANNEL)
    try:
        connection = socket.socket(fileno=os.dup(int(number)))
    except OSError:
        return None  # the variable came here, the socket did not
    paths = TrialPaths(Path(os.environ[FOLDER]))
    spec = TrialSpec.from_json(paths.spec.read_text(encoding="utf-8"))
    trial = ProgramTrial(spec=spec)
    trial.link = Link(connection)
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

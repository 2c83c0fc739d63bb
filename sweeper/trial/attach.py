"""The trial in the process of a program that it has started.

The environment says where its server is. Processes that the program forks may report,
too; programs that it starts in turn do not take part.
"""

import atexit
import os
import sys
from pathlib import Path
from types import TracebackType

from sweeper import protocol
from sweeper.system.errors import SweeperError, TargetError
from sweeper.system.paths import TrialPaths
from sweeper.trial import wandb_run
from sweeper.trial.active_trial import CHANNEL, FOLDER, ActiveTrial, is_other_rank
from sweeper.trial.exact_resume import Paused
from sweeper.trial.libraries import torch, yaml


class ProgramTrial(ActiveTrial):
    """The trial, in its program's process."""

    client: protocol.Client

    def report(self, report: protocol.Report) -> protocol.Decision:
        self.log(report)
        return self.decide(self.client.ask(report))

    def reject(self, error: SweeperError) -> None:
        # The trial's process must know first: here the error ends a program.
        self.client.tell(protocol.Ended(event="fatal", message=str(error)))
        super().reject(error)

    def use_trainer(self) -> None:
        super().use_trainer()
        self.client.tell(protocol.UsesTrainer())


def from_environment() -> ActiveTrial | None:
    """Return the trial whose program this process is; None if it is not one.

    Of several processes that a launcher starts, only the first one takes part.
    """
    address = os.environ.pop(CHANNEL)
    if is_other_rank(os.environ):
        return None
    try:
        client = protocol.Client(address)
    except OSError as error:
        raise TargetError(
            f"{CHANNEL}: the trial of {os.environ[FOLDER]} does not answer "
            f"({error}); a program must report from the machine, the user and the "
            "network namespace of its trial, and before the trial has ended; "
            f"unset {CHANNEL} for what must not take part"
        ) from error
    paths = TrialPaths(Path(os.environ[FOLDER]))
    spec = protocol.TrialSpec.from_json(paths.spec.read_text(encoding="utf-8"))
    trial = ProgramTrial(spec=spec)
    trial.client = client
    if not torch.cuda.is_available():
        torch.set_num_threads(spec.threads)
    elif spec.memory_fraction < 1:
        torch.cuda.set_per_process_memory_fraction(spec.memory_fraction)
    trial.run = wandb_run.start(spec)
    if trial.run is not None:
        config = yaml.safe_load(paths.config.read_text(encoding="utf-8"))
        trial.run.describe(wandb_run.description(spec, config))
        atexit.register(trial.run.leave)
    _be_quiet_on_pause(client)
    return trial


def _be_quiet_on_pause(client: protocol.Client) -> None:
    """Report a pause, which ends the program as an exception, without a traceback."""
    before = sys.excepthook

    def hook(
        kind: type[BaseException],
        error: BaseException,
        traceback: TracebackType | None,
    ) -> None:
        if issubclass(kind, Paused):
            client.tell(protocol.Ended(event="paused"))
        else:
            before(kind, error, traceback)

    sys.excepthook = hook

"""What the crash test cuts, and how: sweeps, and things done to a running one."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.e2e import failpoints
from tests.e2e.harness import LOOP, Driver

LOOP_FILE = """
target: loop:train
config: conf/loop.yaml
project: {project}
overrides: [epochs=4, sleep=0.15]
search_space: {space}
objective: {{metric: acc, mode: max}}
resources: {{gpus: 0}}
retry: {{lost: 50}}
wandb: none
{more}
"""
DIGITS_FILE = """
project: {project}
config: conf/train.yaml
overrides: [model=small_cnn, data=digits, trainer=cpu, trainer.max_epochs=3]
search_space: {{model.learning_rate: [1e-3, 3e-3], data.batch_size: [64, 128]}}
objective: {{metric: val/acc_top1, mode: max}}
resources: {{gpus: 0}}
retry: {{lost: 50}}
wandb: offline
"""
INTERVAL = "{rate: 'interval(0.1, 0.9)'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A sweep to cut.

    Attributes:
        arguments: of `run`, beside the file.
        trials: how many it has, of `epochs` epochs each.
    """

    name: str
    text: str
    trials: int
    epochs: int
    arguments: tuple[str, ...] = ()


def _loop(name: str, more: str, *, space: str, arguments: tuple[str, ...]) -> Kind:
    text = LOOP_FILE.format(project=LOOP, more=more, space=space)
    return Kind(name=name, text=text, trials=5, epochs=4, arguments=arguments)


DIGITS = Kind(
    name="digits",
    text=DIGITS_FILE.format(project=LOOP.parents[2]),
    trials=4,
    epochs=3,
)
KINDS = (
    _loop("grid", "", space="{rate: [0.1, 0.2, 0.3, 0.4, 0.5]}", arguments=()),
    _loop(
        "random", "search: random\nbudget: {trials: 5}", space=INTERVAL, arguments=()
    ),
    _loop(
        "tpe",
        "search: tpe\nbudget: {trials: 5}",
        space=INTERVAL,
        arguments=("--num-cpus", "1"),
    ),
    DIGITS,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Something done to a running sweep at a moment that is not chosen.

    Attributes:
        victims: whom it meets, first of all; without one it waits for one.
        signals: sent one after another.
        codes: exit codes of a driver that was met.
    """

    victims: Callable[[Driver], list[int]]
    signals: tuple[signal.Signals, ...] = (signal.SIGKILL,)
    codes: tuple[int, ...] = (0,)

    def is_met(self, running: Driver) -> bool:
        """Do it as soon as a victim is there; whether one was."""
        while running.process.poll() is None:
            if pids := self.victims(running):
                return self._send(pids)
            time.sleep(0.01)
        return False

    def _send(self, pids: Sequence[int]) -> bool:
        for index, number in enumerate(self.signals):
            time.sleep(0.3 if index else 0)
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        return True


def _driver(running: Driver) -> list[int]:
    return [running.process.pid]


def _first(found: Callable[[Driver], list[int]]) -> Callable[[Driver], list[int]]:
    return lambda running: found(running)[:1]


KILLED, INTERRUPTED, LOST_RAY = -signal.SIGKILL, 130, 7
CUTS: Mapping[str, Cut] = {
    "SIGKILL of the driver": Cut(victims=_driver, codes=(KILLED,)),
    "SIGKILL of a trial": Cut(victims=_first(Driver.trial_processes)),
    "SIGKILL of a Ray worker": Cut(victims=_first(Driver.slots)),
    "SIGKILL of the template": Cut(victims=_first(Driver.templates)),
    "SIGKILL of the journal": Cut(victims=_first(Driver.journals), codes=(LOST_RAY,)),
    "SIGKILL of the raylet": Cut(victims=_first(Driver.raylets), codes=(LOST_RAY,)),
    "SIGKILL of everything": Cut(victims=Driver.everything, codes=(KILLED,)),
    # Before its handlers are set, and while Python starts, a signal ends it at once.
    "SIGINT": Cut(
        victims=_driver,
        signals=(signal.SIGINT,),
        codes=(INTERRUPTED, -signal.SIGINT),
    ),
    "SIGINT twice": Cut(
        victims=_driver,
        signals=(signal.SIGINT, signal.SIGINT),
        codes=(INTERRUPTED, -signal.SIGINT),
    ),
    "SIGTERM": Cut(
        victims=_driver,
        signals=(signal.SIGTERM,),
        codes=(INTERRUPTED, -signal.SIGTERM),
    ),
}
GOES_ON = [name for name, cut in CUTS.items() if cut.codes == (0,)]
POINTS = {f"failpoint: {point}": point for point in failpoints.POINTS}
ACTIONS = (*CUTS, *POINTS)

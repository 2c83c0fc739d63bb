"""Why a sweep starts nothing more: asked to, out of budget, or failing.

The first reason stands, for the life of one driver; it decides nothing about a trial.
"""

from collections.abc import Callable

from sweeper.experiment.experiment import Experiment
from sweeper.journal import failures
from sweeper.journal.budget import Meter
from sweeper.journal.record import Failure
from sweeper.journal.stop import Stop, StopReason
from sweeper.journal.study import TrialStore
from sweeper.system.errors import SweeperError


class Halt:
    """Watches what ends a sweep before its last trial.

    Args:
        experiment: its budget is absolute over all starts.
        store: keeps the hours of earlier starts.
        clock: seconds; only differences count.
    """

    def __init__(
        self, experiment: Experiment, store: TrialStore, *, clock: Callable[[], float]
    ) -> None:
        self.stop = Stop()
        self._experiment = experiment
        self._store = store
        self._changed = store.follow()
        self._clock = clock
        self._started = clock()
        self._wall_before = store.attribute("wall_seconds", 0.0)
        self._failed: list[tuple[str, Failure]] = []  # in a row, in this start
        self.has_succeeded = False  # some trial of this start
        limits = experiment.budget.model_dump(exclude={"trials"}, exclude_none=True)
        self._has_limits = bool(limits)  # but for that on trials
        self._meter = Meter(
            experiment.budget, objective=experiment.objective, price=experiment.price
        )

    @property
    def is_on(self) -> bool:
        """Whether nothing more starts."""
        return self.stop.reason is not StopReason.NONE

    def set(self, reason: StopReason, message: str = "") -> None:
        """Start nothing more; an error of every trial replaces any other reason."""
        if not self.is_on or reason is StopReason.ERROR:
            self.stop = Stop(reason=reason, message=message)

    def succeeded(self) -> None:
        """A trial ended with a result."""
        self._failed.clear()
        self.has_succeeded = True

    def failed(self, identity: str, failure: Failure) -> None:
        """A trial failed for good: where it is one of many alike, the next would be."""
        self._failed.append((identity, failure))
        ids = failures.repeated(self._failed)
        if ids:
            message = failures.message(ids, failure, sweep=self._experiment.name)
            self.set(StopReason.FAILING, message)

    def watch_budget(self) -> None:
        """Stop at a limit; that on trials ends a sweep as planned."""
        if not self._has_limits:
            return
        wall_seconds = self._wall_before + self._clock() - self._started
        self._store.set_attribute("wall_seconds", wall_seconds)
        self._meter.look(self._changed())
        message = self._meter.reached(wall_seconds=wall_seconds)
        if message:
            self.set(StopReason.BUDGET, message)


def located(experiment: Experiment, message: str) -> SweeperError:
    """An error of a trial at the line of the experiment file that it is about."""
    key = message.partition(":")[0]
    location = tuple(key.split("."))
    if location in experiment.lines:
        return experiment.error(location, message)
    return SweeperError(message)

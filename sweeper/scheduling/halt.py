"""Why a sweep starts nothing more: asked to, out of budget, or failing.

The first reason stands, for the life of one driver; it decides nothing about a trial.
"""

from collections.abc import Callable, Sequence

from optuna.study import Study
from optuna.trial import FrozenTrial

from sweeper.definition.experiment import Experiment
from sweeper.errors import SweeperError
from sweeper.scheduling import budget, failures
from sweeper.stop import Stop, StopReason
from sweeper.trial import Failure


class Halt:
    """Watches what ends a sweep before its last trial.

    Args:
        experiment: its budget is absolute over all starts.
        study: keeps the hours of earlier starts.
        clock: seconds; only differences count.
    """

    def __init__(
        self, experiment: Experiment, study: Study, *, clock: Callable[[], float]
    ) -> None:
        self.stop = Stop()
        self._experiment = experiment
        self._study = study
        self._clock = clock
        self._started = clock()
        self._wall_before = study.user_attrs.get("wall_seconds", 0.0)
        self._failed: list[tuple[str, Failure]] = []  # in a row, in this start

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

    def failed(self, identity: str, failure: Failure) -> None:
        """A trial failed for good: where it is one of many alike, the next would be."""
        self._failed.append((identity, failure))
        ids = failures.repeated(self._failed)
        if ids:
            message = failures.message(ids, failure, sweep=self._experiment.name)
            self.set(StopReason.FAILING, message)

    def watch_budget(self, rows: Callable[[], Sequence[FrozenTrial]]) -> None:
        """Stop at a limit; that on trials ends a sweep as planned."""
        experiment = self._experiment
        limits = experiment.budget
        if not limits.model_dump(exclude={"trials"}, exclude_none=True):
            return
        wall_seconds = self._wall_before + self._clock() - self._started
        self._study.set_user_attr("wall_seconds", wall_seconds)
        message = budget.reached(
            limits,
            rows(),
            objective=experiment.objective,
            price=experiment.price,
            wall_seconds=wall_seconds,
        )
        if message:
            self.set(StopReason.BUDGET, message)


def located(experiment: Experiment, message: str) -> SweeperError:
    """An error of a trial at the line of the experiment file that it is about."""
    key = message.partition(":")[0]
    location = tuple(key.split("."))
    if location in experiment.lines:
        return experiment.error(location, message)
    return SweeperError(message)

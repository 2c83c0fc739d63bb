"""Budget limits of a sweep, and the conditions that stop it early.

The queue applies the limit on the number of trials, since it ends a sweep as planned.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from sweeper.experiment.definition import Budget, Experiment, Objective, cost
from sweeper.journal.record import Failure, State, Stop, StopReason, TrialRecord
from sweeper.journal.study import TrialStore
from sweeper.system.errors import SweeperError

UNITS = {"wall_hours": 3600.0, "gpu_hours": 3600.0, "cost": 1.0}
ALIKE = 3  # so many failures in a row with one cause stop a sweep


class Meter:
    """The used part of a sweep's budget, over all starts.

    An update visits changed records only.

    Args:
        price: of one card-hour by type of card; cards without a price cost nothing.
    """

    def __init__(
        self, budget: Budget, *, objective: Objective, price: Mapping[str, float]
    ) -> None:
        self._budget = budget
        self._objective = objective
        self._price = price
        self._used: dict[str, dict[int, float]] = {name: {} for name in UNITS}
        self._hits: dict[
            int, float
        ] = {}  # first value of each trial that reaches the target
        self._ended: dict[int, tuple[datetime, int, float]] = {}  # end, number, loss
        self._since_best: int | None = None  # None after a change of `_ended`

    def update(self, records: Mapping[int, TrialRecord]) -> None:
        """Count new and changed records.

        Args:
            records: by the fixed index of their trial.
        """
        target, loss = self._budget.target, self._objective.loss
        for index, record in records.items():
            seconds = record.card_seconds
            priced = {card: s for card, s in seconds.items() if card in self._price}
            self._used["gpu_hours"][index] = sum(seconds.values())
            self._used["cost"][index] = cost(self._price, priced)
            is_over = record.state in (State.COMPLETE, State.PRUNED)
            if is_over and record.ended_at is not None and record.result:
                end = (record.ended_at, record.number, loss(record.result[0]))
                self._ended[index] = end
                self._since_best = None
            elif self._ended.pop(index, None) is not None:
                self._since_best = None
            if target is not None:
                values = record.values.values()
                hit = next((v for v in values if loss(v) <= loss(target)), None)
                self._hits.pop(index, None)
                if hit is not None:
                    self._hits[index] = hit

    @property
    def since_best(self) -> int:
        """Number of trials that ended with a result after the best one."""
        if self._since_best is None:
            losses = [loss for *_, loss in sorted(self._ended.values())]
            best = losses.index(min(losses)) if losses else -1
            self._since_best = len(losses) - 1 - best
        return self._since_best

    def reached(self, *, wall_seconds: float) -> str:
        """Return a message for the first reached limit; "" if there is none.

        Args:
            wall_seconds: running time of drivers over all starts.
        """
        budget = self._budget
        self._used["wall_hours"][0] = wall_seconds
        for name, amounts in self._used.items():
            limit = getattr(budget, name)
            if limit is None:
                continue
            used = math.fsum(amounts.values()) / UNITS[name]
            if used >= limit:
                return f"budget.{name}: {used:.3g} of {limit:g} used"
        if self._hits:
            value = self._hits[min(self._hits)]
            return f"budget.target: {value:.6g} of {budget.target:g} reached"
        if budget.patience is not None and self.since_best >= budget.patience:
            return f"budget.patience: {self.since_best} trials without a better one"
        return ""


class StopConditions:
    """Conditions that end a sweep before its last trial; the first one counts.

    Args:
        experiment: its budget holds over all starts together.
        store: has the wall time of earlier starts.
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
        self._has_limits = bool(limits)
        self._meter = Meter(
            experiment.budget, objective=experiment.objective, price=experiment.price
        )

    @property
    def is_met(self) -> bool:
        """Whether the sweep starts no more trials."""
        return self.stop.reason is not StopReason.NONE

    def set(self, reason: StopReason, message: str = "") -> None:
        """Stop starting trials; only the reason ERROR replaces an earlier one."""
        if not self.is_met or reason is StopReason.ERROR:
            self.stop = Stop(reason=reason, message=message)

    def succeeded(self) -> None:
        """Count a trial that ended with a result."""
        self._failed.clear()
        self.has_succeeded = True

    def failed(self, identity: str, failure: Failure) -> None:
        """Count a trial without a retry left; stop after `ALIKE` with one cause."""
        self._failed.append((identity, failure))
        ids = alike(self._failed)
        if ids:
            message = alike_message(ids, failure, sweep=self._experiment.name)
            self.set(StopReason.FAILING, message)

    def watch_budget(self) -> None:
        """Stop at a limit of the budget."""
        if not self._has_limits:
            return
        wall_seconds = self._wall_before + self._clock() - self._started
        self._store.set_attribute("wall_seconds", wall_seconds)
        self._meter.update(self._changed())
        message = self._meter.reached(wall_seconds=wall_seconds)
        if message:
            self.set(StopReason.BUDGET, message)


def alike(failed: Sequence[tuple[str, Failure]]) -> tuple[str, ...]:
    """Return the ids of the newest `ALIKE` trials if one cause failed all, else ().

    Args:
        failed: ids and last failures of trials that failed in a row.
    """
    newest = failed[-ALIKE:]
    tracebacks = {(failure.kind, failure.traceback) for _, failure in newest}
    is_one = len(tracebacks) == 1 and bool(newest[0][1].traceback)
    return tuple(name for name, _ in newest) if len(newest) == ALIKE and is_one else ()


def alike_message(ids: Sequence[str], failure: Failure, *, sweep: str) -> str:
    """Return the message for trials that failed with one cause.

    >>> from sweeper.protocol import FailureKind
    >>> boom = Failure(kind=FailureKind.ERROR, message="ValueError: x", traceback="1")
    >>> alike_message(["a1", "b2", "c3"], boom, sweep="lr")
    '3 trials in a row failed alike (a1, b2, c3): ValueError: x; `sweeper logs lr c3` \
has the traceback; fix it, then `sweeper retry lr` puts them back'
    """
    return (
        f"{len(ids)} trials in a row failed alike ({', '.join(ids)}): "
        f"{failure.message}; `sweeper logs {sweep} {ids[-1]}` has the traceback; "
        f"fix it, then `sweeper retry {sweep}` puts them back"
    )


def located(experiment: Experiment, message: str) -> SweeperError:
    """Return a trial's error, at the line of the experiment file if it names a key."""
    key = message.partition(":")[0]
    location = tuple(key.split("."))
    if location in experiment.lines:
        return experiment.error(location, message)
    return SweeperError(message)

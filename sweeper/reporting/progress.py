"""Progress of a sweep and of its trials, the time that is left, and events; pure."""

import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sweeper.experiment.defaults import EPOCHS
from sweeper.experiment.definition import cost, epochs
from sweeper.journal.record import State, Sweep, TrialRecord
from sweeper.system import lineage


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Progress of a sweep.

    Attributes:
        done: trials that have ended.
        total: trials of the whole sweep, 0 if unknown.
        eta_seconds: until the last trial ends, None if unknown.
        gpu_hours: share of a GPU times hours, over all trials.
        cost: of these hours at the file's prices; NaN where a card has no price.
    """

    done: int
    total: int
    eta_seconds: float | None
    gpu_hours: float
    cost: float


def progress(sweep: Sweep, *, total: int = 0) -> Progress:
    """Return the progress of the sweep.

    The rest is taken to last as long a trial as the median of those that have ended,
    on as many slots as run now.

    Args:
        total: trials of the whole sweep; 0 to take the budget's.
    """
    total = total or sweep.experiment.budget.trials or 0
    ended = [t for t in sweep.trials if t.state.is_final]
    running = [t for t in sweep.trials if t.state is State.RUNNING]
    eta = None
    if ended and total and running:
        typical = statistics.median(t.busy_seconds for t in ended)
        left = sum(max(0.0, typical - t.busy_seconds) for t in running)
        left += typical * max(0, total - len(ended) - len(running))
        eta = left / len(running)
    return Progress(
        done=len(ended),
        total=total,
        eta_seconds=eta,
        gpu_hours=sum(sum(t.card_seconds.values()) for t in sweep.trials) / 3600,
        cost=sum(cost(sweep.experiment.price, t.card_seconds) for t in sweep.trials),
    )


def used(sweep: Sweep, now: Progress) -> list[str]:
    """Return the GPU hours and the cost so far, with their limits."""
    budget = sweep.experiment.budget
    parts = []
    for name, amount, limit in (
        ("GPU hours", now.gpu_hours, budget.gpu_hours),
        ("cost", now.cost, budget.cost),
    ):
        of = f" of {limit:.4g}" if limit else ""
        if math.isnan(amount):  # said only if the file asks for it
            parts += [f"unknown{of} {name}"] if sweep.experiment.price or limit else []
        else:
            parts += [f"{amount:.3g}{of} {name}"] if amount or limit else []
    return parts


def last_epoch(sweep: Sweep) -> int:
    """Return the epoch that a trial ends with; 0 if unknown.

    That of the longest complete trial, else what the overrides of all trials say.
    """
    complete = [t for t in sweep.trials if t.state is State.COMPLETE]
    seen = max((e for t in complete for e in t.values), default=0)
    by_name = {key.rpartition(".")[2]: n for key, n in epochs(sweep.experiment).items()}
    return seen or next((by_name[name] for name in EPOCHS if name in by_name), 0)


def share(trial: TrialRecord, *, of: int) -> float:
    """Return the reported share of a trial's epochs; 0 if their number is unknown."""
    return min(1.0, max(trial.values, default=0) / of) if of else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened to a trial.

    Attributes:
        kind: "start", "epoch", "failure" or the trial's new state.
        trial: its id.
        text: what happened, for people.
        data: the same as JSON values, for programs.
    """

    kind: str
    trial: str
    text: str
    data: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.trial} {self.text}"


def events(before: Sweep | None, after: Sweep) -> tuple[Event, ...]:
    """All that `after` has and `before` had not, in order of trials.

    Args:
        before: an earlier snapshot; None: everything up to `after` is old news.
    """
    if before is None:
        return ()
    old = {trial.id: trial for trial in before.trials}
    metric = after.experiment.objective.metric
    return tuple(
        event
        for trial in after.trials
        if trial is not old.get(trial.id)
        for event in _of_trial(old.get(trial.id), trial, metric=metric)
    )


def _of_trial(
    before: TrialRecord | None, trial: TrialRecord, *, metric: str
) -> Iterator[Event]:
    def event(kind: str, text: str, **data: object) -> Event:
        return Event(kind=kind, trial=trial.id, text=text, data=data)

    starts = before.starts if before else 0
    if trial.starts > starts:
        again = f" (start {trial.starts})" if trial.starts > 1 else ""
        parent = lineage.parent(trial.lineage)
        again = again or (f" (from {parent})" if parent else "")
        params = dict(trial.params)
        yield event(
            "start",
            f"running{again}",
            start=trial.starts,
            params=params,
            seed=trial.seed,
        )
    for epoch, value in trial.values.items():
        is_nan = math.isnan(value)
        known = before.values.get(epoch) if before else None
        if known != value and not (is_nan and known is not None and math.isnan(known)):
            text = f"epoch {epoch} {metric} {value:.4g}"
            number = value if math.isfinite(value) else None
            yield event("epoch", text, epoch=epoch, metric=metric, value=number)
    failures = len(before.failures) if before else 0
    for failure in trial.failures[failures:]:
        text = f"{failure.kind}: {failure.message}"
        kind, message = str(failure.kind), failure.message
        yield event("failure", text, failure=kind, message=message)
    state = before.state if before else State.WAITING
    is_news = trial.state is not State.RUNNING and trial.state is not state
    if is_news:
        again = " (goes on later)" if trial.state is State.WAITING else ""
        yield event(str(trial.state), f"{trial.state}{again}")

"""What happened between two snapshots of a sweep; pure."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sweeper.journal.record import State, Sweep, TrialRecord
from sweeper.system import lineage


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

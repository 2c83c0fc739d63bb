"""What happened between two snapshots of a sweep, one line an event; pure."""

from collections.abc import Iterator

from sweeper.trial import State, Sweep, Trial


def events(before: Sweep | None, after: Sweep) -> tuple[str, ...]:
    """Lines for all that `after` has and `before` had not, in order of trials.

    Args:
        before: an earlier snapshot; None: everything up to `after` is old news.
    """
    if before is None:
        return ()
    old = {trial.id: trial for trial in before.trials}
    metric = after.experiment.objective.metric
    return tuple(
        f"{trial.id} {text}"
        for trial in after.trials
        if trial is not old.get(trial.id)
        for text in _of_trial(old.get(trial.id), trial, metric=metric)
    )


def _of_trial(before: Trial | None, trial: Trial, *, metric: str) -> Iterator[str]:
    starts = before.starts if before else 0
    if trial.starts > starts:
        again = f" (start {trial.starts})" if trial.starts > 1 else ""
        yield f"running{again}"
    for epoch, value in trial.values.items():
        if before is None or before.values.get(epoch) != value:
            yield f"epoch {epoch} {metric} {value:.4g}"
    failures = len(before.failures) if before else 0
    for failure in trial.failures[failures:]:
        yield f"{failure.kind}: {failure.message}"
    state = before.state if before else State.WAITING
    is_news = trial.state is not State.RUNNING and trial.state is not state
    if is_news:
        again = " (goes on later)" if trial.state is State.WAITING else ""
        yield f"{trial.state}{again}"

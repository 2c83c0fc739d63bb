"""The value that a target returns, for a trial that reports nothing else.

It is the convention of Hydra's sweepers: a number, or one for each objective.
"""

from collections.abc import Mapping, Sequence
from typing import SupportsFloat

from sweeper.callbacks import ActiveTrial
from sweeper.errors import MetricError
from sweeper.protocol import Decision, Report


def report(trial: ActiveTrial, value: object) -> None:
    """Report what the target returned as the value of its last epoch.

    Args:
        value: a number, a 0-dimensional tensor or array, a list of them in the order
            of the objectives, or a mapping with their names.

    Raises:
        MetricError: it is none of these, or an objective is missing.
    """
    names = (trial.spec.metric, *trial.spec.more_metrics)
    if isinstance(value, Mapping):
        metrics = {n: _number(value[n], value) for n in names if n in value}
    else:
        if getattr(value, "ndim", 0) == 1:  # an array or a tensor of several values
            value = value.tolist()  # type: ignore[attr-defined]  # as it has `ndim`
        is_list = isinstance(value, Sequence) and not isinstance(value, str)
        values = list(value) if is_list else [value]  # type: ignore[call-overload]
        if len(values) != len(names):
            raise MetricError(
                f"objective: the target returned {len(values)} values; it must return "
                f"one for each objective: {', '.join(names)}"
            )
        metrics = {n: _number(v, value) for n, v in zip(names, values, strict=True)}
    trial.report(Report(epoch=max(1, trial.progress.epochs), metrics=metrics))
    trial.decision = Decision.CONTINUE  # there is nothing left to stop


def _number(item: object, value: object) -> float:
    if isinstance(item, SupportsFloat) and not isinstance(item, str):
        try:
            return float(item)
        except (TypeError, ValueError, RuntimeError) as error:
            raise _unusable(value) from error  # such as a tensor of several values
    raise _unusable(value)


def _unusable(value: object) -> MetricError:
    return MetricError(
        f"objective: the target reported nothing and returned {value!r:.80}; it must "
        "return a number, or one for each objective, or report with sweeper.report"
    )

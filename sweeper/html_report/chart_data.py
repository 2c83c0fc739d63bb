"""The numbers behind the charts, as plain data that the page's script draws; pure."""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

from sweeper.statistics.insight import importance
from sweeper.statistics.leaderboard import labels, varied
from sweeper.statistics.row import Row
from sweeper.text import plain, short, value_cell
from sweeper.trial import State, Sweep, TrialRecord

MAX_POINTS = 60  # of one learning curve; a sweep of many trials stays under 5 MB
LOG_RATIO = 30.0  # positive numbers that span more than this get a logarithmic axis

Data = dict[str, object]


def chart_data(sweep: Sweep, rows: Sequence[Row]) -> Data:
    """Everything that the charts show; row i is the i-th of the leaderboard."""
    shares = importance(rows, sweep.experiment.objective)
    return {
        "metric": plain(sweep.experiment.objective.metric),
        "mode": sweep.experiment.objective.mode,
        "others": [plain(o.metric) for o in sweep.experiment.objectives[1:]],
        "rows": [row_data(row) for row in rows],
        "params": [param_data(rows, *pair) for pair in _named(sweep)],
        "curves": list(curves(rows)),
        "timeline": list(timeline(rows)),
        "importance": [
            {"label": plain(label), "share": shares.get(name)}
            for name, label in _named(sweep)
        ],
    }


def _named(sweep: Sweep) -> list[tuple[str, str]]:
    names = varied(sweep)
    return list(zip(names, labels(names), strict=True))


def row_data(row: Row) -> Data:
    """What the charts need of one row."""
    return {
        "name": row.trials[0].id,
        "rank": row.rank,
        "value": _number(row.mean),
        "cost": round(cost_seconds(row), 3),
        "isBaseline": row.is_baseline,
        **({"others": [_number(s.mean) for s in row.others]} if row.others else {}),
        **({"isFront": True} if row.front == 1 else {}),
    }


def cost_seconds(row: Row) -> float:
    """Seconds in trial processes, over all seeds and starts."""
    return sum(trial.busy_seconds for trial in row.trials)


def param_data(rows: Sequence[Row], name: str, label: str) -> Data:
    """One parameter over all rows: numbers as they are, all else as categories."""
    values = [row.params.get(name) for row in rows]
    numbers = [v for v in values if isinstance(v, int | float) and v is not True]
    is_number = bool(numbers) and all(
        isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)
        for v in values
    )
    data: Data = {"label": plain(label), "isNumber": is_number}
    if is_number:
        data["values"] = values
        data["isLog"] = min(numbers) > 0 and max(numbers) / min(numbers) > LOG_RATIO
    else:
        data["values"] = [value_cell(v) if v is not None else "-" for v in values]
        data["isLog"] = False
    return data


def curves(rows: Sequence[Row]) -> Iterator[Data]:
    """The learning curve of each trial that has one."""
    for index, row in enumerate(rows):
        for trial in row.trials:
            points = thinned([(e, v) for e, v in trial.values.items()])
            if points:
                yield {
                    "row": index,
                    "id": trial.id,
                    "seed": trial.seed,
                    "epochs": [epoch for epoch, _ in points],
                    "values": [_number(float(short(v))) for _, v in points],
                }


def thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most `MAX_POINTS` points, evenly, with the first and the last.

    >>> len(thinned([(i, 0.5) for i in range(1000)])) <= MAX_POINTS
    True
    """
    finite = [(epoch, value) for epoch, value in points if math.isfinite(value)]
    if len(finite) <= MAX_POINTS:
        return finite
    step = (len(finite) - 1) / (MAX_POINTS - 1)
    return [finite[round(i * step)] for i in range(MAX_POINTS)]


def timeline(rows: Sequence[Row]) -> Iterator[Data]:
    """Each attempt of each trial: who ran it, from when to when, how it ended."""
    trials = [(i, trial) for i, row in enumerate(rows) for trial in row.trials]
    slots = lanes(trial for _, trial in trials)
    for index, trial in trials:
        ends = [attempt.busy_before for attempt in trial.attempts[1:]]
        ends += [trial.busy_seconds] * bool(trial.attempts)
        for number, (attempt, end) in enumerate(
            zip(trial.attempts, ends, strict=True), start=1
        ):
            busy = timedelta(seconds=max(0.0, end - attempt.busy_before))
            is_last = number == len(trial.attempts)
            yield {
                "row": index,
                "id": trial.id,
                "lane": slots[attempt.slot],
                "start": attempt.started_at.isoformat(timespec="milliseconds"),
                "end": (attempt.started_at + busy).isoformat(timespec="milliseconds"),
                "attempt": number,
                "end_state": str(trial.state) if is_last else "cut",
            }


def lanes(trials: Iterator[TrialRecord]) -> Mapping[str, int]:
    """A lane for each slot, from 1, in order of their first start."""
    starts = sorted((a.started_at, a.slot) for trial in trials for a in trial.attempts)
    return {
        slot: number
        for number, slot in enumerate(dict.fromkeys(s for _, s in starts), start=1)
    }


def counts(sweep: Sweep) -> list[tuple[State, int]]:
    """How many trials are in each state that has any."""
    return [
        (state, number)
        for state in State
        if (number := sum(trial.state is state for trial in sweep.trials))
    ]


def _number(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None

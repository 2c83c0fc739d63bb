"""A sweep as pandas tables, for notebooks and for files; pure."""

from collections.abc import Sequence

import pandas as pd

from sweeper.statistics.leaderboard import Row, columns, found_all, rank, varied
from sweeper.storage.export import value_cell
from sweeper.trial import Sweep

FIGURES = ("value", "std", "low", "high", "delta", "best_epoch", "seeds", "ids")
ENDS = ("", " std", " low", " high")  # columns of each objective after the first


def leaderboard(sweep: Sweep) -> pd.DataFrame:
    """One line a suggestion, best first; parameters under their full names.

    A parameter with the name of another column is `param.NAME`. A suggestion without a
    value has rank 0 and NaN.
    """
    names = varied(sweep)
    ends = [f"{name}{end}" for name in _others(sweep) for end in ENDS]
    after = [*FIGURES, *ends, *(["front"] if ends else [])]
    shown = columns(names, others=["rank", *after])
    rows = [_row(row, names, is_several=bool(ends)) for row in rank(sweep)]
    return pd.DataFrame(rows, columns=["rank", *shown, *after]).set_index("rank")


def _others(sweep: Sweep) -> list[str]:
    return [objective.metric for objective in sweep.experiment.objectives[1:]]


def _row(row: Row, names: Sequence[str], *, is_several: bool) -> list[object]:
    return [
        row.rank,
        *(row.params.get(name) for name in names),
        *(row.mean, row.std, row.low, row.high, row.delta, row.best_epoch),
        list(row.seeds),
        [trial.id for trial in row.trials],
        *(v for s in row.others for v in (s.mean, s.std, s.low, s.high)),
        *([row.front] if is_several else []),
    ]


def trials(sweep: Sweep) -> pd.DataFrame:
    """One line a trial, by number; parameters as in `leaderboard`."""
    names, others = varied(sweep), _others(sweep)
    before = ("id", "seed", "state", "value", "best_epoch", "epochs", "starts")
    device = ("failures", "busy_seconds", "peak_bytes", "card", "utilisation")
    metrics = columns(others, others=[*before, *device], prefix="metric")
    fixed = ["seed", "state", "value", *metrics, *before[4:], *device]
    shown = columns(names, others=["id", *fixed])
    lines = []
    for trial in sweep.trials:
        result = found_all(trial, sweep.experiment.objectives)
        lines.append(
            [
                trial.id,
                *(trial.params.get(name) for name in names),
                *(trial.seed, str(trial.state)),
                *(result[1] if result else [None] * (1 + len(others))),
                result[0] if result else 0,
                max(trial.values, default=0),
                *(trial.starts, len(trial.failures), trial.busy_seconds),
                *(trial.peak_bytes, trial.card, trial.utilisation),
            ]
        )
    return pd.DataFrame(lines, columns=["id", *shown, *fixed]).set_index("id")


def curves(sweep: Sweep) -> pd.DataFrame:
    """One line a reported epoch of a trial: id, epoch, value, other objectives."""
    others = _others(sweep)
    unknown = (None,) * len(others)
    lines = [
        (t.id, e, v, *t.others.get(e, unknown))
        for t in sweep.trials
        for e, v in t.values.items()
    ]
    fixed = ["id", "epoch", "value"]
    metrics = columns(others, others=fixed, prefix="metric")
    return pd.DataFrame(lines, columns=[*fixed, *metrics])


def storable(frame: pd.DataFrame) -> pd.DataFrame:
    """The table for a file format with one type a column: mixed ones as text."""
    out = frame.reset_index(drop=frame.index.name is None)
    for name in out.columns:
        kinds = {type(v) for v in out[name] if v is not None and v == v}
        if len(kinds) > 1 and not kinds <= {int, float}:
            out[name] = [value_cell(v) for v in out[name]]
    return out

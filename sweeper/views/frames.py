"""A sweep as pandas tables, for notebooks and for files; pure."""

from collections.abc import Mapping, Sequence

import pandas as pd

from sweeper.statistics.leaderboard import Row, found_all, rank, varied
from sweeper.trial import Sweep


def leaderboard(sweep: Sweep) -> pd.DataFrame:
    """One line a suggestion, best first; parameters under their full names.

    A suggestion without a value has rank 0 and NaN.
    """
    names = varied(sweep)
    rows = [_row(row, names, _others(sweep)) for row in rank(sweep)]
    others = _others(sweep)
    ends = [f"{name}{end}" for name in others for end in ENDS]
    is_several = bool(others)
    columns = ["rank", *names, *FIGURES, *ends, *(["front"] if is_several else [])]
    return pd.DataFrame(rows, columns=columns).set_index("rank")


FIGURES = ("value", "std", "low", "high", "delta", "best_epoch", "seeds", "ids")


ENDS = ("", " std", " low", " high")  # columns of each objective after the first


def _others(sweep: Sweep) -> list[str]:
    return [objective.metric for objective in sweep.experiment.objectives[1:]]


def _row(row: Row, names: Sequence[str], others: Sequence[str]) -> Mapping[str, object]:
    figures = (row.mean, row.std, row.low, row.high, row.delta, row.best_epoch)
    seeds, ids = list(row.seeds), [trial.id for trial in row.trials]
    return {
        "rank": row.rank,
        **{name: row.params.get(name) for name in names},
        **dict(zip(FIGURES, (*figures, seeds, ids), strict=True)),
        **{
            f"{name}{end}": value
            for name, s in zip(others, row.others, strict=True)
            for end, value in zip(ENDS, (s.mean, s.std, s.low, s.high), strict=True)
        },
        "front": row.front,
    }


def trials(sweep: Sweep) -> pd.DataFrame:
    """One line a trial, by number; parameters under their full names."""
    names, others = varied(sweep), _others(sweep)
    lines = []
    for trial in sweep.trials:
        result = found_all(trial, sweep.experiment.objectives)
        measured = result[1][1:] if result else [None] * len(others)
        lines.append(
            {
                "id": trial.id,
                **{name: trial.params.get(name) for name in names},
                "seed": trial.seed,
                "state": str(trial.state),
                "value": result[1][0] if result else None,
                **dict(zip(others, measured, strict=True)),
                "best_epoch": result[0] if result else 0,
                "epochs": max(trial.values, default=0),
                "starts": trial.starts,
                "failures": len(trial.failures),
                "busy_seconds": trial.busy_seconds,
                "peak_bytes": trial.peak_bytes,
                "card": trial.card,
                "utilisation": trial.utilisation,
            }
        )
    figures = ("seed", "state", "value", *others, "best_epoch", "epochs", "starts")
    device = ("busy_seconds", "peak_bytes", "card", "utilisation")
    columns = ["id", *names, *figures, "failures", *device]
    return pd.DataFrame(lines, columns=columns).set_index("id")


def curves(sweep: Sweep) -> pd.DataFrame:
    """One line a reported epoch of a trial: id, epoch, value, other objectives."""
    others = _others(sweep)
    unknown = (None,) * len(others)
    lines = [
        (t.id, e, v, *t.others.get(e, unknown))
        for t in sweep.trials
        for e, v in t.values.items()
    ]
    return pd.DataFrame(lines, columns=["id", "epoch", "value", *others])


def storable(frame: pd.DataFrame) -> pd.DataFrame:
    """The table for a file format with one type a column: mixed ones as text."""
    out = frame.reset_index()
    for name in out.columns:
        kinds = {type(v) for v in out[name] if v is not None and v == v}
        if len(kinds) > 1 and not kinds <= {int, float}:
            out[name] = [None if v is None else str(v) for v in out[name]]
    return out

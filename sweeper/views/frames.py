"""A sweep as pandas tables, for notebooks and for files; pure."""

from collections.abc import Mapping, Sequence

import pandas as pd

from sweeper.statistics.leaderboard import Row, found, rank, varied
from sweeper.trial import Sweep


def leaderboard(sweep: Sweep) -> pd.DataFrame:
    """One line a suggestion, best first; parameters under their full names.

    A suggestion without a value has rank 0 and NaN.
    """
    names = varied(sweep)
    rows = [_row(row, names) for row in rank(sweep)]
    columns = ["rank", *names, *FIGURES]
    return pd.DataFrame(rows, columns=columns).set_index("rank")


FIGURES = ("value", "std", "low", "high", "delta", "best_epoch", "seeds", "ids")


def _row(row: Row, names: Sequence[str]) -> Mapping[str, object]:
    figures = (row.mean, row.std, row.low, row.high, row.delta, row.best_epoch)
    seeds, ids = list(row.seeds), [trial.id for trial in row.trials]
    return {
        "rank": row.rank,
        **{name: row.params.get(name) for name in names},
        **dict(zip(FIGURES, (*figures, seeds, ids), strict=True)),
    }


def trials(sweep: Sweep) -> pd.DataFrame:
    """One line a trial, by number; parameters under their full names."""
    names = varied(sweep)
    lines = []
    for trial in sweep.trials:
        result = found(trial, sweep.experiment.objective)
        lines.append(
            {
                "id": trial.id,
                **{name: trial.params.get(name) for name in names},
                "seed": trial.seed,
                "state": str(trial.state),
                "value": result[1] if result else None,
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
    figures = ("seed", "state", "value", "best_epoch", "epochs", "starts")
    device = ("busy_seconds", "peak_bytes", "card", "utilisation")
    columns = ["id", *names, *figures, "failures", *device]
    return pd.DataFrame(lines, columns=columns).set_index("id")


def curves(sweep: Sweep) -> pd.DataFrame:
    """One line a reported epoch of a trial: id, epoch, value."""
    lines = [(t.id, e, v) for t in sweep.trials for e, v in t.values.items()]
    return pd.DataFrame(lines, columns=["id", "epoch", "value"])


def storable(frame: pd.DataFrame) -> pd.DataFrame:
    """The table for a file format with one type a column: mixed ones as text."""
    out = frame.reset_index()
    for name in out.columns:
        kinds = {type(v) for v in out[name] if v is not None and v == v}
        if len(kinds) > 1 and not kinds <= {int, float}:
            out[name] = [None if v is None else str(v) for v in out[name]]
    return out

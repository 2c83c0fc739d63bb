"""A sweep as pandas tables, for notebooks and for files; pure."""

import pandas as pd

from sweeper.journal.record import Sweep
from sweeper.reporting import cells
from sweeper.statistics.leaderboard import columns, rank, trial_results, varied
from sweeper.system.text import value_cell


def leaderboard(sweep: Sweep) -> pd.DataFrame:
    """Return one line a suggestion, best first; parameters under their full names.

    A parameter with the name of another column is `param.NAME`. A suggestion without a
    value has rank 0.
    """
    rows = rank(sweep)
    header, lines = cells.table(sweep, rows)
    frame = pd.DataFrame(lines, columns=header)
    frame["rank"] = [row.rank for row in rows]
    if len(sweep.experiment.objectives) > 1:
        frame["front"] = [row.front for row in rows]
    return frame.set_index("rank")


def trials(sweep: Sweep) -> pd.DataFrame:
    """Return one line a trial, by number; parameters as in `leaderboard`."""
    names, others = varied(sweep), _others(sweep)
    before = ("id", "seed", "state", "value", "best_epoch", "epochs", "starts")
    device = ("failures", "busy_seconds", "peak_bytes", "card", "utilisation")
    metrics = columns(others, others=[*before, *device], prefix="metric")
    results = ["seed", "state", "value", *metrics, *before[4:], *device]
    shown = columns(names, others=["id", *results])
    lines = []
    for trial in sweep.trials:
        best = trial_results(trial, sweep.experiment.objectives)
        lines.append(
            [
                trial.id,
                *(trial.params.get(name) for name in names),
                *(trial.seed, str(trial.state)),
                *(best[1] if best else [None] * (1 + len(others))),
                best[0] if best else 0,
                max(trial.values, default=0),
                *(trial.starts, len(trial.failures), trial.busy_seconds),
                *(trial.peak_bytes, trial.card, trial.utilisation),
            ]
        )
    return pd.DataFrame(lines, columns=["id", *shown, *results]).set_index("id")


def curves(sweep: Sweep) -> pd.DataFrame:
    """Return one line an epoch of a trial: id, epoch, value, other objectives."""
    others = _others(sweep)
    missing = (None,) * len(others)
    lines = [
        (t.id, epoch, value, *t.others.get(epoch, missing))
        for t in sweep.trials
        for epoch, value in t.values.items()
    ]
    before = ["id", "epoch", "value"]
    metrics = columns(others, others=before, prefix="metric")
    return pd.DataFrame(lines, columns=[*before, *metrics])


def _others(sweep: Sweep) -> list[str]:
    return [objective.metric for objective in sweep.experiment.objectives[1:]]


def storable(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table for a format with one type a column: mixed ones as text."""
    out = frame.reset_index(drop=frame.index.name is None)
    for name in out.columns:
        types = {type(v) for v in out[name] if v is not None and v == v}
        if len(types) > 1 and not types <= {int, float}:
            out[name] = [value_cell(v) for v in out[name]]
    return out

"""HTML report of a sweep: a single file that needs no network and no server.

Its security policy allows two scripts by their hashes and no address, so text of users
cannot run or load anything, even if it were not escaped.
"""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources

from sweeper.journal import best_checkpoint, spec
from sweeper.journal.record import State, Sweep, TrialRecord
from sweeper.packing import packing_report
from sweeper.reporting import charts, trial_files
from sweeper.reporting.status import progress, settled, sweep_state, used
from sweeper.reporting.tables import (
    EPOCH,
    RANK,
    STATE,
    Column,
    delta_text,
    param_columns,
    remarks,
    result_columns,
    state_text,
)
from sweeper.statistics import insight
from sweeper.statistics.insight import importance
from sweeper.statistics.leaderboard import (
    Row,
    best_row,
    front_trials,
    labels,
    rank,
    trial_result,
    trial_results,
    varied,
)
from sweeper.system.paths import write_text
from sweeper.system.text import duration, plain, short, value_cell

NUM_PICTURED = 3  # trials with pictures in the report
NUMBERS = re.compile(r"0x[0-9a-f]+|\d+")


def write(sweep: Sweep) -> None:
    """Write `report.html` to the folder of the sweep."""
    write_text(sweep.paths.report, render(sweep))


def render(sweep: Sweep) -> str:
    """Return the report of a sweep as one HTML file."""
    import jinja2

    sweep = settled(sweep)
    rows = rank(sweep)
    figures = charts.figures(sweep, rows)
    data = {
        "texts": charts.texts(sweep, rows),
        "charts": {name: list(chart.values()) for name, chart in figures.items()},
    }
    script = _asset("report.js")
    library = (resources.files("plotly") / "package_data/plotly.min.js").read_text()
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    base = _base_trial(rows)
    is_baseline = any(row.is_baseline for row in rows)
    names = varied(sweep)
    short_names = dict(zip(names, labels(names), strict=True))
    shares = importance(rows, sweep.experiment.objective)
    return environment.from_string(_asset("report.html")).render(
        name=sweep.experiment.name,
        notes=sweep.experiment.notes,
        metric=sweep.experiment.objective.metric,
        facts=_facts(sweep),
        table=_table(sweep, rows),
        remarks=[
            *insight.verdict_lines(rows, sweep.experiment.objectives),
            *remarks(sweep),
        ],
        charts=figures,
        importances=[(short_names[name], share) for name, share in shares.items()],
        failures=failures(sweep),
        confusion=trial_files.confusion(sweep, rows),
        pictures=list(_pictures(sweep, rows)),
        base="the baseline" if is_baseline else "the best trial",
        trials=list(_trials(sweep, rows, base)),
        style=_asset("report.css"),
        script=script,
        hashes=[_script_hash(script), _script_hash(library)],
        data=_compressed(json.dumps(data, allow_nan=False, separators=(",", ":"))),
        library=_compressed(library),
    )


def _asset(name: str) -> str:
    return (resources.files("sweeper.reporting") / "assets" / name).read_text()


def _compressed(source: str) -> str:
    """Return gzip in base64, which the page's script unpacks; plotly.js takes 2 MB."""
    return base64.b64encode(gzip.compress(source.encode(), 6, mtime=0)).decode()


def _script_hash(source: str) -> str:
    digest = hashlib.sha256(source.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _facts(sweep: Sweep) -> Mapping[str, str]:
    experiment = sweep.experiment
    counts = {s: sum(t.state is s for t in sweep.trials) for s in State}
    plugins = [
        plugin if isinstance(plugin, str) else json.dumps(plugin)
        for plugin in (experiment.search, experiment.scheduler)
    ]
    return {
        "objective": ", ".join(map(str, experiment.objectives)),
        "search": plugins[0],
        "scheduler": plugins[1],
        "seeds": ", ".join(map(str, experiment.seeds)),
        "target": str(experiment.target),
        "for every trial": " ".join(experiment.overrides),
        "trials": f"{state_text(counts) or 'no trials'} ({sweep_state(sweep)})",
        "best": _best(sweep),
        "used": ", ".join(used(sweep, progress(sweep))),
    }


def _best(sweep: Sweep) -> str:
    row = best_row(sweep)
    if row is None:
        return "no trial has a value"
    front = front_trials(sweep)
    if front:
        return f"Pareto front of {len(front)}: {' '.join(t.id for t in front)}"
    result = trial_result(row.trials[0], sweep.experiment.objective)
    epoch = f", epoch {result[0]}" if result else ""
    return f"{short(row.mean)} ({row.trials[0].id}{epoch})"


def _table(sweep: Sweep, rows: Sequence[Row]) -> Mapping[str, object]:
    last = [
        EPOCH,
        Column("epochs", lambda row: f"{_epochs(row) or '-'}", _epochs),
        Column("time", lambda r: duration(charts.cost_seconds(r)), charts.cost_seconds),
        STATE,
    ]
    results = result_columns(sweep, rows)
    params = param_columns(sweep, others=[RANK, *results, *last])
    columns = [RANK, *results, *params, *last]
    lines = [
        {
            "cells": [(column.text(row), column.number(row)) for column in columns],
            "ids": [trial.id for trial in row.trials],
            "is_baseline": row.is_baseline,
        }
        for row in rows
    ]
    heads = [plain(column.head) for column in columns]
    return {"heads": [*heads, "trials"], "lines": lines}


def _epochs(row: Row) -> int:
    return max(trial.last_epoch for trial in row.trials)


def _base_trial(rows: Sequence[Row]) -> TrialRecord | None:
    """Return the trial for comparisons: the baseline's, else the best."""
    ordered = sorted(rows, key=lambda row: not row.is_baseline)
    return ordered[0].trials[0] if ordered else None


def _trials(
    sweep: Sweep, rows: Sequence[Row], base: TrialRecord | None
) -> Iterator[Mapping[str, object]]:
    objectives = sweep.experiment.objectives
    base_config = trial_files.config(sweep.paths.trial(base.id)) if base else {}
    for row in rows:
        point = " ".join(f"{name}={value_cell(v)}" for name, v in row.params.items())
        delta = f" ({delta_text(row)})" if row.delta == row.delta else ""
        for trial in row.trials:
            result = trial_results(trial, objectives)
            value = ", ".join(map(short, result[1])) if result else "no value"
            paths = sweep.paths.trial(trial.id)
            config = trial_files.config(paths) if trial is not base else base_config
            file = best_checkpoint.find(sweep, trial)
            yield {
                "id": trial.id,
                "value": value + delta,
                "point": point,
                "lines": list(filter(None, _lines(trial))),
                "parent": trial.lineage.parent if trial.lineage else "",
                "differences": trial_files.differences(base_config, config),
                "command": spec.stored_command(paths.spec),
                "checkpoint": file and file.text(objectives[0].metric),
                "file": file and file.path.relative_to(sweep.folder),
            }


def _lines(trial: TrialRecord) -> Iterator[str]:
    starts = f"started {trial.starts} times" if trial.starts else "never started"
    yield f"seed {trial.seed}, {trial.state}, {starts}"
    yield packing_report.measured(trial)
    if trial.lineage:
        yield f"generation {trial.lineage.generation}, to epoch {trial.lineage.until}"
    for failure in trial.failures:
        yield plain(f"{failure.kind} after epoch {failure.step}: {failure.message}")


def failures(sweep: Sweep) -> list[Mapping[str, object]]:
    """Return failed attempts, grouped by error and place, most frequent first.

    Failures that differ only in numbers and addresses are in one group.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    shown: dict[tuple[str, ...], Mapping[str, object]] = {}
    for trial in sweep.trials:
        trace = trial_files.traceback_text(sweep.paths.trial(trial.id))
        places = [line for line in trace.splitlines() if line.startswith("  File ")]
        for failure in trial.failures:
            message = NUMBERS.sub("#", failure.message)
            key = (str(failure.kind), message, *places[-1:])
            ids = groups.setdefault(key, [])
            ids.append(trial.id)
            shown.setdefault(
                key,
                {
                    "kind": str(failure.kind),
                    "message": plain(failure.message),
                    "trace": trace,
                    "attempts": ids,
                },
            )
    return [shown[key] for key in sorted(groups, key=lambda key: -len(groups[key]))]


def _pictures(sweep: Sweep, rows: Sequence[Row]) -> Iterator[tuple[object, ...]]:
    for row in rows[:NUM_PICTURED]:
        name = row.trials[0].id
        shown = trial_files.pictures(sweep.paths.trial(name))
        if row.rank and shown:
            yield row.rank, name, shown

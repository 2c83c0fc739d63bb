"""The charts of a report as plotly figures, most of them Optuna's; pure.

Each trace has a key `rows`: the leaderboard's row that it shows, or one for each of its
points. The page's script filters by it and writes the texts of the points.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from html import escape
from itertools import combinations
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
)
from optuna.trial import FrozenTrial, create_trial

from sweeper.journal.record import State, Sweep
from sweeper.statistics.insight import importance, interval
from sweeper.statistics.leaderboard import Row, labels, varied
from sweeper.system.text import plain, short, value_cell

if TYPE_CHECKING:
    import plotly.graph_objects as go

MAX_POINTS = 60  # of one learning curve; a sweep of many trials stays under 5 MB
MAX_PARAMS = 12  # in one chart; those that explain the most
MAX_CROSSED = 4  # parameters of which each pair has a surface
MAX_SURFACE = 60  # suggestions of a surface, the best ones
COLOURS = (
    *("#0b62c4", "#d9822b", "#2f9e5b", "#b8407f"),
    *("#7a5cd6", "#009aa6", "#c23b3b", "#8a7a1f"),
)
GREY = "#8a94a0"  # like the others visible on white and on black
SCALE = [[0, "rgb(232,89,12)"], [0.4, "rgb(122,92,214)"], [1, "rgb(138,148,160)"]]
STATES = {
    "complete": "#2f9e5b",
    "pruned": "#d9a62b",
    "failed": "#c23b3b",
    "running": "#0b62c4",
    "interrupted": GREY,
}

KEYS = ("base", "x", "y", "rows")  # of a bar of the timeline

Figure = dict[str, Any]  # as plotly.js reads it
Values = Mapping[int, float | str]  # of one parameter by row, numbers or categories


class _Category(str):
    """A text that Optuna's slice plot shows without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def figures(sweep: Sweep, rows: Sequence[Row]) -> dict[str, dict[str, Figure]]:
    """Return the figures of each chart by their names; a single one is named ""."""
    ranked = [row for row in rows if row.rank]
    charts = {"timeline": _timeline(rows)}
    if ranked:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        params = _parameters(sweep, ranked)
        modes = [objective.mode for objective in sweep.experiment.objectives]
        metrics = [objective.metric for objective in sweep.experiment.objectives]
        if len(metrics) > 1:
            means = [row.means for row in ranked]
            charts["pareto"] = _front(means, modes=modes, names=metrics)
        charts |= {
            "curves": _curves(sweep, ranked),
            "parallel": _parallel(sweep, ranked, params),
            "slices": _slices(sweep, ranked, params),
            "contour": _contours(sweep, ranked[:MAX_SURFACE], params),
            "cost": _front(
                [(cost_seconds(row), row.mean) for row in ranked],
                modes=["min", modes[0]],
                names=["seconds of training", metrics[0]],
            ),
        }
    return {name: made for name, made in charts.items() if made}


def texts(sweep: Sweep, rows: Sequence[Row]) -> list[str]:
    """Return what a point of each row says, as HTML."""
    metrics = [objective.metric for objective in sweep.experiment.objectives]
    lines = []
    for row in rows:
        pairs = zip(labels(tuple(row.params)), row.params.values(), strict=True)
        line = [f"#{row.rank or '-'} {row.trials[0].id}"]
        line += [f"{label}: {value_cell(v)}" for label, v in pairs][:MAX_PARAMS]
        line += [f"{m}: {short(v)}" for m, v in zip(metrics, row.means, strict=False)]
        lines.append("<br>".join(map(_html, line)))
    return lines


def cost_seconds(row: Row) -> float:
    """Return the seconds in trial processes, over all seeds and attempts."""
    return sum(trial.busy_seconds for trial in row.trials)


def thinned(points: Mapping[int, float]) -> dict[int, float]:
    """Return at most `MAX_POINTS` finite points, evenly, with the first and the last.

    >>> len(thinned({epoch: 0.5 for epoch in range(1000)})) <= MAX_POINTS
    True
    """
    finite = [(epoch, value) for epoch, value in points.items() if math.isfinite(value)]
    if len(finite) > MAX_POINTS:
        step = (len(finite) - 1) / (MAX_POINTS - 1)
        finite = [finite[round(i * step)] for i in range(MAX_POINTS)]
    return {epoch: float(short(value)) for epoch, value in finite}


def _html(text: object) -> str:
    return escape(plain(text))


def _parameters(sweep: Sweep, rows: Sequence[Row]) -> dict[str, Values]:
    """Return the parameters of several values by their labels, as HTML."""
    params: dict[str, Values] = {}
    names = varied(sweep)
    short_names = dict(zip(names, labels(names), strict=True))
    shares = importance(rows, sweep.experiment.objective)
    for name in sorted(names, key=lambda name: -shares.get(name, 0.0)):
        values = {
            i: row.params[name] for i, row in enumerate(rows) if name in row.params
        }
        if len(set(values.values())) > 1 and len(params) < MAX_PARAMS:
            params[_html(short_names[name])] = _numbers(values) or {
                i: _Category(escape(value_cell(v))) for i, v in values.items()
            }
    return params


def _numbers(values: Mapping[int, object]) -> dict[int, float]:
    """Return the values as numbers; {} if any is not a finite number."""
    numbers = {
        i: float(v)
        for i, v in values.items()
        if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)
    }
    return numbers if len(numbers) == len(values) else {}


def _distribution(values: Values) -> BaseDistribution:
    numbers = _numbers(values).values()
    if not numbers:
        return CategoricalDistribution(sorted(set(map(_Category, values.values()))))
    return interval(numbers)


def _study(trials: Sequence[FrozenTrial], *modes: str) -> optuna.Study:
    directions = [optuna.study.StudyDirection[f"{mode}imize".upper()] for mode in modes]
    study = optuna.create_study(directions=directions)
    study.add_trials(trials)
    return study


def _study_of(
    sweep: Sweep, rows: Sequence[Row], params: Mapping[str, Values]
) -> optuna.Study:
    """Return a study whose trial i is row i, by the first objective."""
    kinds = {label: _distribution(values) for label, values in params.items()}
    trials = []
    for i, row in enumerate(rows):
        point = {label: v[i] for label, v in params.items() if i in v}
        used = {label: kinds[label] for label in point}
        trials.append(create_trial(value=row.mean, params=point, distributions=used))
    return _study(trials, sweep.experiment.objective.mode)


def _figure(figure: "go.Figure") -> Figure:
    made: Figure = figure.to_dict()
    for key in ("template", "title"):
        made["layout"].pop(key, None)
    for trace in made["data"]:
        trace["hovertemplate"] = "%{text}<extra></extra>"
    return made


def _front(
    points: Sequence[Sequence[float]], *, modes: Sequence[str], names: Sequence[str]
) -> dict[str, Figure]:
    """Return Optuna's plot of the Pareto front by the first two of several values."""
    finite = {i: p for i, p in enumerate(points) if all(map(math.isfinite, p))}
    trials = [create_trial(values=list(values)) for values in finite.values()]
    figure = _figure(
        optuna.visualization.plot_pareto_front(
            _study(trials, *modes),
            target_names=list(map(_html, names[:2])),
            targets=lambda trial: trial.values[:2],
        )
    )
    looks = (("dominated", GREY, 7), ("Pareto front", COLOURS[0], 11))
    for trace, (name, colour, size) in zip(figure["data"], looks, strict=True):
        trace["rows"] = [list(finite)[number] for number in trace["marker"]["color"]]
        trace["marker"] = {"color": colour, "size": size}
        trace |= {"name": name, "showlegend": True}
    return {"": figure}


def _curves(sweep: Sweep, rows: Sequence[Row]) -> dict[str, Figure]:
    trials = [(i, trial) for i, row in enumerate(rows) for trial in row.trials]
    curves = [(i, t, points) for i, t in trials if (points := thinned(t.values))]
    made = [create_trial(value=0, intermediate_values=points) for *_, points in curves]
    plot = optuna.visualization.plot_intermediate_values(_study(made, "min"))
    figure = _figure(plot)
    for trace, (i, trial, _) in zip(figure["data"], curves, strict=True):
        is_top = i < len(COLOURS)
        colour = COLOURS[i] if is_top else GREY
        trace |= {
            "rows": i,
            "name": f"#{rows[i].rank} {rows[i].trials[0].id}",
            "legendgroup": f"{i}",
            "showlegend": is_top and trial is rows[i].trials[0],
            "line": {"color": colour, "width": 2 if is_top else 1},
            "opacity": 1 if is_top else 0.35,
            "hovertemplate": f"%{{meta}}<br>seed {trial.seed}, epoch %{{x}}: %{{y}}"
            "<extra></extra>",
        }
    figure["data"] = figure["data"][::-1]  # the best ones above all others
    metric = _html(sweep.experiment.objective.metric)
    figure["layout"] = {
        "xaxis": {"title": {"text": "epoch"}, "tickformat": "d"},
        "yaxis": {"title": {"text": metric}},
        "legend": {"traceorder": "reversed"},
    }
    return {"": figure} if curves else {}


def _parallel(
    sweep: Sweep, rows: Sequence[Row], params: Mapping[str, Values]
) -> dict[str, Figure]:
    import plotly.colors

    metric, *metrics = [_html(o.metric) for o in sweep.experiment.objectives]
    others = {
        name: _numbers({i: row.means[k] for i, row in enumerate(rows)})
        for k, name in enumerate(metrics, start=1)
    }
    shown = {**params, **{name: values for name, values in others.items() if values}}
    if not shown:
        return {}
    study = _study_of(sweep, rows, shown)
    figure = _figure(
        optuna.visualization.plot_parallel_coordinate(study, target_name=metric)
    )
    places = [i / max(1, len(rows) - 1) for i in range(len(rows))]
    colours = plotly.colors.sample_colorscale(SCALE, places)
    lines = figure["data"][: len(rows)]  # the last trace is a scale of values
    for i, (line, colour) in enumerate(zip(lines, colours, strict=True)):
        line |= {"rows": i, "line": {"color": colour, "width": 1.5}, "opacity": 0.7}
        line |= {"hovertemplate": "%{meta}<extra></extra>", "customdata": None}
    return {"": {"data": lines[::-1], "layout": figure["layout"]}}


def _slices(
    sweep: Sweep, rows: Sequence[Row], params: Mapping[str, Values]
) -> dict[str, Figure]:
    study = _study_of(sweep, rows, params)
    metric = _html(sweep.experiment.objective.metric)
    look = {
        "colorscale": SCALE,
        "cmin": 0,
        "cmax": len(rows),
        "size": 8,
        "opacity": 0.8,
    }
    figures = {}
    for label in params:
        figure = _figure(
            optuna.visualization.plot_slice(study, [label], target_name=metric)
        )
        (points,) = figure["data"]
        ranks = points["marker"]["color"][::-1]  # the best ones above all others
        points |= {"x": points["x"][::-1], "y": points["y"][::-1], "rows": ranks}
        points["marker"] = {"color": ranks, **look}
        figures[label] = figure
    return figures


def _contours(
    sweep: Sweep, rows: Sequence[Row], params: Mapping[str, Values]
) -> dict[str, Figure]:
    near = {
        label: {i: value for i, value in values.items() if i < len(rows)}
        for label, values in list(params.items())[:MAX_CROSSED]
    }
    shown = {label: v for label, v in near.items() if len(set(v.values())) > 1}
    study = _study_of(sweep, rows, shown)
    metric = _html(sweep.experiment.objective.metric)
    is_max = sweep.experiment.objective.mode == "max"
    figures = {}
    for first, second in combinations(shown, 2):
        both = sorted(shown[first].keys() & shown[second].keys())
        if both:
            plot = optuna.visualization.plot_contour(
                study, [first, second], target_name=metric
            )
            figure = _figure(plot)
            surface, points, _ = figure["data"]
            surface |= {"colorscale": SCALE, "reversescale": is_max, "opacity": 0.75}
            points["rows"] = both
            figure["data"] = [surface, points]
            figures[f"{first}, {second}"] = figure
    return figures


def _timeline(rows: Sequence[Row]) -> dict[str, Figure]:
    """Return a bar for each attempt of each trial, by the slot that ran it."""
    trials = [
        (i, trial, [attempt for attempt in trial.attempts if attempt.slot])
        for i, row in enumerate(rows)
        for trial in row.trials
    ]
    starts = sorted((a.started_at, a.slot) for *_, runs in trials for a in runs)
    lanes = {slot: n for n, slot in enumerate(dict.fromkeys(s for _, s in starts), 1)}
    bars: dict[str, list[tuple[str, float, int, int]]] = {state: [] for state in STATES}
    for i, trial, attempts in trials:
        for attempt in attempts:
            is_cut = attempt is not attempts[-1] or trial.state is State.WAITING
            start = attempt.started_at.isoformat(timespec="milliseconds")
            busy = timedelta(seconds=attempt.busy_seconds)
            bar = (start, busy / timedelta(milliseconds=1), lanes[attempt.slot], i)
            bars["interrupted" if is_cut else str(trial.state)].append(bar)
    traces = [
        {
            **{key: [bar[k] for bar in drawn] for k, key in enumerate(KEYS)},
            "type": "bar",
            "orientation": "h",
            "name": state,
            "marker": {"color": STATES[state]},
            "textposition": "none",
            "hovertemplate": f"%{{text}}<br>{state}<extra></extra>",
        }
        for state, drawn in bars.items()
        if drawn
    ]
    layout = {
        "barmode": "overlay",
        "height": min(900, 160 + 26 * len(lanes)),
        "showlegend": True,
        "xaxis": {"type": "date"},
        "yaxis": {"title": {"text": "slot"}, "dtick": 1, "autorange": "reversed"},
    }
    return {"": {"data": traces, "layout": layout}} if traces else {}

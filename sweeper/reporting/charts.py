"""Charts of a report as figures of plotly.js.

Each trace has a key `rows`: the index of its row of the leaderboard, or a list with one
index per point. The page's script uses it to filter, and to add the texts of points.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import combinations
from typing import Any

import numpy as np

from sweeper.journal.record import State, Sweep
from sweeper.statistics import pareto
from sweeper.statistics.insight import importance, is_logarithmic
from sweeper.statistics.leaderboard import Row, labels, varied
from sweeper.system.text import plain, short, value_cell

MAX_POINTS = 60  # per learning curve; the report of a large sweep stays under 5 MB
MAX_PARAMS = 12  # most important parameters in one chart
MAX_CROSSED = 4  # most important parameters with a surface for each pair
MAX_SURFACE = 60  # best suggestions in a surface
COLOURS = (
    *("#0b62c4", "#d9822b", "#2f9e5b", "#b8407f"),
    *("#7a5cd6", "#009aa6", "#c23b3b", "#8a7a1f"),
)
GREY = "#8a94a0"  # all colours are visible on white and on black
STOPS = {0.0: (232, 89, 12), 0.4: (122, 92, 214), 1.0: (138, 148, 160)}
SCALE = [[at, f"rgb{rgb}".replace(" ", "")] for at, rgb in STOPS.items()]
STATES = {
    "complete": "#2f9e5b",
    "pruned": "#d9a62b",
    "failed": "#c23b3b",
    "running": "#0b62c4",
    "interrupted": GREY,
}
HOVER = "%{text}<extra></extra>"
KEYS = ("base", "x", "y", "rows")  # lists of a trace of the timeline

Figure = dict[str, Any]  # a figure of plotly.js
Values = Mapping[int, float] | Mapping[int, str]  # row -> value of a parameter


def figures(sweep: Sweep, rows: Sequence[Row]) -> dict[str, dict[str, Figure]]:
    """Return chart -> name -> figure; a chart's only figure has the name ""."""
    ranked = [row for row in rows if row.rank]
    objectives = sweep.experiment.objectives
    metrics = [_html(objective.metric) for objective in objectives]
    charts = {"timeline": _timeline(rows)}
    if ranked:
        params = _parameters(sweep, ranked)
        losses = [
            [o.loss(mean) for o, mean in zip(objectives, row.means, strict=True)]
            for row in ranked
        ]
        if len(metrics) > 1:
            charts["pareto"] = _front([row.means for row in ranked], losses, metrics)
        seconds = [cost_seconds(row) for row in ranked]
        charts |= {
            "curves": _curves(ranked, metrics[0]),
            "parallel": _parallel(ranked, metrics, params),
            "slices": _slices(ranked, metrics[0], params),
            "contour": _contours(
                ranked[:MAX_SURFACE],
                metrics[0],
                params,
                is_max=objectives[0].mode == "max",
            ),
            "cost": _front(
                [(s, row.mean) for s, row in zip(seconds, ranked, strict=True)],
                [(s, loss[0]) for s, loss in zip(seconds, losses, strict=True)],
                ["seconds of training", metrics[0]],
            ),
        }
    return {name: chart for name, chart in charts.items() if chart}


def texts(sweep: Sweep, rows: Sequence[Row]) -> list[str]:
    """Return the text of each row's points, as HTML."""
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
    """Return the seconds in trial processes, summed over all seeds and attempts."""
    return sum(trial.busy_seconds for trial in row.trials)


def thinned(points: Mapping[int, float]) -> dict[int, float]:
    """Return at most `MAX_POINTS` evenly spaced finite points, ends included.

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
    """Return label -> values of the most important varied parameters, as HTML."""
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
                i: escape(value_cell(v)) for i, v in values.items()
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


def _categories(values: Values) -> list[str]:
    return sorted({str(value) for value in values.values()})


def _axis(label: str, values: Values) -> dict[str, object]:
    axis: dict[str, object] = {"title": {"text": label}}
    numbers = _numbers(values)
    if not numbers:
        return {
            **axis,
            "type": "category",
            "categoryarray": _categories(values),
        }
    return {**axis, "type": "log"} if is_logarithmic(numbers.values()) else axis


def _points(
    xs: Sequence[object],
    ys: Sequence[object],
    rows: Sequence[int],
    marker: Mapping[str, object],
) -> dict[str, object]:
    trace = {"type": "scatter", "mode": "markers", "hovertemplate": HOVER}
    return {**trace, "x": xs, "y": ys, "rows": rows, "marker": marker}


def _front(
    points: Sequence[Sequence[float]],
    losses: Sequence[Sequence[float]],
    names: Sequence[str],
) -> dict[str, Figure]:
    """Plot the points by their first two values, with a coloured Pareto front."""
    finite = [i for i, point in enumerate(points) if all(map(math.isfinite, point))]
    if not finite:
        return {}
    fronts = pareto.fronts(np.array([losses[i] for i in finite]))
    looks = (("dominated", GREY, 7), ("Pareto front", COLOURS[0], 11))
    traces = []
    for is_best, (name, colour, size) in enumerate(looks):
        shown = [
            i for i, n in zip(finite, fronts, strict=True) if (n == 1) == bool(is_best)
        ]
        xs, ys = ([points[i][axis] for i in shown] for axis in (0, 1))
        marker = {"color": colour, "size": size}
        traces.append(_points(xs, ys, shown, marker) | {"name": name})
    x, y = ({"title": {"text": name}} for name in names[:2])
    return {"": {"data": traces, "layout": {"xaxis": x, "yaxis": y}}}


def _curves(rows: Sequence[Row], metric: str) -> dict[str, Figure]:
    traces = []
    for i, row in enumerate(rows):
        is_top = i < len(COLOURS)
        look = {"color": COLOURS[i] if is_top else GREY, "width": 2 if is_top else 1}
        for trial in row.trials:
            points = thinned(trial.values)
            if not points:
                continue
            trace = {
                "type": "scatter",
                "mode": "lines+markers",
                "marker": {"maxdisplayed": 10},
                "x": list(points),
                "y": list(points.values()),
                "rows": i,
                "name": f"#{row.rank} {row.trials[0].id}",
                "legendgroup": f"{i}",
                "showlegend": is_top and trial is row.trials[0],
                "line": look,
                "opacity": 1 if is_top else 0.35,
                "hovertemplate": f"%{{meta}}<br>seed {trial.seed}, epoch %{{x}}: %{{y}}"
                "<extra></extra>",
            }
            traces.append(trace)
    layout = {
        "xaxis": {"title": {"text": "epoch"}, "tickformat": "d"},
        "yaxis": {"title": {"text": metric}},
        "legend": {"traceorder": "reversed"},
    }
    # The best rows are drawn last, above all others.
    return {"": {"data": traces[::-1], "layout": layout}} if traces else {}


def _parallel(
    rows: Sequence[Row], metrics: Sequence[str], params: Mapping[str, Values]
) -> dict[str, Figure]:
    """Plot each row as a line over one axis per result and parameter."""
    means = {
        metric: _numbers({i: row.means[k] for i, row in enumerate(rows)})
        for k, metric in enumerate(metrics)
    }
    axes: dict[str, Values] = {**{m: v for m, v in means.items() if v}, **params}
    if not params and len(axes) < 2:
        return {}
    scaled = {label: _scaled(values) for label, values in axes.items()}
    lines = []
    for i in range(len(rows)):
        share = i / max(1, len(rows) - 1)
        channels = zip(*STOPS.values(), strict=True)
        rgb = [np.interp(share, list(STOPS), channel) for channel in channels]
        line = {
            "type": "scatter",
            "mode": "lines",
            "x": list(range(len(axes))),
            "y": [heights.get(i) for heights, _ in scaled.values()],
            "connectgaps": True,
            "rows": i,
            "line": {"color": "rgb({:.0f},{:.0f},{:.0f})".format(*rgb), "width": 1.5},
            "opacity": 0.7,
            "hovertemplate": "%{meta}<extra></extra>",
            "showlegend": False,
        }
        lines.append(line)
    ticks = [
        {"x": x, "y": y, "text": text, "showarrow": False, "xanchor": "right"}
        for x, (_, marks) in enumerate(scaled.values())
        for text, y in marks.items()
    ]
    layout = {
        "xaxis": {
            "tickvals": list(range(len(axes))),
            "ticktext": list(axes),
            "range": [-0.4, len(axes) - 0.8],
            "showgrid": True,
        },
        "yaxis": {"range": [-0.08, 1.08], "visible": False, "fixedrange": True},
        "annotations": ticks,
    }
    return {"": {"data": lines[::-1], "layout": layout}}


def _scaled(values: Values) -> tuple[dict[int, float], dict[str, float]]:
    """Return heights from 0 to 1 by row, and the heights of the axis labels."""
    numbers = _numbers(values)
    if not numbers:
        categories = _categories(values)
        step = 1 / max(1, len(categories) - 1)
        marks = {f"{category}": n * step for n, category in enumerate(categories)}
        return {i: marks[f"{value}"] for i, value in values.items()}, marks
    is_log = is_logarithmic(numbers.values())
    scaled = {i: math.log(v) if is_log else v for i, v in numbers.items()}
    low, high = min(scaled.values()), max(scaled.values())
    extent = (high - low) or 1.0
    heights = {i: (value - low) / extent for i, value in scaled.items()}
    at = [low + share * (high - low) for share in (0.0, 0.5, 1.0)]
    texts = [short(math.exp(value) if is_log else value) for value in at]
    return heights, dict(zip(texts, (0.0, 0.5, 1.0), strict=True))


def _slices(
    rows: Sequence[Row], metric: str, params: Mapping[str, Values]
) -> dict[str, Figure]:
    look = {"size": 8, "opacity": 0.8, "colorscale": SCALE}
    slices = {}
    for label, values in params.items():
        shown = sorted(values, reverse=True)  # the best are drawn last
        marker = {**look, "color": shown, "cmin": 0, "cmax": len(rows)}
        xs, ys = [values[i] for i in shown], [rows[i].mean for i in shown]
        points = _points(xs, ys, shown, marker)
        layout = {"xaxis": _axis(label, values), "yaxis": {"title": {"text": metric}}}
        slices[label] = {"data": [points], "layout": layout}
    return slices


def _contours(
    rows: Sequence[Row], metric: str, params: Mapping[str, Values], *, is_max: bool
) -> dict[str, Figure]:
    """Plot a surface of the metric over each pair of parameters."""
    contours = {}
    for first, second in combinations(list(params)[:MAX_CROSSED], 2):
        x, y = params[first], params[second]
        shown = [i for i in range(len(rows)) if i in x and i in y]
        columns, lines = sorted({x[i] for i in shown}), sorted({y[i] for i in shown})
        if len(columns) < 2 or len(lines) < 2:
            continue
        best = {(x[i], y[i]): rows[i].mean for i in reversed(shown)}
        surface = {
            "type": "contour",
            "x": columns,
            "y": lines,
            "z": [[best.get((column, line)) for column in columns] for line in lines],
            "connectgaps": True,
            "contours": {"coloring": "heatmap"},
            "colorbar": {"title": {"text": metric}},
            "colorscale": SCALE,
            "reversescale": is_max,
            "opacity": 0.75,
            "hoverinfo": "none",
            "line": {"smoothing": 1.3},
        }
        marker = {"color": "black", "line": {"width": 2, "color": GREY}}
        points = _points([x[i] for i in shown], [y[i] for i in shown], shown, marker)
        points["showlegend"] = False
        layout = {"xaxis": _axis(first, x), "yaxis": _axis(second, y)}
        contours[f"{first}, {second}"] = {"data": [surface, points], "layout": layout}
    return contours


def _timeline(rows: Sequence[Row]) -> dict[str, Figure]:
    """Plot a bar for each attempt of each trial, in the line of its slot."""
    attempts = [
        (i, trial, attempt)
        for i, row in enumerate(rows)
        for trial in row.trials
        for attempt in trial.attempts
        if attempt.slot
    ]
    in_order = sorted(attempts, key=lambda item: (item[2].started_at, item[2].slot))
    slots = list(dict.fromkeys(attempt.slot for *_, attempt in in_order))
    bars: dict[str, list[tuple[str, float, int, int]]] = {state: [] for state in STATES}
    for i, trial, attempt in attempts:
        is_cut = attempt is not trial.attempts[-1] or trial.state is State.WAITING
        start = attempt.started_at.isoformat(timespec="milliseconds")
        lane = slots.index(attempt.slot) + 1
        bar = (start, 1000 * attempt.busy_seconds, lane, i)
        bars["interrupted" if is_cut else str(trial.state)].append(bar)
    traces = [
        {
            **dict(zip(KEYS, map(list, zip(*drawn, strict=True)), strict=True)),
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
        "height": min(900, 160 + 26 * len(slots)),
        "showlegend": True,
        "xaxis": {"type": "date"},
        "yaxis": {"title": {"text": "slot"}, "dtick": 1, "autorange": "reversed"},
    }
    return {"": {"data": traces, "layout": layout}} if traces else {}

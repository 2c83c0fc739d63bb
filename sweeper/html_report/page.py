"""The page itself: sections in order, styles, script and data in one file.

Its security policy admits two scripts by their hashes and no address at all, so that
nothing which a user wrote could run or load anything, even if it were not escaped.
"""

import base64
import gzip
import hashlib
import json
from collections.abc import Sequence
from html import escape
from importlib import resources

from sweeper.host.paths import write_text
from sweeper.html_report import chart_data, details, files, table
from sweeper.statistics import verdict
from sweeper.statistics.leaderboard import best_row, front_trials, rank
from sweeper.statistics.row import Row, trial_result
from sweeper.trial import Sweep
from sweeper.views.tables import remarks, sweep_state

NUM_PICTURED = 3  # trials whose pictures are shown


def write(sweep: Sweep) -> None:
    """Write `report.html` to the folder of the sweep."""
    write_text(sweep.paths.report, render(sweep))


def render(sweep: Sweep) -> str:
    """The report of a sweep as one HTML file."""
    rows = rank(sweep)
    data = chart_data.chart_data(sweep, rows)
    data["confusion"] = files.confusion(sweep, rows)
    script, library = asset("report.js"), plotly_source()
    policy = (
        "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
        f"script-src '{script_hash(script)}' '{script_hash(library)}'"
    )
    title = escape(sweep.experiment.name)
    sections = "\n".join(_sections(sweep, rows, data))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{asset("report.css")}</style>
</head>
<body>
<a class="skip" href="#leaderboard">to the leaderboard</a>
{_header(sweep)}
<main>
{sections}
</main>
<script type="application/json" id="data">{json_text(data)}</script>
<script type="text/plain" id="plotly">{compress(library)}</script>
<script>{script}</script>
</body>
</html>
"""


def json_text(data: object) -> str:
    """JSON that cannot end the script element that holds it."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def asset(name: str) -> str:
    """A file of the page."""
    folder = resources.files("sweeper.html_report") / "assets"
    return (folder / name).read_text(encoding="utf-8")


def plotly_source() -> str:
    """plotly.js of the installed package, 4.8 MB."""
    import plotly.offline  # only here: nothing else of sweeper needs it

    source: str = plotly.offline.get_plotlyjs()
    return source


def compress(source: str) -> str:
    """Gzip in base64, which the page's script unpacks: 2 MB for plotly.js."""
    return base64.b64encode(gzip.compress(source.encode(), 6, mtime=0)).decode()


def script_hash(source: str) -> str:
    """The name of a script in a security policy."""
    digest = hashlib.sha256(source.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _header(sweep: Sweep) -> str:
    loaded = sweep.experiment
    counted = ", ".join(f"{n} {state}" for state, n in chart_data.counts(sweep))
    asked = [
        ("objective", ", ".join(map(str, loaded.objectives))),
        ("search", _name(loaded.search)),
        ("scheduler", _name(loaded.scheduler)),
        ("seeds", ", ".join(map(str, loaded.seeds))),
        ("target", loaded.target),
        ("for every trial", " ".join(loaded.overrides) or "-"),
        ("trials", f"{counted or 'none'} ({sweep_state(sweep)})"),
        ("best", _best(sweep)),
    ]
    items = "".join(f"<div><dt>{k}</dt><dd>{escape(v)}</dd></div>" for k, v in asked)
    notes = f'<p class="notes">{escape(loaded.notes)}</p>' if loaded.notes else ""
    return (
        f"<header><h1>{escape(loaded.name)}</h1>{notes}<dl>{items}</dl>"
        '<button type="button" id="theme">light or dark</button></header>'
    )


def _name(plugin: object) -> str:
    return plugin if isinstance(plugin, str) else json.dumps(plugin)


def _best(sweep: Sweep) -> str:
    row = best_row(sweep)
    if row is None:
        return "no trial has a value"
    front = front_trials(sweep)
    if front:
        return f"Pareto front of {len(front)}: {' '.join(t.id for t in front)}"
    result = trial_result(row.trials[0], sweep.experiment.objective)
    epoch = f", epoch {result[0]}" if result else ""
    return f"{row.mean:.4g} ({row.trials[0].id}{epoch})"


def _sections(sweep: Sweep, rows: Sequence[Row], data: chart_data.Data) -> list[str]:
    has_values = any(row.rank for row in rows)
    failed = details.failures(sweep)
    shown = [_section("leaderboard", "Leaderboard", _board(sweep, rows))]
    if has_values:
        shown += _charts(sweep, data)
    if data["timeline"]:
        shown.append(
            _chart("timeline", "Timeline", "Each bar is one attempt of a trial.")
        )
    if failed:
        shown.append(_section("failures", "Failures", failed))
    pictures = _pictures(sweep, rows)
    if data["confusion"]:
        shown.append(
            _chart("confusion", "Confusion matrix", "Of the best trial that kept one.")
        )
    if pictures:
        shown.append(_section("pictures", "Pictures of the best trials", pictures))
    shown.append(_section("trials", "Trials", details.trials(sweep, rows)))
    return shown


def _charts(sweep: Sweep, data: chart_data.Data) -> list[str]:
    metric = escape(sweep.experiment.objective.metric)
    charts = [
        *_pareto(sweep),
        _chart("curves", "Learning curves", f"{metric} by epoch; the best in colour."),
        _chart(
            "parallel",
            "Parallel coordinates",
            "One line a suggestion; the filter of the leaderboard applies.",
        ),
        _chart(
            "importance",
            "Importance",
            "How much each parameter matters for a result among the best quarter "
            "(PED-ANOVA; the shares sum to 1); associations, not causes.",
        ),
        _chart("slices", "Slices", f"{metric} over each parameter."),
    ]
    params = data["params"]
    if isinstance(params, list) and len(params) > 1:
        charts.append(
            _chart(
                "contour",
                "Two parameters",
                "Points are suggestions; between them the surface is interpolated.",
                controls='<label>across <select id="contour-x"></select></label> '
                '<label>up <select id="contour-y"></select></label>',
            )
        )
    charts.append(
        _chart(
            "front",
            "Value and cost",
            f"The line joins the suggestions with the best {metric} for their time.",
        )
    )
    return charts


def _pareto(sweep: Sweep) -> list[str]:
    """The chart of the first two objectives, where there are several."""
    objectives = sweep.experiment.objectives
    if len(objectives) == 1:
        return []
    first, second = (escape(str(objective)) for objective in objectives[:2])
    caption = (
        f"{second} over {first}. Coloured: suggestions that no other one beats in "
        "every objective; none of the grey ones need be chosen."
    )
    return [_chart("pareto", "Pareto front", caption)]


def _board(sweep: Sweep, rows: Sequence[Row]) -> str:
    return (
        '<div class="tools"><label for="filter">filter</label> '
        '<input id="filter" type="search" autocomplete="off" spellcheck="false" '
        'placeholder="resnet18 learning_rate&lt;0.01" aria-describedby="filter-help">'
        '<output id="shown" for="filter"></output></div>'
        '<p id="filter-help">Words that a row must hold, and conditions such as '
        "<code>batch_size&gt;=64</code>; charts follow.</p>"
        '<div class="scroll" tabindex="0" role="region" aria-label="leaderboard">'
        f"{table.table(sweep, rows)}</div>{_verdict(sweep, rows)}"
    )


def _verdict(sweep: Sweep, rows: Sequence[Row]) -> str:
    said = [*verdict.said(rows, sweep.experiment.objectives), *remarks(sweep)]
    lines = "".join(f"<li>{escape(line)}</li>" for line in said)
    return f'<ul class="verdict">{lines}</ul>' if said else ""


def _section(name: str, title: str, content: str) -> str:
    return f'<section id="{name}"><h2>{title}</h2>\n{content}\n</section>'


def _chart(name: str, title: str, caption: str, *, controls: str = "") -> str:
    return _section(
        name,
        title,
        f'{controls}<figure><div class="chart" data-chart="{name}" role="img" '
        f'aria-label="{title}: {caption}"></div>'
        f"<figcaption>{caption}</figcaption></figure>",
    )


def _pictures(sweep: Sweep, rows: Sequence[Row]) -> str:
    blocks = []
    for row in [row for row in rows if row.rank][:NUM_PICTURED]:
        trial = row.trials[0]
        shown = "".join(
            f'<figure><img loading="lazy" src="{url}" alt="{escape(name)} of '
            f'{trial.id}"><figcaption>{escape(name)}</figcaption></figure>'
            for name, url in files.pictures(sweep.paths.trial(trial.id))
        )
        if shown:
            blocks.append(
                f'<h3>#{row.rank} <a href="#t-{trial.id}">{trial.id}</a></h3>'
                f'<div class="pictures">{shown}</div>'
            )
    return "".join(blocks)

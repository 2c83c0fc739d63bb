"""The leaderboard of a report as an HTML table; pure.

Every text of a user goes through `text`, which escapes it.
"""

import html
import math
from collections.abc import Sequence

from sweeper.html_report.chart_data import cost_seconds
from sweeper.statistics.leaderboard import columns, labels, varied
from sweeper.statistics.row import Row
from sweeper.text import duration, short, value_cell
from sweeper.trial import Sweep
from sweeper.views.cells import delta_text, score_text, state_text, tie_text


def text(value: object) -> str:
    """What a user wrote, as text of a page: escaped, on one line.

    >>> text("<script>")
    '&lt;script&gt;'
    """
    return html.escape(value_cell(value))


def table(sweep: Sweep, rows: Sequence[Row]) -> str:
    """The table; its script sorts by `data-sort` and filters by the cells' text."""
    names = varied(sweep)
    heads = [("rank", "number"), (sweep.experiment.objective.metric, "number")]
    heads += [("95 % interval", "number")] if _has_intervals(rows) else []
    others = sweep.experiment.objectives[1:]
    heads += [(objective.metric, "number") for objective in others]
    heads += [("Pareto" if others else "against the best", "auto")]
    heads += [("delta", "number")] if sweep.experiment.baseline else []
    after = [("best epoch", "number"), ("epochs", "number"), ("time", "number")]
    after += [("state", "auto"), ("trial", "auto")]
    taken = [name for name, _ in (*heads, *after)]
    heads += [(label, "auto") for label in columns(labels(names), others=taken)]
    heads += after
    head = "".join(
        f'<th scope="col" data-kind="{kind}"><button type="button">{text(name)}'
        "</button></th>"
        for name, kind in heads
    )
    body = "\n".join(_row(sweep, rows, i, names) for i in range(len(rows)))
    return (
        f'<table id="board"><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody>'
        "</table>"
    )


def _row(sweep: Sweep, rows: Sequence[Row], index: int, names: Sequence[str]) -> str:
    row = rows[index]
    cells = [_cell(row.rank or "-", row.rank or math.inf)]
    cells.append(_cell(short(row.mean), row.mean))
    if _has_intervals(rows):
        cells.append(_cell(interval_text(row), row.high - row.low))
    cells += [_cell(score_text(score), score.mean) for score in row.others]
    cells.append(_cell(tie_text(row) or "-", None))
    if sweep.experiment.baseline:
        cells.append(_cell(delta_text(row), row.delta))
    cells += [_cell(row.params.get(n, ""), row.params.get(n)) for n in names]
    last = max((e for t in row.trials for e in t.values), default=0)
    cells.append(_cell(row.best_epoch or "-", row.best_epoch))
    cells.append(_cell(last or "-", last))
    cells.append(_cell(duration(cost_seconds(row)), cost_seconds(row)))
    cells.append(_cell(state_text(row.states), None))
    links = " ".join(f'<a href="#t-{t.id}">{t.id}</a>' for t in row.trials)
    kind = ' class="baseline"' if row.is_baseline else ""
    return f'<tr data-row="{index}"{kind}>{"".join(cells)}<td>{links}</td></tr>'


def _cell(shown: object, sort: object) -> str:
    is_number = isinstance(sort, int | float) and not isinstance(sort, bool)
    key = f' data-sort="{sort}" class="number"' if is_number else ""
    return f"<td{key}>{text(shown)}</td>"


def interval_text(row: Row) -> str:
    """Both ends of the interval of a mean; "-" for one seed."""
    if math.isnan(row.low):
        return "-"
    return f"{short(row.low)} to {short(row.high)} (n={len(row.values)})"


def _has_intervals(rows: Sequence[Row]) -> bool:
    return any(not math.isnan(row.low) for row in rows)

"""The trials of a report one by one, and their failures grouped, as HTML.

Every text of a user goes through `html.escape`.
"""

import re
from collections.abc import Mapping, Sequence
from html import escape

from sweeper.cards import packed
from sweeper.html_report import files
from sweeper.html_report.table import text
from sweeper.lineage import Lineage
from sweeper.scheduling import spec
from sweeper.statistics.row import Row, trial_results
from sweeper.text import short
from sweeper.trial import Sweep, TrialRecord
from sweeper.views import configs
from sweeper.views.cells import delta_text

MAX_DIFFERENCES = 40
NUMBERS = re.compile(r"0x[0-9a-f]+|\d+")


def trials(sweep: Sweep, rows: Sequence[Row]) -> str:
    """A closed block for each trial: how it differs, how to repeat it, where it is."""
    base = base_trial(rows)
    base_config = configs.config(sweep.paths.trial(base.id)) if base else {}
    what = "the baseline" if any(r.is_baseline for r in rows) else "the best trial"
    return "\n".join(
        _trial(sweep, row, trial, base=base, base_config=base_config, what=what)
        for row in rows
        for trial in row.trials
    )


def base_trial(rows: Sequence[Row]) -> TrialRecord | None:
    """The trial that others are compared with: the baseline's, else the best."""
    ordered = sorted(rows, key=lambda row: not row.is_baseline)
    return ordered[0].trials[0] if ordered else None


def _trial(
    sweep: Sweep,
    row: Row,
    trial: TrialRecord,
    *,
    base: TrialRecord | None,
    base_config: configs.Config,
    what: str,
) -> str:
    paths = sweep.paths.trial(trial.id)
    result = trial_results(trial, sweep.experiment.objectives)
    value = ", ".join(map(short, result[1])) if result else "no value"
    delta = f" ({delta_text(row)})" if row.delta == row.delta else ""
    point = " ".join(f"{name}={text(v)}" for name, v in row.params.items())
    device = packed.measured(trial)
    parts = [f"<p>seed {trial.seed}, {trial.state}, {_starts(trial)}</p>"]
    parts += [f"<p>{text(device)}</p>"] if device else []
    parts += [f"<p>{_origin(trial.lineage)}</p>"] if trial.lineage else []
    if base is not None and trial.id != base.id:
        changed = configs.differences(base_config, configs.config(paths))
        parts.append(_differences(changed, what))
    command = spec.stored_command(paths.spec)
    if command:
        parts.append(f"<p>repeat it</p><pre><code>{escape(command)}</code></pre>")
    parts.append(files.checkpoint(sweep, trial))
    parts += [
        f"<p>{failure.kind} after epoch {failure.step}: {text(failure.message)}</p>"
        for failure in trial.failures
    ]
    return (
        f'<details class="trial" id="t-{trial.id}"><summary><b>{trial.id}</b> '
        f"{value}{delta} "
        f"<span>{point}</span></summary>{''.join(parts)}</details>"
    )


def _starts(trial: TrialRecord) -> str:
    return "never started" if not trial.starts else f"started {trial.starts} times"


def _origin(place: Lineage) -> str:
    name = place.parent
    start = f'from <a href="#t-{name}">{name}</a>' if name else "from nothing"
    return f"generation {place.generation}, {start}, to epoch {place.until}"


def _differences(changed: Sequence[tuple[str, str, str]], what: str) -> str:
    if not changed:
        return ""
    lines = "".join(
        f"<tr><td>{escape(key)}</td><td>{escape(old)}</td><td>{escape(new)}</td></tr>"
        for key, old, new in changed[:MAX_DIFFERENCES]
    )
    more = len(changed) - MAX_DIFFERENCES
    note = f"<p>and {more} more</p>" if more > 0 else ""
    return (
        f'<table class="diff"><caption>config against {what}</caption><thead><tr>'
        f'<th scope="col">key</th><th scope="col">{what}</th><th scope="col">'
        f"this trial</th></tr></thead><tbody>{lines}</tbody></table>{note}"
    )


def failures(sweep: Sweep) -> str:
    """Failed attempts grouped by what was raised where, the most frequent first."""
    groups: dict[str, list[TrialRecord]] = {}
    shown: dict[str, str] = {}
    for trial in sweep.trials:
        trace = files.traceback_text(sweep.paths.trial(trial.id))
        for failure in trial.failures:
            key = group_key(failure.kind, failure.message, trace)
            groups.setdefault(key, []).append(trial)
            shown.setdefault(key, _failure(failure.kind, failure.message, trace))
    ordered = sorted(groups, key=lambda key: -len(groups[key]))
    return "".join(_group(groups[key], shown[key]) for key in ordered)


def group_key(kind: str, message: str, trace: str) -> str:
    """Equal for failures that differ in numbers and addresses only."""
    places = [line for line in trace.splitlines() if line.startswith("  File ")]
    return NUMBERS.sub("#", f"{kind}|{message}") + "|" + "".join(places[-1:])


def _failure(kind: str, message: str, trace: str) -> str:
    block = f"<pre>{escape(trace)}</pre>" if trace else ""
    return f"<summary><b>{kind}</b> {text(message)}</summary>{block}"


def _group(members: Sequence[TrialRecord], shown: str) -> str:
    unique: Mapping[str, None] = dict.fromkeys(trial.id for trial in members)
    links = " ".join(f'<a href="#t-{i}">{i}</a>' for i in unique)
    return (
        f"<details>{shown}<p>{len(members)} failed attempts of "
        f"{len(unique)} trials: {links}</p></details>"
    )

"""A sweep as a section of a research log, in Markdown: what ran and what came out.

It states numbers and never an opinion.
"""

import math
from collections.abc import Iterator, Sequence

from sweeper.journal import best_checkpoint, spec
from sweeper.journal.record import State, Sweep
from sweeper.reporting import cells, ranking
from sweeper.reporting.cells import delta_text, point, score_text, tie_text
from sweeper.reporting.ranking import Ranked
from sweeper.reporting.tables import remarks
from sweeper.statistics import insight
from sweeper.statistics.insight import importance
from sweeper.statistics.leaderboard import Row, columns, rank, varied
from sweeper.system.text import markdown_cell, short

MAX_RECOVERED = 5  # suggestions whose commands are written out


def section(sweep: Sweep) -> str:
    """Return the section: notes, table, findings, artefacts, how to repeat."""
    rows = rank(sweep)
    ranked = [row for row in rows if row.rank]
    parts = [leaderboard(sweep, rows).rstrip()]
    parts += ["## Findings", "\n".join(f"- {line}" for line in _findings(sweep, rows))]
    parts += ["## Artefacts", "\n".join(_artefacts(sweep, ranked[:MAX_RECOVERED]))]
    commands = list(_commands(sweep, ranked[:MAX_RECOVERED]))
    if commands:
        parts += ["## How to repeat", "\n".join(["```", *commands, "```"])]
    return "\n\n".join(parts) + "\n"


def leaderboard(sweep: Sweep, rows: Sequence[Row]) -> str:
    """Return the leaderboard as a section with the sweep's name and notes."""
    names = varied(sweep)
    objectives = sweep.experiment.objectives
    has_parents = any(row.parent for row in rows)
    results = [*map(str, objectives), "tied" if len(objectives) == 1 else "Pareto"]
    results += ["delta", "ids", *(["parent"] if has_parents else [])]
    header = ["rank", *columns(names, others=["rank", *results]), *results]
    lines = [
        [
            str(row.rank or "-"),
            *(cells.exact(row, name) for name in names),
            *map(score_text, row.scores),
            tie_text(row) or "-",
            delta_text(row),
            " ".join(trial.id for trial in row.trials),
            *([row.parent or "-"] if has_parents else []),
        ]
        for row in rows
    ]
    parts = [
        f"# {sweep.experiment.name}",
        sweep.experiment.notes,
        _table(header, lines),
    ]
    notes = [*insight.verdict_lines(rows, objectives), *remarks(sweep)]
    parts.append("\n".join(f"- {markdown_cell(line)}" for line in notes))
    return "\n\n".join(filter(None, parts)) + "\n"


def ranking_table(ranked: Sequence[Ranked]) -> str:
    """Return a ranking over several sweeps as a table, all of it."""
    return _table(ranking.header(ranked), map(ranking.line, ranked)) + "\n"


def _table(header: Sequence[str], lines: Iterator[list[str]] | list[list[str]]) -> str:
    shown = ["| " + " | ".join(map(markdown_cell, line)) + " |" for line in lines]
    head = "| " + " | ".join(map(markdown_cell, header)) + " |"
    return "\n".join([head, "|" + "---|" * len(header), *shown])


def _findings(sweep: Sweep, rows: Sequence[Row]) -> list[str]:
    best = next((row for row in rows if row.rank == 1), None)
    if best is None:
        return ["no trial has a value"]
    has_several = len(sweep.experiment.objectives) > 1
    by = f" by {sweep.experiment.objective.metric}" if has_several else ""
    lines = [f"best{by} {score_text(best.scores[0])} with {point(best.params)}"]
    if not math.isnan(best.delta) and not best.is_baseline:
        lines.append(f"{delta_text(best)} against the baseline")
    shares = importance(rows, sweep.experiment.objective).items()
    if shares:
        text = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares)
        lines.append(f"importance for a result among the best quarter: {text}")
    stopped = sum(trial.state is State.PRUNED for trial in sweep.trials)
    if stopped:
        lines.append(f"{stopped} of {len(sweep.trials)} trials stopped early")
    failed = [trial for trial in sweep.trials if trial.state is State.FAILED]
    if failed:
        messages = [t.failures[-1].message for t in sweep.trials if t.failures]
        reasons = "; ".join(dict.fromkeys(messages)) or "no reason recorded"
        lines.append(f"{len(failed)} trials failed: {reasons}")
    hours = sum(trial.busy_seconds for trial in sweep.trials) / 3600
    lines.append(f"{short(hours)} hours of training in {len(sweep.trials)} trials")
    return list(map(markdown_cell, lines))


def _artefacts(sweep: Sweep, rows: Sequence[Row]) -> Iterator[str]:
    yield f"- sweep `{sweep.folder}`, report `{sweep.paths.report.name}`"
    for row in rows:
        for trial in row.trials:
            paths = sweep.paths.trial(trial.id)
            files = [
                f"`{path.relative_to(sweep.folder)}`"
                for path in (paths.config, paths.artifacts / "model.onnx")
                if path.exists()
            ]
            checkpoint = best_checkpoint.find(sweep, trial)
            if checkpoint is not None:
                path = checkpoint.path.relative_to(sweep.folder)
                shown = checkpoint.text(sweep.experiment.objective.metric)
                files.insert(0, f"`{path}` ({shown})")
            yield f"- #{row.rank} {trial.id}: {', '.join(files) or 'none'}"


def _commands(sweep: Sweep, rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        for trial in row.trials:
            command = spec.stored_command(sweep.paths.trial(trial.id).spec)
            if command:
                yield f"{command}  # {trial.id}, #{row.rank}"

"""A sweep as a section of a log of phases, in Markdown.

What a person would write by hand: what was asked, what came out, what it means, and
where each thing lies. It states numbers and never an opinion.
"""

import math
from collections.abc import Iterator, Sequence

from sweeper.scheduling import spec
from sweeper.statistics.insight import importance
from sweeper.statistics.leaderboard import Row, rank
from sweeper.storage import handed_out
from sweeper.storage.export import cell, delta_text, short, to_markdown, value_text
from sweeper.trial import State, Sweep
from sweeper.views.ranking import point

MAX_RECOVERED = 5  # suggestions whose commands are written out


def section(sweep: Sweep) -> str:
    """The section: hypothesis, table, findings, artefacts, how to repeat."""
    rows = rank(sweep)
    parts = [to_markdown(sweep, rows).rstrip()]
    parts += ["## Findings", "\n".join(f"- {line}" for line in findings(sweep, rows))]
    parts += ["## Artefacts", "\n".join(_artefacts(sweep, rows))]
    commands = list(_commands(sweep, rows))
    if commands:
        parts += ["## How to repeat", "\n".join(["```", *commands, "```"])]
    return "\n\n".join(parts) + "\n"


def findings(sweep: Sweep, rows: Sequence[Row]) -> list[str]:
    """What the numbers say, one sentence each."""
    ranked = [row for row in rows if row.rank]
    if not ranked:
        return ["no trial has a value"]
    best = ranked[0]
    several = sweep.experiment.objectives[1:]
    by = f" by {cell(sweep.experiment.objective.metric)}" if several else ""
    lines = [f"best{by} {value_text(best)} with {cell(point(best.params))}"]
    if not math.isnan(best.delta) and not best.is_baseline:
        lines.append(f"{delta_text(best)} against the baseline")
    shares = importance(rows, sweep.experiment.objective)
    if shares:
        text = ", ".join(
            f"{cell(n)} {100 * share:.0f} %" for n, share in shares.items()
        )
        lines.append(f"importance for a result among the best quarter: {text}")
    stopped = sum(trial.state is State.PRUNED for trial in sweep.trials)
    if stopped:
        lines.append(f"{stopped} of {len(sweep.trials)} trials stopped early")
    failed = [trial for trial in sweep.trials if trial.state is State.FAILED]
    if failed:
        lines.append(f"{len(failed)} trials failed: {cell(_failures(sweep))}")
    hours = sum(trial.busy_seconds for trial in sweep.trials) / 3600
    lines.append(f"{short(hours)} hours of training in {len(sweep.trials)} trials")
    return lines


def _failures(sweep: Sweep) -> str:
    messages = [t.failures[-1].message for t in sweep.trials if t.failures]
    return "; ".join(dict.fromkeys(messages)) or "no reason recorded"


def _artefacts(sweep: Sweep, rows: Sequence[Row]) -> Iterator[str]:
    yield f"- sweep `{sweep.folder}`, report `{sweep.paths.report.name}`"
    for row in _recovered(rows):
        for trial in row.trials:
            paths = sweep.paths.trial(trial.id)
            files = [
                f"`{path.relative_to(sweep.folder)}`"
                for path in (paths.config, paths.artifacts / "model.onnx")
                if path.exists()
            ]
            checkpoint = handed_out.find(sweep, trial)
            if checkpoint is not None:
                path = checkpoint.path.relative_to(sweep.folder)
                shown = checkpoint.text(sweep.experiment.objective.metric)
                files.insert(0, f"`{path}` ({shown})")
            yield f"- #{row.rank} {trial.id}: {', '.join(files) or 'none'}"


def _commands(sweep: Sweep, rows: Sequence[Row]) -> Iterator[str]:
    for row in _recovered(rows):
        for trial in row.trials:
            command = spec.stored_command(sweep.paths.trial(trial.id).spec)
            if command:
                yield f"{command}  # {trial.id}, #{row.rank}"


def _recovered(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.rank][:MAX_RECOVERED]

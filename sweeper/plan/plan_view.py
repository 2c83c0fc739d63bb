"""The preview of a plan as tables for a terminal, and as plain data for JSON."""

import math
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweeper.experiment.definition import unpriced
from sweeper.experiment.space import Space
from sweeper.plan.estimate import EPOCHS, STEPS, Line
from sweeper.plan.preview import Preview
from sweeper.system.text import GIB, MIB, duration, plain

MAX_LINES = 40


def view(preview: Preview) -> RenderableType:
    """Return a plan as text and tables for a terminal."""
    parts: list[RenderableType] = [_head(preview), _memory_table(preview)]
    parts += [Text(plain(line)) for line in _totals(preview)]
    parts += [Text(plain(note), style="yellow") for note in _notes(preview)]
    return Group(*parts)


def _head(preview: Preview) -> Text:
    lines = [f"{preview.plan.experiment.name}: {preview.plan.num_trials} trials"]
    lines += [f"  {line}" for line in _space_lines(preview.plan.space)]
    lines.append(
        f"duplicates: {preview.duplicates}"
        if preview.is_exact
        else "duplicates: none (no point is suggested twice)"
    )
    cores, card = preview.nodes[0].cpus, preview.card
    machines = f"this one, {cores:g} cores, no GPU"
    if card is not None:
        size = f"{card.device_bytes / GIB:.2f} GiB"
        machines = f"{len(preview.nodes)} x {card.name} ({size}), {cores:g} cores each"
    return _lines([*lines, f"machines: {machines}"])


def _space_lines(space: Space) -> Iterator[str]:
    """Yield a line for each parameter; several spaces get a numbered heading each."""
    for number, parameters in enumerate(space.spaces, start=1):
        if len(space.spaces) > 1:
            yield f"space {number}:"
        for parameter in parameters:
            when = f"  (when {parameter.when.text})" if parameter.when else ""
            yield f"{parameter.name}: {parameter.domain}{when}"


def _memory_table(preview: Preview) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    table.add_column("trials of", overflow="fold")
    for name in ("trials", "MiB", "share", "a card", "step", "trial", "GPU h"):
        table.add_column(name, justify="right")
    lines = preview.forecast.lines[:MAX_LINES]
    for line in lines:
        peak = line.prediction.peak_bytes
        table.add_row(
            Text(plain(line.key)),
            str(line.trials),
            f"{peak / MIB:.0f}" if peak else "?",
            f"{line.demand.gpus:g}",
            str(line.per_card) if line.per_card >= 0 else "none",
            _step(line),
            duration(line.seconds) if line.seconds else "?",
            f"{line.gpu_hours:.2f}" if line.seconds else "?",
        )
    hidden = len(preview.forecast.lines) - len(lines)
    if hidden:
        table.add_row(Text(f"... {hidden} more"))
    return table


def _step(line: Line) -> str:
    count = line.steps * line.epochs
    return f"{line.seconds / count * 1000:.0f} ms" if line.seconds and count else "?"


def _lines(lines: Sequence[str]) -> Text:
    return Text("\n").join(Text(plain(line)) for line in lines)


def _totals(preview: Preview) -> list[str]:
    forecast, experiment = preview.forecast, preview.plan.experiment
    lines = []
    if forecast.wall_seconds:
        lines.append(
            f"every trial to its end: {forecast.gpu_hours:.1f} GPU hours, "
            f"{duration(forecast.wall_seconds)} of wall time "
            f"(at least {duration(forecast.bound_seconds)})"
        )
    cards = [preview.card.name] if preview.card else []
    if unknown := unpriced(experiment.price, cards):
        lines.append(f"cost: unknown; {unknown}")
    elif forecast.cost > 0:
        lines.append(f"cost: {forecast.cost:.2f} at the file's price")
    lines.append(
        "disk: unknown, since the size of a checkpoint is not predicted"
        if forecast.disk_bytes is None
        else f"disk: {forecast.disk_bytes / GIB:.2f} GiB of checkpoints and logs"
    )
    limits = experiment.budget.model_dump(exclude_none=True)
    if limits:
        lines.append("budget: " + ", ".join(f"{k} {v:g}" for k, v in limits.items()))
    return lines


def _notes(preview: Preview) -> list[str]:
    """Return a note for each assumption and each unknown figure."""
    lines = preview.forecast.lines
    said = preview.plan.experiment.estimate
    notes = []
    if len(preview.points) < preview.plan.num_trials:
        notes.append(
            f"{len(preview.points)} trials were looked at; hours, cost and disk "
            f"are those of all {preview.plan.num_trials} in proportion"
        )
    reasons = {line.prediction.how: line.prediction.note for line in reversed(lines)}
    for how, reason in reasons.items() if preview.card else ():
        if how != "followed" or reason:
            is_unknown = how == "none"
            what = "not predicted, a whole card each" if is_unknown else how
            notes.append(f"memory {what}" + (f": {reason}" if reason else ""))
    sources = {line.source for line in lines}
    if "from FLOPs" in sources:
        notes.append(
            "step times are from FLOPs at a quarter of the card's peak; "
            "give --step-seconds, or run some trials first"
        )
    if "unknown" in sources:
        notes.append(
            "no step time is known; give --step-seconds, or run some trials first"
        )
    if not said.examples and any(
        not line.prediction.steps and line.source != "measured" for line in lines
    ):
        notes.append(
            f"{STEPS} steps an epoch assumed; give --examples or estimate.examples"
        )
    is_known = preview.plan.epochs or said.epochs
    if not is_known and any(line.epochs == EPOCHS for line in lines):
        notes.append(
            f"{EPOCHS} epochs a trial assumed; give --epochs or estimate.epochs"
        )
    return [f"note: {note}" for note in notes]


def to_json(preview: Preview) -> dict[str, object]:
    """Return a plan as plain data, for `plan --json`."""
    forecast = preview.forecast
    return {
        "name": preview.plan.experiment.name,
        "trials": preview.plan.num_trials,
        "is_exact": preview.is_exact,
        "duplicates": preview.duplicates,
        "spaces": [
            {p.name: p.domain for p in parameters}
            for parameters in preview.plan.space.spaces
        ],
        "when": {p.name: p.when.text for p in preview.plan.space.parameters if p.when},
        "points": [dict(point) for point in preview.points],
        "card": preview.card.name if preview.card else None,
        "cards": sum(node.gpus for node in preview.nodes),
        "keys": [_line_json(line) for line in forecast.lines],
        "gpu_hours": forecast.gpu_hours,
        "wall_seconds": forecast.wall_seconds,
        "lower_bound_seconds": forecast.bound_seconds,
        "cost": None if math.isnan(forecast.cost) else forecast.cost,
        "disk_bytes": forecast.disk_bytes,
        "notes": _notes(preview),
    }


def _line_json(line: Line) -> dict[str, object]:
    return {
        "key": line.key,
        "trials": line.trials,
        "peak_mib": round(line.prediction.peak_bytes / MIB),
        "how": line.prediction.how,
        "share": line.demand.gpus,
        "per_card": line.per_card,
        "cpus": line.demand.cpus,
        "steps": line.steps,
        "epochs": line.epochs,
        "trial_seconds": line.seconds,
        "step_source": line.source,
        "gpu_hours": line.gpu_hours,
    }

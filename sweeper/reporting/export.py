"""Data frames, research logs, TensorBoard files and model folders of a sweep.

pandas and tensorboardX are imported late, since most commands do not need them.
"""

import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.journal import best_checkpoint, spec
from sweeper.journal.best_checkpoint import BestCheckpoint
from sweeper.journal.record import State, Sweep, TrialRecord
from sweeper.reporting import tables
from sweeper.reporting.tables import delta_text, point_text, score_text
from sweeper.statistics.insight import importance
from sweeper.statistics.leaderboard import (
    Row,
    columns,
    rank,
    trial_result,
    trial_results,
    varied,
)
from sweeper.system import metrics_file
from sweeper.system.errors import SweeperError
from sweeper.system.paths import write_text
from sweeper.system.text import duration, markdown_cell, value_cell

if TYPE_CHECKING:
    import pandas as pd

MAX_REPEATED = 5  # suggestions of a research log with their commands
CARD = "README.md"  # the model card of an exported trial


# ---- data frames


def leaderboard(sweep: Sweep) -> "pd.DataFrame":
    """Return one line per suggestion, best first; parameters have their full names.

    A parameter named like another column becomes `param.NAME`. A suggestion without a
    value has rank 0.
    """
    import pandas as pd

    rows = rank(sweep)
    header, lines = tables.to_values(sweep, rows)
    frame = pd.DataFrame(lines, columns=header)
    frame["rank"] = [row.rank for row in rows]
    if len(sweep.experiment.objectives) > 1:
        frame["front"] = [row.front for row in rows]
    return frame.set_index("rank")


def trials(sweep: Sweep) -> "pd.DataFrame":
    """Return one line per trial, by number; parameters as in `leaderboard`."""
    import pandas as pd

    names, others = varied(sweep), _others(sweep)
    first = ["seed", "state", "value"]
    last = ["best_epoch", "epochs", "starts", "failures"]
    last += ["busy_seconds", "peak_bytes", "card", "utilisation"]
    metrics = columns(others, others=["id", *first, *last], prefix="metric")
    results = [*first, *metrics, *last]
    lines = []
    for trial in sweep.trials:
        best = trial_results(trial, sweep.experiment.objectives)
        line = [trial.id, *(trial.params.get(name) for name in names)]
        line += [trial.seed, str(trial.state)]
        line += best[1] if best else [None] * (1 + len(others))
        line += [best[0] if best else 0, trial.last_epoch, trial.starts]
        line += [len(trial.failures), trial.busy_seconds, trial.peak_bytes]
        lines.append([*line, trial.card, trial.utilisation])
    header = ["id", *columns(names, others=["id", *results]), *results]
    return pd.DataFrame(lines, columns=header).set_index("id")


def curves(sweep: Sweep) -> "pd.DataFrame":
    """Return one line per trial and epoch: id, epoch, value, other objectives."""
    import pandas as pd

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


FRAMES: Mapping[str, Callable[[Sweep], "pd.DataFrame"]] = {
    "leaderboard": leaderboard,
    "trials": trials,
    "curves": curves,
}


def _others(sweep: Sweep) -> list[str]:
    return [objective.metric for objective in sweep.experiment.objectives[1:]]


def storable(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Convert columns of mixed types to text, for formats with one type per column."""
    out = frame.reset_index(drop=frame.index.name is None)
    for name in out.columns:
        types = {type(v) for v in out[name] if v is not None and v == v}
        if len(types) > 1 and not types <= {int, float}:
            out[name] = [value_cell(v) for v in out[name]]
    return out


# ---- a research log


def section(sweep: Sweep) -> str:
    """Return a sweep as Markdown: notes, table, findings, artefacts, commands."""
    rows = rank(sweep)
    repeated = [row for row in rows if row.rank][:MAX_REPEATED]
    parts = [tables.to_markdown(sweep, rows).rstrip()]
    parts += ["## Findings", "\n".join(f"- {line}" for line in _findings(sweep, rows))]
    parts += ["## Artefacts", "\n".join(_artefacts(sweep, repeated))]
    commands = [
        f"{command}  # {trial.id}, #{row.rank}"
        for row in repeated
        for trial in row.trials
        if (command := spec.stored_command(sweep.paths.trial(trial.id).spec))
    ]
    if commands:
        parts += ["## How to repeat", "\n".join(["```", *commands, "```"])]
    return "\n\n".join(parts) + "\n"


def _findings(sweep: Sweep, rows: Sequence[Row]) -> Iterator[str]:
    if not rows or not rows[0].rank:
        yield "no trial has a value"
        return
    best = rows[0]
    has_several = len(sweep.experiment.objectives) > 1
    by = f" by {sweep.experiment.objective.metric}" if has_several else ""
    point = point_text(best.params)
    yield markdown_cell(f"best{by} {score_text(best.scores[0])} with {point}")
    if not math.isnan(best.delta) and not best.is_baseline:
        yield f"{delta_text(best)} against the baseline"
    shares = importance(rows, sweep.experiment.objective).items()
    if shares:
        text = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares)
        yield markdown_cell(f"importance for a result among the best quarter: {text}")
    num_stopped = sum(trial.state is State.PRUNED for trial in sweep.trials)
    if num_stopped:
        yield f"{num_stopped} of {len(sweep.trials)} trials stopped early"
    num_failed = sum(trial.state is State.FAILED for trial in sweep.trials)
    if num_failed:
        messages = [t.failures[-1].message for t in sweep.trials if t.failures]
        reasons = "; ".join(dict.fromkeys(messages)) or "no reason recorded"
        yield markdown_cell(f"{num_failed} trials failed: {reasons}")
    seconds = sum(trial.busy_seconds for trial in sweep.trials)
    yield f"{duration(seconds)} of training in {len(sweep.trials)} trials"


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
            yield f"- #{row.rank} {trial.id}: {', '.join(files) or 'no files'}"


# ---- one trial as a folder


def copy(sweep: Sweep, trial: TrialRecord, target: Path) -> tuple[str, ...]:
    """Copy config, spec, checkpoint and ONNX, write a model card, and return the names.

    Raises:
        SweepNotFoundError: the trial has no checkpoint.
        SweeperError: `target` is not empty.
    """
    checkpoint = best_checkpoint.require(sweep, trial)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise SweeperError(
            f"{target}: not an empty folder; nothing is overwritten; name a new one"
        )
    target.mkdir(parents=True, exist_ok=True)
    paths = sweep.paths.trial(trial.id)
    onnx = sorted(paths.artifacts.glob("*.onnx*"))
    files = [paths.config, paths.spec, checkpoint.path, *onnx]
    names = [path.name for path in files if path.exists()]
    for path in files:
        if path.exists():
            shutil.copy2(path, target / path.name)
    write_text(target / CARD, _card(sweep, trial, checkpoint, names))
    return (*names, CARD)


def _card(
    sweep: Sweep, trial: TrialRecord, checkpoint: BestCheckpoint, names: Sequence[str]
) -> str:
    """Return the model card: result, parameters, metrics, command to train it again."""
    objective = sweep.experiment.objective
    result = trial_result(trial, objective)
    reached = f"{result[1]:.6g} at epoch {result[0]}" if result else "no value"
    facts = [
        f"- {objective.metric} ({objective.mode}): {reached}",
        f"- `{checkpoint.path.name}`: {checkpoint.text(objective.metric)}",
        f"- seed {trial.seed}, state {trial.state}, {trial.starts} starts",
        f"- target `{sweep.experiment.target}`",
    ]
    params = [(name, value_cell(value)) for name, value in trial.params.items()]
    metrics = [(name, f"{value:.6g}") for name, value in sorted(trial.metrics.items())]
    command = spec.stored_command(sweep.paths.trial(trial.id).spec)
    parts = [
        f"# {sweep.experiment.name} {trial.id}",
        sweep.experiment.notes,
        "\n".join(facts),
        tables.markdown_table(["parameter", "value"], params),
        tables.markdown_table(["last metric", "value"], metrics),
        f"Train it again:\n\n```\n{command or '(never started)'}\n```",
        "Files: " + ", ".join(f"`{name}`" for name in names),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


# ---- TensorBoard


def write_tensorboard(sweep: Sweep, folder: Path) -> int:
    """Write the event files of every trial that has a value; return their number.

    Args:
        folder: parent of one subfolder per trial, named by its id. An existing
            subfolder is replaced.
    """
    from tensorboardX import SummaryWriter
    from tensorboardX.summary import hparams

    objective = sweep.experiment.objective
    measured = [trial for trial in sweep.trials if trial.values]
    for trial in measured:
        shutil.rmtree(folder / trial.id, ignore_errors=True)
        rows = metrics_file.epochs(sweep.paths.trial(trial.id).metrics)
        with SummaryWriter(str(folder / trial.id)) as writer:
            for epoch, value in trial.values.items():
                metrics = {**rows.get(epoch, {}), objective.metric: value}
                for name, scalar in metrics.items():
                    writer.add_scalar(name, scalar, global_step=epoch)
            result = trial_result(trial, objective)
            if result is None:
                continue
            params = {
                name: value if isinstance(value, int | float | str) else str(value)
                for name, value in {"seed": trial.seed, **trial.params}.items()
            }
            # `add_hparams` opens a second file, with the same name within a second.
            best = f"best/{objective.metric}"
            for summary in hparams(params, {best: result[1]}):
                writer.file_writer.add_summary(summary)
            writer.add_scalar(best, result[1], global_step=result[0])
    return len(measured)

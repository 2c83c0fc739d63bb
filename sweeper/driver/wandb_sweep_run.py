"""The W&B run of a whole sweep, of job type "sweep" in the group of its trials.

Each start of the driver writes it at its end, from a snapshot of the sweep. An outage
of W&B is only a warning.
"""

import logging
import os
from collections import Counter
from pathlib import Path
from typing import Any

from sweeper.journal.record import Stop, StopReason, Sweep
from sweeper.journal.spec import run_id
from sweeper.reporting import tables
from sweeper.statistics import leaderboard
from sweeper.statistics.leaderboard import trial_results
from sweeper.system import wandb
from sweeper.system.process import restore_environment
from sweeper.system.redaction import redacted

log = logging.getLogger(__name__)

JOB_TYPE = "sweep"


def record(sweep: Sweep, stop: Stop) -> None:
    """Log the leaderboard and the report of a sweep, unless `wandb: none` is set."""
    settings = sweep.experiment.wandb
    mode = wandb.mode(settings.mode)
    if mode == "none" or not sweep.trials:
        return
    import wandb as client

    before = dict(os.environ)
    had_run = client.run is not None  # of a notebook
    earlier = wandb.fragments(sweep.folder)
    project, entity = _destination(sweep)
    try:
        run = wandb.open_run(
            sweep.folder,
            mode,
            id=run_id("sweep", sweep.uid),
            project=project,
            entity=entity or None,
            group=sweep.experiment.name,
            job_type=JOB_TYPE,
            name=sweep.experiment.name,
            notes=sweep.experiment.notes or None,
            tags=list(settings.tags) or None,
            config=redacted(sweep.experiment.model_dump(mode="json"), wandb.hidden()),
        )
        last = max((s for fragment in earlier for s in fragment.steps), default=-1)
        step = max(run.step, last + 1)
        run.log(_row(sweep, client), step=step, commit=True)
        run.summary.update(summary(sweep, stop))
        run.finish(exit_code=0)
        if settings.sweep_page and mode == "online":
            _attach(sweep, client, project=project, entity=entity)
    except (client.Error, OSError, ValueError) as error:
        log.warning("W&B: no run of the sweep: %s", str(error).splitlines()[0])
    finally:
        if not had_run:
            # W&B's process would outlive the driver and be killed with a traceback.
            client.teardown()
        restore_environment(before)


def _destination(sweep: Sweep) -> tuple[str, str]:
    """Return the W&B project and entity of the trials' runs.

    They are read from any trial, since all trials share the project's code.
    """
    folders = (sweep.paths.trial(trial.id).folder for trial in sweep.trials)
    fragments = (wandb.fragments(folder) for folder in folders)
    settings = sweep.experiment.wandb.model_dump()
    return wandb.destination(settings, {}, next(filter(None, fragments), []))


def _row(sweep: Sweep, client: Any) -> dict[str, object]:  # the wandb module
    columns, rows = tables.to_values(sweep, leaderboard.rank(sweep))
    table = client.Table(columns=columns, data=rows, allow_mixed_types=True)
    row: dict[str, object] = {"leaderboard": table}
    report = sweep.folder / "report.html"
    if report.exists():
        row["report"] = client.Html(report.read_text(encoding="utf-8"), inject=False)
    return row


def summary(sweep: Sweep, stop: Stop) -> dict[str, object]:
    """Return counts, the reason of the stop and the best trial."""
    reason = "" if stop.reason is StopReason.NONE else f"{stop.reason}: {stop.message}"
    data: dict[str, object] = {
        "trials": len(sweep.trials),
        "stop_reason": reason.removesuffix(": "),
    }
    for state, count in Counter(trial.state for trial in sweep.trials).items():
        data[f"trials/{state}"] = count
    best = leaderboard.best(sweep)
    objectives = sweep.experiment.objectives
    result = trial_results(best, objectives) if best else None
    if best and result:
        data |= {"best/epoch": result[0], "best/trial": best.id}
        for objective, value in zip(objectives, result[1], strict=True):
            data[f"best/{objective.metric}"] = value
    return data


def _attach(sweep: Sweep, client: Any, *, project: str, entity: str) -> None:
    """Add the trials' runs to a W&B Sweep page, which is created once per sweep.

    No W&B agent runs the trials, since a run of an agent cannot be resumed.
    """
    marker = Path(sweep.folder, "wandb", "sweep_page.txt")
    if marker.exists():
        return
    objective = sweep.experiment.objective
    goal = "maximize" if objective.mode == "max" else "minimize"
    parameters = {
        name: {"values": list(dict.fromkeys(t.params.get(name) for t in sweep.trials))}
        for name in leaderboard.varied(sweep)
    }
    identity = client.sweep(
        {
            "name": sweep.experiment.name,
            "method": "grid",
            "metric": {"name": objective.metric, "goal": goal},
            "parameters": parameters,
        },
        entity=entity or None,
        project=project,
        prior_runs=[run_id(trial.id, sweep.uid) for trial in sweep.trials],
    )
    marker.write_text(f"{identity}\n", encoding="utf-8")

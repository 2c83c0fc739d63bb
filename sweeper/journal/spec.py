"""The `TrialSpec` of a trial: what its process runs, its file, its shell command."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.experiment import defaults
from sweeper.experiment.definition import Experiment
from sweeper.journal.record import Demand, TrialRecord
from sweeper.journal.run_context import RunContext
from sweeper.packing import packing
from sweeper.protocol import Params, TrialSpec, parent_of
from sweeper.statistics.leaderboard import labels
from sweeper.system.paths import SweepPaths, write_text
from sweeper.system.text import value_cell

if TYPE_CHECKING:  # Hydra's grammar, which `best` does not read
    from sweeper.experiment.space import Space


def make_spec(
    experiment: Experiment,
    space: "Space",
    context: RunContext,
    record: TrialRecord,
    *,
    demand: Demand,
    paths: SweepPaths,
) -> TrialSpec:
    """Return the specification of one trial for its process.

    Args:
        record: of the trial. Its `cores` keep the threads and loader workers of the
            first start, which are a part of bit-equality.
        demand: of the trial's process.
    """
    params, seed, identity = record.params, record.seed, record.id
    seeded = (f"{context.seed_key}={seed}",) if context.seed_key else ()
    words = (*experiment.overrides, *space.overrides(params), *seeded)
    cores = demand.cpus if record.cores is None else record.cores
    words += _workers(context, words, cores=cores) if 0 < demand.gpus < 1 else ()
    if record.is_shrunk:
        words += packing.halve_batch(words, context.batch)
    return TrialSpec(
        id=identity,
        number=record.number,
        sweep=experiment.name,
        target=experiment.target,
        config=str(experiment.project / experiment.config),
        overrides=words,
        params=dict(params),
        seed=seed,
        folder=str(paths.trial(identity).folder.absolute()),
        project=str(experiment.project),
        metric=experiment.objective.metric,
        mode=experiment.objective.mode,
        more_metrics=tuple(o.metric for o in experiment.objectives[1:]),
        chdir=experiment.chdir,
        timeout_seconds=experiment.timeout,
        gpus=demand.gpus,
        threads=max(1, int(cores)),
        memory_fraction=packing.memory_fraction(
            demand.gpus, device_bytes=context.device_bytes
        ),
        checkpoint_steps=experiment.checkpoint.every_steps or 0,
        checkpoint_minutes=experiment.checkpoint.every_minutes or 0.0,
        env=dict(experiment.env),
        wandb={
            "id": run_id(identity, context.uid),
            **_wandb(experiment, context, params=params, seed=seed),
        },
        lineage=record.lineage,
        is_stopped=record.stopped_at is not None,
    )


def _workers(
    context: RunContext, overrides: Sequence[str], *, cores: float
) -> tuple[str, ...]:
    """Return overrides that reduce loader workers to the cores of the trial."""
    overridden = {word.lstrip("+").partition("=")[0] for word in overrides}
    return tuple(
        f"{key}={packing.loader_workers(count, cores=cores)}"
        for key, count in context.workers.items()
        if key not in overridden and count > packing.loader_workers(count, cores=cores)
    )


def _wandb(
    experiment: Experiment, context: RunContext, *, params: Params, seed: int
) -> dict[str, str | tuple[str, ...]]:
    return {
        "mode": context.wandb_mode,
        "project": experiment.wandb.project,
        "entity": experiment.wandb.entity,
        "group": experiment.name,
        "name": run_name(params, seed=seed if len(experiment.seeds) > 1 else None),
        "notes": experiment.notes,
        "tags": experiment.wandb.tags,
    }


def run_id(trial: str, uid: str) -> str:
    """Return the id of a trial's W&B run, which is unique over all sweeps.

    >>> run_id("3f9a1c2b07", "5e1d0c9a")
    '3f9a1c2b07-5e1d0c9a'
    """
    return f"{trial}-{uid}"


def read(path: Path) -> TrialSpec | None:
    """Return the spec of a file; None if the file is missing or torn."""
    try:
        return TrialSpec.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def relocate(paths: SweepPaths, experiment: Experiment) -> None:
    """Rewrite the specs of a sweep whose folder or project was moved or copied."""
    for path in sorted(paths.trials.glob("*/spec.json")):
        old = read(path)
        if old is None:
            continue  # the next start of its trial writes it
        new = replace(
            old,
            folder=str(path.parent.absolute()),
            project=str(experiment.project),
            config=str(experiment.project / experiment.config),
        )
        if old != new:
            write_text(path, new.to_json())


def run_name(params: Params, *, seed: int | None) -> str:
    """Return the name of a trial's W&B run: its swept parameters in short form.

    >>> run_name({"model": "resnet18", "model.learning_rate": 1e-3}, seed=None)
    'model=resnet18 learning_rate=0.001'
    """
    names = labels(list(params))
    words = [
        f"{name}={value_cell(value)}"
        for name, value in zip(names, params.values(), strict=True)
    ]
    return " ".join([*words, *([] if seed is None else [f"seed={seed}"])])


def stored_command(path: Path) -> str:
    """Return `command` of a spec file; "" before the trial's first start."""
    spec = read(path)
    return "" if spec is None else command(spec)


def last_of_each_key(overrides: Sequence[str]) -> list[str]:
    """Return only the last override of each key.

    >>> last_of_each_key(["lr=1", "+a=1", "lr=2", "~b", "lr=3"])
    ['+a=1', '~b', 'lr=3']
    """
    keys = [word.partition("=")[0] for word in overrides]
    return [word for i, word in enumerate(overrides) if keys[i] not in keys[i + 1 :]]


def command(spec: TrialSpec) -> str:
    """Return the shell command that trains this trial alone, in a terminal."""
    env = [f"{name}={value}" for name, value in spec.env.items()]
    words = [*(["env", *env] if env else []), "python", "-m", "sweeper", "train"]
    words += last_of_each_key(spec.overrides)
    if spec.target != defaults.TARGET:
        words += ["--target", spec.target]
    config = Path(spec.config)
    if config != Path(spec.project) / defaults.CONFIG:
        words += ["--config", spec.config]
    if spec.metric != defaults.METRIC:
        words += ["--metric", spec.metric]
    if spec.mode != "max":
        words += ["--mode", spec.mode]
    if not any(word.lstrip("+").startswith("seed=") for word in spec.overrides):
        words += ["--seed", str(spec.seed)]
    words += ["--threads", str(spec.threads), *(["--chdir"] if spec.chdir else [])]
    parent = parent_of(spec.lineage)
    note = f"  # from the start, not from {parent}" if parent else ""
    return shlex.join(words) + note

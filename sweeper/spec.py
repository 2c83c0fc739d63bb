"""From a suggestion to the `TrialSpec` that its process runs, and its file."""

import shlex
from dataclasses import replace
from pathlib import Path

from sweeper import defaults
from sweeper.experiment import Experiment
from sweeper.export import value_cell
from sweeper.leaderboard import labels
from sweeper.paths import SweepPaths, write_text
from sweeper.space import Space
from sweeper.trial import Launch, Params, TrialSpec, trial_id


def make_spec(
    experiment: Experiment,
    space: Space,
    launch: Launch,
    *,
    params: Params,
    seed: int,
    number: int,
    paths: SweepPaths,
) -> TrialSpec:
    """What the process of one trial needs to know."""
    identity = trial_id(params, seed=seed)
    seeded = (f"{launch.seed_key}={seed}",) if launch.seed_key else ()
    return TrialSpec(
        id=identity,
        number=number,
        sweep=experiment.name,
        target=experiment.target,
        config=str(experiment.project / experiment.config),
        overrides=(*experiment.overrides, *space.overrides(params), *seeded),
        params=dict(params),
        seed=seed,
        folder=str(paths.trial(identity).folder.absolute()),
        project=str(experiment.project),
        metric=experiment.objective.metric,
        mode=experiment.objective.mode,
        chdir=experiment.chdir,
        timeout_seconds=experiment.timeout,
        gpus=launch.demand.gpus,
        threads=max(1, int(launch.demand.cpus)),
        memory_fraction=launch.demand.gpus if 0 < launch.demand.gpus < 1 else 1.0,
        checkpoint_steps=experiment.checkpoint.every_steps or 0,
        checkpoint_minutes=experiment.checkpoint.every_minutes or 0.0,
        env=dict(experiment.env),
        wandb=_wandb(experiment, launch, params=params, seed=seed),
    )


def _wandb(
    experiment: Experiment, launch: Launch, *, params: Params, seed: int
) -> dict[str, str | tuple[str, ...]]:
    return {
        "mode": launch.wandb_mode,
        "project": experiment.wandb.project,
        "entity": experiment.wandb.entity,
        "group": experiment.name,
        "name": run_name(params, seed=seed if len(experiment.seeds) > 1 else None),
        "notes": experiment.notes,
        "tags": experiment.wandb.tags,
    }


def relocate(paths: SweepPaths, experiment: Experiment) -> None:
    """Write the specs of a sweep anew whose folder or project was moved or copied."""
    for path in sorted(paths.trials.glob("*/spec.json")):
        old = TrialSpec.from_json(path.read_text(encoding="utf-8"))
        new = replace(
            old,
            folder=str(path.parent.absolute()),
            project=str(experiment.project),
            config=str(experiment.project / experiment.config),
        )
        if old == new:
            return  # they move together
        write_text(path, new.to_json())


def run_name(params: Params, *, seed: int | None) -> str:
    """Name of a trial's W&B run: what is swept, in short.

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
    """`command` of the spec in a file; "" before the trial's first start."""
    if not path.exists():
        return ""
    return command(TrialSpec.from_json(path.read_text(encoding="utf-8")))


def command(spec: TrialSpec) -> str:
    """The shell command that trains the same trial alone, in this terminal."""
    env = [f"{name}={value}" for name, value in spec.env.items()]
    words = [*(["env", *env] if env else []), "python", "-m", "sweeper", "train"]
    words += spec.overrides
    if spec.target != defaults.TARGET:
        words += ["--target", spec.target]
    config = Path(spec.config)
    if config != Path(spec.project) / defaults.CONFIG:
        words += ["--config", spec.config]
    if spec.metric != defaults.METRIC:
        words += ["--metric", spec.metric]
    if spec.mode != "max":
        words += ["--mode", spec.mode]
    return shlex.join(words)

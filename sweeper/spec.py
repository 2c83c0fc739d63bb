"""From a suggestion to the `TrialSpec` that its process runs, and its file."""

import shlex
from dataclasses import replace
from pathlib import Path

from sweeper import defaults
from sweeper.experiment import Experiment
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
        env=dict(experiment.env),
        wandb=_wandb(experiment, launch, params=params, identity=identity),
    )


def _wandb(
    experiment: Experiment, launch: Launch, *, params: Params, identity: str
) -> dict[str, str | tuple[str, ...]]:
    name = " ".join(f"{key.split('.')[-1]}={value}" for key, value in params.items())
    return {
        "mode": launch.wandb_mode,
        "project": experiment.wandb.project,
        "entity": experiment.wandb.entity,
        "group": experiment.name,
        "name": name or identity,
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


def stored_command(path: Path) -> str:
    """`command` of the spec in a file; "" before the trial's first start."""
    if not path.exists():
        return ""
    return command(TrialSpec.from_json(path.read_text(encoding="utf-8")))


def command(spec: TrialSpec) -> str:
    """The shell command that trains the same trial alone, in this terminal."""
    words = ["python", "-m", "sweeper", "train", *spec.overrides]
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

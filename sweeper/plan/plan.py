"""The plan of a run: a checked experiment and the facts that follow from its config."""

import contextlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweeper.experiment import defaults, loading, space
from sweeper.experiment.defaults import EPOCHS
from sweeper.experiment.definition import Experiment
from sweeper.experiment.parameter import Parameter
from sweeper.experiment.space import Space
from sweeper.journal import recovery, store, warm_start
from sweeper.journal.record import State
from sweeper.packing import memory
from sweeper.packing.packing import BatchKeys
from sweeper.project import points
from sweeper.search import algorithms
from sweeper.search.schedulers import Scheduler
from sweeper.system import targets
from sweeper.system.errors import (
    ConfigError,
    ExperimentChangedError,
    ExperimentError,
    TargetError,
)
from sweeper.system.paths import SweepPaths, TrialPaths, is_packaged
from sweeper.trial.compose import Composer
from sweeper.trial.config_keys import leaves, seed_key

ACCUMULATION = "accumulate_grad_batches"
WORKERS = "num_workers"
CONFIG_LINE = re.compile(r"( *)([\w./-]+):(?: (.*))?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A checked experiment.

    Attributes:
        folder: the sweep's folder.
        seed_key: config key that takes the trial's seed, "" if there is none.
        num_trials: trials of the whole sweep.
        batch: config keys of the batch size and of gradient accumulation.
        epochs: epochs that the config trains for, 0 if they are unknown.
        workers: loader workers that the config asks for, by key.
        outgrown: ids of complete trials whose config has more epochs now.
    """

    experiment: Experiment
    space: Space
    folder: Path
    seed_key: str
    num_trials: int
    batch: BatchKeys = field(default_factory=BatchKeys)
    workers: Mapping[str, int] = field(default_factory=dict)
    epochs: int = 0
    outgrown: frozenset[str] = frozenset()


def make_plan(
    file: Path, overrides: Sequence[str], *, sweeps: Path, has_sweep: bool = True
) -> Plan:
    """Read and check an experiment file.

    Args:
        has_sweep: whether to check the experiment against the sweep in its folder.

    Raises:
        SweeperError: at the place of the first error.
    """
    loaded = loading.load(file, overrides)
    os.environ.update(loaded.env)  # for this process and its children
    composer = _composer(loaded)
    parsed = _space(loaded, composer)
    points.check(composer, loaded, parsed)
    first = points.representatives(parsed)[0]  # an open group needs a choice
    words = [*loaded.overrides, *parsed.overrides(first)]
    plain = composer.plain(words)
    if "seeds" not in loaded.model_fields_set:
        asked = composer.seed(words)
        loaded = loaded.model_copy(
            update={"seeds": (defaults.SEED if asked is None else asked,)}
        )
        parsed = space.parse(loaded, composer.groups())  # shuffles by the seed
    algorithms.search(loaded)
    scheduler = algorithms.scheduler(loaded)
    folder = (sweeps / loaded.name).absolute()
    if has_sweep:
        _check_sweep(loaded, parsed, SweepPaths(folder))
    return Plan(
        experiment=loaded,
        space=parsed,
        folder=folder,
        seed_key=seed_key(plain),
        num_trials=_num_trials(loaded, parsed, scheduler),
        batch=_batch_keys(plain),
        epochs=_epochs(plain, parsed.parameters),
        workers={
            key: value for key, value in _integers(plain) if key.endswith(WORKERS)
        },
    )


def _composer(loaded: Experiment) -> Composer:
    """Return the composer of the project's configs; check that its target exists."""
    config = loaded.project / loaded.config
    if "target" not in loaded.model_fields_set and not is_packaged(config):
        raise loaded.error(
            ("target",),
            f"target: missing; {loaded.config} is no config of sweeper's own, so the "
            "file must name the function to call with the config; add the line "
            "target: my_project.train:main",
        )
    try:
        targets.check(loaded.target, loaded.project)
    except TargetError as error:
        raise loaded.error(("target",), str(error)) from error
    try:
        return points.composer(loaded)
    except ConfigError as error:
        message = str(error)
        if config.is_dir():
            files = ", ".join(sorted(file.name for file in config.glob("*.yaml")))
            message = (
                f"{config} is a folder; it must be the primary config, a file such as "
                f"{loaded.config.rstrip('/')}/train.yaml; in it: {files or 'none'}"
            )
        raise loaded.error(("config",), f"config: {message}") from error


def _space(loaded: Experiment, composer: Composer) -> Space:
    """Return the search space; report a wrong key in it before errors that follow.

    If the space has a wrong key, a baseline, known point or condition with the right
    one fails first. The space is then checked without them, to find the wrong key.
    """
    try:
        return space.parse(loaded, composer.groups())
    except ExperimentError:
        alone = {"search_space": _without_conditions(loaded.search_space)}
        bare = loaded.model_copy(
            update={**alone, "where": "", "baseline": {}, "enqueue": ()}
        )
        points.check(composer, bare, space.parse(bare, composer.groups()))
        raise


def _check_sweep(loaded: Experiment, parsed: Space, paths: SweepPaths) -> None:
    """Raise the errors that the driver and the journal would raise later."""
    recovery.is_replaced(loaded, paths)
    warm_start.check(loaded, parsed, paths)


def _without_conditions(given: object) -> object:
    if isinstance(given, tuple):
        return tuple(map(_without_conditions, given))
    if not isinstance(given, Mapping):
        return given
    return {
        key: item["values"]
        if isinstance(item, Mapping) and item.keys() == {"when", "values"}
        else item
        for key, item in given.items()
    }


def _batch_keys(config: Mapping[str, object]) -> BatchKeys:
    found = dict(_integers(config))
    batch = next((key for key in found if memory.is_batch(key)), "")
    steps = next((key for key in found if key.endswith(ACCUMULATION)), "")
    return BatchKeys(
        batch=batch,
        accumulation=steps,
        batch_size=found.get(batch, 0),
        accumulate=found.get(steps, 1),
    )


def _epochs(config: Mapping[str, object], swept: Iterable[Parameter]) -> int:
    """Return the epochs that a config trains for, the largest number if it is swept.

    >>> _epochs({"warmup": {"epochs": 1}, "trainer": {"max_epochs": 3}}, ())
    3
    """
    found = {
        key: count
        for name in reversed(EPOCHS)
        for key, count in _integers(config)
        if key.rpartition(".")[2] == name
    }
    if not found:
        return 0
    key, count = list(found.items())[-1]
    choices = [p.choices for p in swept if p.name == key]
    numbers = [int(c) for values in choices for c in values if isinstance(c, int)]
    return max([count, *numbers] if not choices else numbers, default=count)


def _integers(config: Mapping[str, object]) -> list[tuple[str, int]]:
    """Return every integer of a config with its dotted key."""
    return [(key, value) for key, value in leaves(config) if type(value) is int]


def _num_trials(loaded: Experiment, parsed: Space, scheduler: Scheduler) -> int:
    limit = loaded.budget.trials
    scheduler.check(loaded, parsed)
    if scheduler.num_trials is not None:
        return min(scheduler.num_trials, limit or scheduler.num_trials)
    if limit is not None and limit <= loaded.confirm.trials:
        raise loaded.error(
            ("budget", "trials"),
            f"budget.trials: {limit} trials, of which confirm takes "
            f"{loaded.confirm.trials}; there must be some before it; raise it",
        )
    if parsed.size is None:
        if limit is None:
            raise loaded.error(
                ("search",),
                f"search: {loaded.search!r} on a space without an end; the number of "
                "trials must be bounded; set budget: {trials: 40}",
            )
        return limit
    finalists = min(parsed.size, loaded.confirm.top)
    total = parsed.size * len(loaded.seeds) + finalists * loaded.confirm.seeds
    return total if limit is None else min(limit, total)


# ---- epochs of finished trials compared with the config's epochs now


def compare_epochs(plan: Plan) -> Plan:
    """Return the plan with the complete trials whose config has more epochs now.

    The epochs may change in the experiment file's overrides or in a config file.

    Raises:
        ExperimentChangedError: the config has fewer epochs than trials have trained
            for, so new trials would be ranked beside longer ones.
    """
    paths, loaded = SweepPaths(plan.folder), plan.experiment
    if not any(paths.folder.glob("trials/*/config.yaml")):
        return plan
    trials = store.Reader(loaded, plan.folder).sweep().trials
    started = [trial for trial in trials if trial.values]
    trained = {trial.id: _trained(paths.trial(trial.id)) for trial in started}
    keys = {
        key
        for trial in started
        for key, count in trained[trial.id].items()
        # Another key may count a part of the training, such as `warmup.epochs`.
        if key.rpartition(".")[2] == EPOCHS[0] or count == trial.last_epoch
    }
    points_now = [trial.params for trial in started]
    configs = points.configs(points.composer(loaded), loaded, plan.space, points_now)
    outgrown = []
    for trial, (_, config) in zip(started, configs, strict=True):
        before, now = trained[trial.id], _epochs_of(config)
        for key in keys & before.keys() & now.keys():
            if now[key] < before[key]:
                raise ExperimentChangedError(
                    f"{loaded.config}: {key} is {now[key]} now; trial "
                    f"{trial.id} of {plan.folder} trained with {before[key]}, and "
                    "shorter trials would be ranked beside it; undo the change, or "
                    "start a new sweep: --fork NAME"
                )
            if now[key] > before[key] and trial.state is State.COMPLETE:
                outgrown.append(trial.id)
    return replace(plan, outgrown=frozenset(outgrown))


def _epochs_of(config: Mapping[str, object]) -> dict[str, int]:
    """Return every number of epochs of a composed config, by its key."""
    counts = {}
    for key, value in leaves(config):
        if key.rpartition(".")[2] in EPOCHS:
            if isinstance(value, str):
                # Some values can be resolved only in the trial's process.
                with contextlib.suppress(OmegaConfBaseException):
                    value = OmegaConf.select(OmegaConf.create(dict(config)), key)
            if type(value) is int:
                counts[key] = value
    return counts


def _trained(paths: TrialPaths) -> dict[str, int]:
    """Return the numbers of epochs in the config of a trial's last start, by key.

    It reads lines, since a YAML parser takes seconds for some hundred trials.
    """
    counts: dict[str, int] = {}
    parents: list[str] = []
    text = paths.config.read_text(encoding="utf-8") if paths.config.exists() else ""
    for line in text.splitlines():
        if matched := CONFIG_LINE.match(line):
            indent, name, value = matched.groups(default="")
            parents[len(indent) // 2 :] = [name]
            if name in EPOCHS and value.isdecimal():
                counts[".".join(parents)] = int(value)
    return counts


def headline(plan: Plan) -> str:
    """Return the first lines of `run`: the trials, their settings and the folder."""
    loaded = plan.experiment
    swept = ", ".join(dict.fromkeys(p.name for p in plan.space.parameters))
    started = any(SweepPaths(plan.folder).trials.glob("*/metrics.jsonl"))
    return (
        f"{'resume' if started else 'sweep'} {loaded.name}: "
        f"{plan.num_trials} trials of {loaded.target} over {swept}\n"
        f"objective {', '.join(map(str, loaded.objectives))}, "
        f"search {_name(loaded.search)}, scheduler {_name(loaded.scheduler)}, "
        f"seeds {', '.join(map(str, loaded.seeds))}\n"
        f"folder {plan.folder}"
    )


def summary(plan: Plan) -> dict[str, object]:
    """Return the main figures of a plan as plain data."""
    return {
        "name": plan.experiment.name,
        "folder": str(plan.folder),
        "trials": plan.num_trials,
        "objectives": [o.model_dump() for o in plan.experiment.objectives],
    }


def _name(config: object) -> str:
    if isinstance(config, str):
        return config
    assert isinstance(config, dict)  # noqa: S101  # the file's model admits no other
    return str(config.get("_target_"))

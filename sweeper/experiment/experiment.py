"""The experiment file, validated, with the line of each of its keys.

Groups, points and targets are checked by the modules that know them, which raise
through `Experiment.error`.
"""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SkipValidation, ValidationError

from sweeper.experiment import (
    assignments,
    defaults,
    hydra_sweeper,
    validation,
    yaml_lines,
)
from sweeper.experiment.key_names import EPOCHS
from sweeper.experiment.sections import (
    Budget,
    CheckpointTimes,
    Confirm,
    Disk,
    Duration,
    Env,
    Estimate,
    Frozen,
    Name,
    Objective,
    Objectives,
    Oom,
    Plugin,
    Prices,
    Resources,
    Retention,
    Retry,
    SearchSpace,
    Seeds,
    Target,
    Text,
    WandbSettings,
    short_wandb,
)
from sweeper.experiment.yaml_lines import Location
from sweeper.system.errors import ExperimentError, nearest
from sweeper.system.paths import project_root


class Experiment(Frozen):
    """An experiment file; only `search_space` and `objective` are always required.

    `target`: may be left out with sweeper's own configs only. `seeds`: a plan takes the
    seed of the composed config if the file has none.
    """

    name: Name = Field(examples=["lr_sweep"])
    notes: str = ""
    target: Target = Field(default=defaults.TARGET, examples=["my_project.train:main"])
    config: Text = Field(default=defaults.CONFIG, examples=["conf/train.yaml"])
    overrides: tuple[str, ...] = Field(
        default=(), examples=["[model=resnet18, trainer.max_epochs=20]"]
    )
    search_space: SearchSpace = Field(
        examples=["{model: 'resnet18, resnet50', data.batch_size: [32, 64]}"]
    )
    variants: Mapping[str, tuple[str, ...]] = Field(
        default_factory=dict, examples=["{plain: [], smooth: [model.smoothing=0.1]}"]
    )
    where: str = Field(default="", examples=['"data.batch_size <= 64"'])
    baseline: Mapping[str, object] = Field(
        default_factory=dict, examples=["{model: resnet18, data.batch_size: 64}"]
    )
    enqueue: tuple[Mapping[str, object], ...] = Field(
        default=(), examples=["[{model: resnet18, data.batch_size: 64}]"]
    )
    warm_start: str = Field(default="", examples=["lr_sweep"])
    seeds: Seeds = Field(default=(defaults.SEED,), examples=["[42, 43, 44]"])
    confirm: Confirm = Field(default=Confirm(), examples=["{top: 3, seeds: 5}"])
    objectives: Objectives = Field(
        alias="objective", examples=["{metric: val/acc_top1, mode: max}"]
    )
    search: Plugin = Field(default="grid", examples=["tpe"])
    scheduler: Plugin = Field(default="none", examples=["asha"])
    budget: Budget = Field(default=Budget(), examples=["{trials: 40, gpu_hours: 12}"])
    resources: Resources = Field(default=Resources(), examples=["{gpus: 0.25}"])
    retry: Retry = Field(default=Retry(), examples=["{oom: 2, lost: 3, error: 0}"])
    timeout: Duration | None = Field(default=None, examples=["10m"])
    oom: Oom = Field(default=Oom(), examples=["{shrink_batch: true}"])
    price: Prices = Field(default_factory=dict, examples=["{T4: 0.35}"])
    estimate: Estimate = Field(default=Estimate(), examples=["{examples: 6300}"])
    wandb: Annotated[
        WandbSettings,
        BeforeValidator(
            short_wandb, json_schema_input_type=WandbSettings | str | bool | None
        ),
    ] = Field(
        default=WandbSettings(), examples=["{project: jersey-numbers, mode: auto}"]
    )
    checkpoint: CheckpointTimes = Field(
        default=CheckpointTimes(), examples=["{every_minutes: 10}"]
    )
    checkpoints: Retention = Field(
        default=Retention(), examples=["{keep_best: 3, keep_last: running}"]
    )
    disk: Disk = Field(default=None, examples=["50GB"])
    env: Env = Field(default_factory=dict, examples=["{OMP_NUM_THREADS: 1}"])
    preflight: Literal["auto"] | bool = "auto"
    chdir: bool = False
    project: Path = Field(strict=False, examples=[".."])

    # Where it was read from; not a part of the file.
    path: Path = Field(exclude=True)
    lines: Annotated[Mapping[Location, int], SkipValidation] = Field(exclude=True)

    @property
    def spaces(self) -> tuple[Mapping[str, object], ...]:
        """The spaces of the file, mostly one."""
        spaces = self.search_space
        return spaces if isinstance(spaces, tuple) else (spaces,)

    @property
    def objective(self) -> Objective:
        """The first objective: it chooses a trial's best epoch."""
        return self.objectives[0]

    def error(self, location: Location, message: str) -> ExperimentError:
        """Return an error at the line of `location`, or of its nearest known parent."""
        return _error_at(self.path, self.lines, location, message)


def _error_at(
    path: Path, lines: Mapping[Location, int], location: Location, message: str
) -> ExperimentError:
    parents = (location[:end] for end in range(len(location), 0, -1))
    line = next((lines[parent] for parent in parents if parent in lines), 0)
    if line == assignments.COMMAND_LINE:
        return ExperimentError(Path("command line"), 0, message)
    return ExperimentError(path, line, message)


def load(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment file.

    Args:
        path: the experiment file.
        overrides: `key=value` each, as on the command line. A key of the experiment
            file changes the experiment; any other is a Hydra override of all trials.

    Raises:
        ExperimentError: with the line of the first problem; its message lists all.
    """
    document = yaml_lines.read(path)
    if not isinstance(document.data, dict):
        kind = "empty" if document.data is None else "not a mapping"
        raise ExperimentError(
            path,
            0,
            f"the file is {kind}; it needs at least search_space and objective",
        )
    data: dict[str, object] = document.data
    lines = dict(document.lines)
    keys = validation.keys(Experiment)
    assignments.apply(overrides, data=data, lines=lines, keys=keys)
    for key, message in hydra_sweeper.problems(data).items():
        raise _error_at(path, lines, (key,), message)
    _split_seeds(data, lines)
    data = {key: _frozen(value) for key, value in data.items()}
    data.setdefault("name", path.stem)
    root = project_root(path)
    project = data.get("project", "")
    data["project"] = root / project if isinstance(project, str) else project
    problems: dict[Location, str] = {
        (key,): f"unknown key {key!r}; {nearest(key, keys)}"
        for key in ("path", "lines")
        if key in data
    }
    try:
        experiment = Experiment.model_validate({**data, "path": path, "lines": lines})
    except ValidationError as error:
        problems |= validation.problems(error, Experiment, lines)
        raise _all(path, lines, problems) from error
    if experiment.budget.cost is not None and not experiment.price:
        problems["budget", "cost"] = (
            f"budget.cost: {experiment.budget.cost:g} needs the price of a card for an "
            "hour; add it, such as `price: {T4: 0.35}`"
        )
    if problems:
        raise _all(path, lines, problems)
    return experiment


def _split_seeds(data: dict[str, object], lines: dict[Location, int]) -> None:
    """Replace `seeds: {values: ..., confirm: ...}` by the two keys."""
    section = data.get("seeds")
    names = {"values": "seeds", "confirm": "confirm"}
    if not isinstance(section, dict) or not section.keys() <= names.keys():
        return
    del data["seeds"]
    data |= {names[key]: value for key, value in section.items()}
    for location in [loc for loc in lines if loc[:1] == ("seeds",) and loc[1:]]:
        lines[(names[str(location[1])], *location[2:])] = lines[location]


def _frozen(value: object) -> object:
    """Return a value with tuples for its lists."""
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _all(
    path: Path, lines: Mapping[Location, int], problems: Mapping[Location, str]
) -> ExperimentError:
    """Return one error with every problem, by line.

    A key that is missing comes last: it may be one that is misspelt.
    """
    errors = [
        _error_at(path, lines, location, problems[location]) for location in problems
    ]
    errors.sort(key=lambda e: (e.line or math.inf, ": missing; " in e.message))
    first, *rest = errors
    message = "\n".join([first.message, *map(str, rest)])
    return ExperimentError(first.path, first.line, message)


def dump(experiment: Experiment) -> str:
    """Return YAML text that `load` reads back as the same experiment.

    A project that is not the one around the file is written relative to that one.
    """
    data = experiment.model_dump(by_alias=True)
    if len(experiment.objectives) == 1:
        data["objective"] = data["objective"][0]
    root = project_root(experiment.path)
    if experiment.project == root:
        del data["project"]
    else:
        data["project"] = os.path.relpath(experiment.project, root)
    return yaml_lines.to_yaml(data)


def identity(experiment: Experiment) -> Mapping[str, object]:
    """Return the settings on which the comparison of two trials depends."""
    return {
        "target": experiment.target,
        "config": os.path.normpath(experiment.config),
        "overrides": experiment.overrides,
        "objective.metric": ", ".join(o.metric for o in experiment.objectives),
        "objective.mode": ", ".join(o.mode for o in experiment.objectives),
    }


def epochs(experiment: Experiment) -> dict[str, int]:
    """Return the number of epochs by the key of the override that sets it."""
    words = (override.lstrip("+").partition("=") for override in experiment.overrides)
    return {
        key: int(value)
        for key, _, value in words
        if key.rpartition(".")[2] in EPOCHS and value.isdecimal()
    }


def changes(old: Experiment, new: Experiment) -> tuple[str, ...]:
    """Return one line for each difference of the two identities.

    More epochs are not a difference: complete trials train on.
    """
    before, after = identity(old), identity(new)
    lines = [
        f"{key}: {before[key]!r} -> {after[key]!r}"
        for key in before
        if key != "overrides" and before[key] != after[key]
    ]
    past = epochs(old)
    grown = {
        key for key, count in epochs(new).items() if count >= past.get(key, count + 1)
    }
    was, now = (
        [o for o in e.overrides if o.lstrip("+").partition("=")[0] not in grown]
        for e in (old, new)
    )
    removed = [o for o in was if o not in now]
    added = [o for o in now if o not in was]
    lines += [f"overrides: - {override}" for override in removed]
    lines += [f"overrides: + {override}" for override in added]
    if was != now and not removed and not added:
        lines.append(f"overrides: {was} -> {now}")
    return tuple(lines)


def schema() -> dict[str, Any]:  # JSON
    """Return the JSON schema of the experiment file, for editors.

    It accepts everything that `load` accepts.
    """
    made = Experiment.model_json_schema(mode="validation")
    for key in ("path", "lines"):
        made["properties"].pop(key, None)
    made["properties"]["project"] = {"type": "string", "examples": [".."]}
    values = made["properties"]["seeds"]
    del values["default"]  # it is the seed of the config, if there is one
    confirm = made["properties"].pop("confirm")
    both = {"values": {"anyOf": values["anyOf"]}, "confirm": confirm}
    values["anyOf"] = [
        *values["anyOf"],
        {"type": "object", "properties": both, "additionalProperties": False},
    ]
    made["required"] = ["search_space", "objective"]
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["title"] = "sweeper experiment"
    return made

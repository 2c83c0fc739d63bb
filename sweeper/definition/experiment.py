"""The experiment file, validated, with the line of each of its keys.

It reads that one YAML file and nothing else; groups, points and targets are
checked by the modules that know them, which raise through `Experiment.error`.
"""

import math
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SkipValidation, ValidationError

from sweeper import defaults
from sweeper.definition import assignments, hydra_sweeper, validation, yaml_marks
from sweeper.definition.fields import (
    Disk,
    Duration,
    Env,
    Name,
    Plugin,
    Prices,
    SearchSpace,
    Seeds,
    Target,
    Text,
)
from sweeper.definition.settings import (
    Budget,
    CheckpointTimes,
    Confirm,
    Estimate,
    Frozen,
    Objective,
    Objectives,
    Oom,
    Resources,
    Retention,
    Retry,
    WandbSettings,
    short_wandb,
)
from sweeper.definition.yaml_marks import Location
from sweeper.errors import ExperimentError, nearest
from sweeper.host.paths import project_root

# Last part of an override that says for how many epochs a trial trains.
EPOCHS = ("max_epochs", "num_epochs", "n_epochs", "epochs")


class Experiment(Frozen):
    """One experiment file; only `search_space` and `objective` are always required.

    `target`: may be left out with sweeper's own configs only. `seeds`: a plan takes the
    seed of the composed config where the file has none.
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
    storage: str | None = Field(default=None, examples=["sqlite:///sweep.db"])
    project: Path = Field(strict=False, examples=[".."])

    # Where it was read from; not a part of the file.
    path: Path = Field(exclude=True)
    lines: Annotated[Mapping[Location, int], SkipValidation] = Field(exclude=True)

    @property
    def spaces(self) -> tuple[Mapping[str, object], ...]:
        """The search space, or each one of a list."""
        given = self.search_space
        return given if isinstance(given, tuple) else (given,)

    @property
    def objective(self) -> Objective:
        """The first objective: it chooses a trial's best epoch."""
        return self.objectives[0]

    def error(self, location: Location, message: str) -> ExperimentError:
        """An error at the line of `location`, or of its nearest known parent."""
        return _error_at(self.path, self.lines, location, message)


def _error_at(
    path: Path, lines: Mapping[Location, int], location: Location, message: str
) -> ExperimentError:
    known = (location[:end] for end in range(len(location), 0, -1))
    line = next((lines[place] for place in known if place in lines), 0)
    if line == assignments.COMMAND_LINE:
        return ExperimentError(Path("command line"), 0, message)
    return ExperimentError(path, line, message)


def load(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment that a file describes.

    Args:
        path: the experiment file.
        overrides: `key=value` each, as on the command line. A key of the experiment
            file changes the experiment; any other is a Hydra override of all trials.

    Raises:
        ExperimentError: with the line of the first problem; its message lists all.
    """
    document = yaml_marks.read(path)
    if not isinstance(document.data, dict):
        kind = "empty" if document.data is None else "not a mapping"
        raise ExperimentError(
            path,
            0,
            f"the file is {kind}; it needs at least search_space and objective",
        )
    data: dict[str, object] = document.data
    lines = dict(document.lines)
    known = validation.keys(Experiment)
    assignments.apply(overrides, data=data, lines=lines, known=known)
    for key, message in hydra_sweeper.problems(data).items():
        raise _error_at(path, lines, (key,), message)
    _split_seeds(data, lines)
    data = {key: _frozen(value) for key, value in data.items()}
    data.setdefault("name", path.stem)
    root = project_root(path)
    project = data.get("project", "")
    data["project"] = root / project if isinstance(project, str) else project
    found: dict[Location, str] = {
        (key,): f"unknown key {key!r}; {nearest(key, known)}"
        for key in ("path", "lines")
        if key in data
    }
    try:
        experiment = Experiment.model_validate({**data, "path": path, "lines": lines})
    except ValidationError as error:
        found |= validation.problems(error, Experiment, lines)
        raise _all(path, lines, found) from error
    if experiment.budget.cost is not None and not experiment.price:
        found["budget", "cost"] = (
            f"budget.cost: {experiment.budget.cost:g} needs the price of a card for an "
            "hour; add it, such as `price: {T4: 0.35}`"
        )
    if found:
        raise _all(path, lines, found)
    return experiment


def _split_seeds(data: dict[str, object], lines: dict[Location, int]) -> None:
    """`seeds: {values: ..., confirm: ...}` as the two keys that it stands for."""
    given = data.get("seeds")
    if not isinstance(given, dict) or not given.keys() <= {"values", "confirm"}:
        return
    del data["seeds"]
    for key, name in (("values", "seeds"), ("confirm", "confirm")):
        if key in given:
            data[name] = given[key]
    for place in [place for place in lines if place[:1] == ("seeds",)]:
        if len(place) > 1:
            start = ("seeds",) if place[1] == "values" else ("confirm",)
            lines[(*start, *place[2:])] = lines[place]


def _frozen(value: object) -> object:
    """Lists as tuples, which the model keeps."""
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _all(
    path: Path, lines: Mapping[Location, int], found: Mapping[Location, str]
) -> ExperimentError:
    """One error with every problem, in the file's order; what is missing comes last."""
    errors = [_error_at(path, lines, place, found[place]) for place in found]
    first, *rest = sorted(errors, key=_order)
    message = "\n".join([first.message, *map(str, rest)])
    return ExperimentError(first.path, first.line, message)


def _order(error: ExperimentError) -> tuple[float, bool]:
    """By line; a misspelt key comes before the key that is missing for it."""
    return (error.line or math.inf, ": missing; " in error.message)


def dump(experiment: Experiment) -> str:
    """YAML text that `load` reads back as the same experiment.

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
    return yaml_marks.to_yaml(data)


def identity(experiment: Experiment) -> Mapping[str, object]:
    """What makes values of two runs comparable: it may not change within a sweep."""
    return {
        "target": experiment.target,
        "config": os.path.normpath(experiment.config),
        "overrides": experiment.overrides,
        "objective.metric": ", ".join(o.metric for o in experiment.objectives),
        "objective.mode": ", ".join(o.mode for o in experiment.objectives),
    }


def epochs(experiment: Experiment) -> dict[str, int]:
    """How long trials train, by the key of the override that says so.

    >>> _epochs_of(("trainer.max_epochs=3", "lr=0.1"))
    {'trainer.max_epochs': 3}
    """
    return _epochs_of(experiment.overrides)


def _epochs_of(overrides: Sequence[str]) -> dict[str, int]:
    pairs = (override.lstrip("+").partition("=")[::2] for override in overrides)
    return {
        key: int(value)
        for key, value in pairs
        if key.rpartition(".")[2] in EPOCHS and value.isdecimal()
    }


def changes(old: Experiment, new: Experiment) -> tuple[str, ...]:
    """One line for each difference of the two identities; () where they are one.

    More epochs are no difference: trials go on from where they are.
    """
    before, after = identity(old), identity(new)
    lines = [
        f"{key}: {before[key]!r} -> {after[key]!r}"
        for key in before
        if key != "overrides" and before[key] != after[key]
    ]
    grown = {
        key
        for key, count in epochs(new).items()
        if count >= epochs(old).get(key, count + 1)
    }
    was, now = _without(old.overrides, grown), _without(new.overrides, grown)
    removed = [o for o in was if o not in now]
    added = [o for o in now if o not in was]
    lines += [f"overrides: - {override}" for override in removed]
    lines += [f"overrides: + {override}" for override in added]
    if was != now and not removed and not added:
        lines.append(f"overrides: {was} -> {now}")
    return tuple(lines)


def _without(overrides: Sequence[str], keys: Collection[str]) -> list[str]:
    return [o for o in overrides if o.lstrip("+").partition("=")[0] not in keys]

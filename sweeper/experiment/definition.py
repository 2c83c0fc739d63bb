"""Sections of the experiment file and the types of their values.

Other modules check groups, points and targets, and raise with `Experiment.error`.
"""

import math
import os
import re
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SkipValidation,
)

from sweeper.experiment import defaults
from sweeper.experiment.yaml_lines import Location
from sweeper.system.errors import ExperimentError
from sweeper.system.redaction import is_secret
from sweeper.system.targets import is_program

COMMAND_LINE = -1  # the "line" of a value that the command line sets
# Prefixes of overrides for Hydra's own sweeper.
HYDRA_SWEEPER = ("hydra/sweeper", "hydra/launcher", "hydra.sweeper", "hydra.launcher")
HYDRA_ADVICE = (
    "write its params under search_space:, n_trials under budget: {trials: ...} and "
    "direction under objective:"
)

# Limits of wandb.Settings, which checks them only at the first trial.
WANDB_PROJECT = 128  # characters
WANDB_REFUSED = "/\\#?%:"
WANDB_TAG = 64  # characters
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DURATION = re.compile(
    r"(?=\d)(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?"
)
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([MGT]i?B)")
UNITS = {
    **{"MB": 10**6, "GB": 10**9, "TB": 10**12},
    **{"MiB": 2**20, "GiB": 2**30, "TiB": 2**40},
}
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(
            "must be up to 100 letters, digits, '-', '_' or '.' that start with a "
            "letter or digit (it names a folder)"
        )
    return name


def _check_target(target: str) -> str:
    if not _TARGET.fullmatch(target) and not is_program(target):
        raise ValueError(
            "must be module:function, or a program such as [python, train.py]"
        )
    return target


def _program(target: object) -> object:
    if not isinstance(target, list | tuple):
        return target
    words = [word for word in target if isinstance(word, str) and word]
    return shlex.join(words) if len(words) == len(target) else target


def _check_seeds(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError("must be at least one seed, none of them twice")
    return seeds


def _check_plugin(plugin: str | Mapping[str, object]) -> str | Mapping[str, object]:
    if isinstance(plugin, Mapping) and not isinstance(plugin.get("_target_"), str):
        raise ValueError("must be a name or a mapping with _target_: module.Class")
    return plugin


def _check_gpus(gpus: float | str) -> float | str:
    if isinstance(gpus, float) and (gpus < 0 or (gpus > 1 and gpus % 1)):
        raise ValueError(
            "must be auto, 0, a share of one GPU (0 to 1) or a whole number"
        )
    return gpus


def _check_env(env: Mapping[str, str]) -> Mapping[str, str]:
    for name, value in env.items():
        if not _ENV_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a variable")
        if is_secret(name, value):
            raise ValueError(
                f"must hold no secret such as {name!r}, which would be written to the "
                "sweep's folder (export it in the shell that runs sweeper)"
            )
    return env


def _seconds(value: object) -> object:
    """Return `90`, `90s`, `10m`, `1h30m` in seconds, and other values unchanged."""
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        parts = zip(match.groups(), (3600, 60, 1), strict=True)
        return sum(float(number) * unit for number, unit in parts if number)
    return value


def _check_seconds(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError(
            "must be a positive duration: seconds, or text such as 90s, 10m, 1h30m"
        )
    return seconds


def _single(value: object) -> object:
    return (value,) if isinstance(value, int) else value


def _none(value: object) -> object:
    return "none" if value is None else value


def _words(env: object) -> object:
    """Return `env` with integers as text; 1.0 and true have more than one spelling."""
    if not isinstance(env, Mapping):
        return env
    return {key: str(v) if type(v) is int else v for key, v in env.items()}


def _bytes(size: object) -> object:
    """Convert a size such as 50GB to a number of bytes."""
    if size is None or type(size) is int:
        return size
    match = _SIZE.fullmatch(str(size))
    if match is None:
        raise ValueError(f"must be a number of bytes, or one with {', '.join(UNITS)}")
    return int(float(match[1]) * UNITS[match[2]])


def _check_spaces(space: object) -> object:
    spaces = space if isinstance(space, tuple) else (space,)
    if not all(isinstance(item, Mapping) for item in spaces):
        raise ValueError(
            "must be a mapping of keys to values, or a list of such mappings"
        )
    return space


Text: TypeAlias = Annotated[str, Field(min_length=1)]
Spaces: TypeAlias = Mapping[str, object] | tuple[Mapping[str, object], ...]
SearchSpace: TypeAlias = Annotated[
    Spaces, BeforeValidator(_check_spaces, json_schema_input_type=Spaces)
]
Name: TypeAlias = Annotated[str, AfterValidator(_check_name)]
Target: TypeAlias = Annotated[
    str, BeforeValidator(_program), AfterValidator(_check_target)
]
Plugin: TypeAlias = Annotated[
    str | Mapping[str, object],
    BeforeValidator(_none, json_schema_input_type=str | Mapping[str, object] | None),
    AfterValidator(_check_plugin),
]
Seed: TypeAlias = Annotated[int, Field(ge=0, lt=2**32)]
Seeds: TypeAlias = Annotated[
    tuple[Seed, ...],
    BeforeValidator(_single, json_schema_input_type=tuple[Seed, ...] | Seed),
    AfterValidator(_check_seeds),
]
Gpus: TypeAlias = Annotated[float | Literal["auto"], AfterValidator(_check_gpus)]
Cpus: TypeAlias = Annotated[float, Field(gt=0)] | Literal["auto"]
Prices: TypeAlias = Mapping[str, Annotated[float, Field(ge=0)]]
Disk: TypeAlias = Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_bytes)]
Env: TypeAlias = Annotated[
    Mapping[str, str],
    BeforeValidator(_words, json_schema_input_type=Mapping[str, str | int]),
    AfterValidator(_check_env),
]
Duration: TypeAlias = Annotated[
    float,
    BeforeValidator(_seconds, json_schema_input_type=float | str),
    AfterValidator(_check_seconds),
]


class Frozen(BaseModel):
    """A frozen section of the file, without unknown keys or conversion of types."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, strict=True
    )


class Objective(Frozen):
    """The metric that ranks trials, as the project logs it."""

    metric: Text = Field(examples=["val/acc_top1"])
    mode: Literal["max", "min"] = "max"
    validation_size: int = Field(default=0, ge=0, examples=[372])

    def loss(self, value: float) -> float:
        """Return the value, negated for mode max, so that smaller is better."""
        return -value if self.mode == "max" else value

    def __str__(self) -> str:
        return f"{self.metric} ({self.mode})"


def _listed(value: object) -> object:
    if isinstance(value, Mapping):
        return (value,)
    if not isinstance(value, tuple):
        raise ValueError("must be a mapping with metric and mode, or a list of such")
    return value


def _check_objectives(objectives: tuple[Objective, ...]) -> tuple[Objective, ...]:
    if not objectives or len({o.metric for o in objectives}) < len(objectives):
        raise ValueError("must be at least one objective, no metric twice")
    return objectives


Objectives: TypeAlias = Annotated[
    tuple[Objective, ...],
    BeforeValidator(_listed, json_schema_input_type=Objective | tuple[Objective, ...]),
    AfterValidator(_check_objectives),
]


class Confirm(Frozen):
    """Finalists: the best `top` suggestions run again, each on `seeds` fresh seeds."""

    top: int = Field(default=0, ge=0, examples=[3])
    seeds: int = Field(default=5, ge=2, le=1000, examples=[5])

    @property
    def trials(self) -> int:
        """Number of trials that the finalists add to a sweep."""
        return self.top * self.seeds


class Budget(Frozen):
    """Limits of a sweep, summed over all of its starts; None is unlimited.

    `target`: value of the objective that ends the sweep. `patience`: number of
    consecutive trials without a new best value that ends it.
    """

    trials: int | None = Field(default=None, ge=1, examples=[40])
    gpu_hours: float | None = Field(default=None, gt=0, examples=[12])
    wall_hours: float | None = Field(default=None, gt=0, examples=[8])
    cost: float | None = Field(default=None, gt=0, examples=[20])
    target: float | None = Field(default=None, examples=[0.97])
    patience: int | None = Field(default=None, ge=1, examples=[15])


class Resources(Frozen):
    """Demand of one trial; `auto` is resolved for the machine."""

    gpus: Gpus = Field(default="auto", examples=["auto", 0.25])
    cpus: Cpus = Field(default="auto", examples=["auto", 2])
    accelerator: str = Field(default="", examples=["T4"])
    max_per_gpu: int = Field(default=16, ge=1, le=16, examples=[4])


class Oom(Frozen):
    """Permissions for a trial that does not fit in the memory of a whole card."""

    shrink_batch: bool = False


class Estimate(Frozen):
    """Inputs of `plan` that are unknown before a trial has run; None if not given.

    `examples`: size of the training split. `step_seconds`: seconds per training step
    when a trial has a card to itself.
    """

    examples: int | None = Field(default=None, ge=1, examples=[6300])
    epochs: int | None = Field(default=None, ge=1, examples=[20])
    step_seconds: float | None = Field(default=None, gt=0, examples=[0.2])


class CheckpointTimes(Frozen):
    """Times of saves within an epoch; a trial also saves between epochs."""

    every_steps: int | None = Field(default=None, ge=1, examples=[500])
    every_minutes: float | None = Field(default=None, gt=0, examples=[10])


class Retention(Frozen):
    """Retention of checkpoints; `all` keeps the checkpoints of every trial."""

    keep_best: Annotated[int, Field(ge=1)] | Literal["all"] = Field(
        default="all", examples=[3, "all"]
    )
    keep_last: Literal["all", "running"] = Field(default="all", examples=["running"])


class Retry(Frozen):
    """Number of new attempts after each kind of failure."""

    oom: int = Field(default=2, ge=0)
    lost: int = Field(default=3, ge=0)
    timeout: int = Field(default=0, ge=0)
    nan: int = Field(default=0, ge=0)
    error: int = Field(default=0, ge=0)


def short_wandb(value: object) -> object:
    """Return `wandb: none` or `wandb: offline` as a mapping."""
    if value is None or value is False:  # null, off
        return {"mode": "none"}
    return {"mode": value} if isinstance(value, str) else value


def _check_project(project: str) -> str:
    if len(project) > WANDB_PROJECT or set(project) & set(WANDB_REFUSED):
        raise ValueError(
            f"must be up to {WANDB_PROJECT} characters without any of "
            f"{' '.join(WANDB_REFUSED)} (W&B refuses others)"
        )
    return project


def _check_tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    if not all(0 < len(tag) <= WANDB_TAG for tag in tags):
        raise ValueError(
            f"must be tags of 1 to {WANDB_TAG} characters (W&B refuses others)"
        )
    return tags


class WandbSettings(Frozen):
    """Settings of the W&B runs of a sweep; with `mode: none` there are no runs.

    `project` and `entity`: with "" the values of the project's own logger are used.
    """

    mode: Literal["auto", "online", "offline", "none"] = "auto"
    project: Annotated[str, AfterValidator(_check_project)] = Field(
        default="", examples=["jersey-numbers"]
    )
    entity: str = ""
    tags: Annotated[tuple[str, ...], AfterValidator(_check_tags)] = Field(
        default=(), examples=["[phase-13]"]
    )
    sweep_page: bool = False  # attach the runs to a native Sweep page, online only


class Experiment(Frozen):
    """An experiment file; only `search_space` and `objective` are always required.

    `target` is optional only with sweeper's own configs. If the file has no `seeds`, a
    plan takes the seed of the composed config.
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

    # Origin of the values; not keys of the file.
    path: Path = Field(exclude=True)
    lines: Annotated[Mapping[Location, int], SkipValidation] = Field(exclude=True)

    @property
    def spaces(self) -> tuple[Mapping[str, object], ...]:
        """The search spaces of the file, usually one."""
        spaces = self.search_space
        return spaces if isinstance(spaces, tuple) else (spaces,)

    @property
    def objective(self) -> Objective:
        """The first objective, which chooses the best epoch of a trial."""
        return self.objectives[0]

    def error(self, location: Location, message: str) -> ExperimentError:
        """Return an error at a location of this file, as `error_at` does."""
        return error_at(self.path, self.lines, location, message)


def error_at(
    path: Path, lines: Mapping[Location, int], location: Location, message: str
) -> ExperimentError:
    """Return an error at the line of `location`, or of its nearest known parent."""
    parents = (location[:end] for end in range(len(location), 0, -1))
    line = next((lines[parent] for parent in parents if parent in lines), 0)
    if line == COMMAND_LINE:
        return ExperimentError(Path("command line"), 0, message)
    return ExperimentError(path, line, message)


def identity(experiment: Experiment) -> Mapping[str, object]:
    """Return the settings that must be equal for two trials to be comparable."""
    return {
        "target": experiment.target,
        "config": os.path.normpath(experiment.config),
        "overrides": experiment.overrides,
        "objective.metric": ", ".join(o.metric for o in experiment.objectives),
        "objective.mode": ", ".join(o.mode for o in experiment.objectives),
    }


def epochs(experiment: Experiment) -> dict[str, int]:
    """Return the numbers of epochs that overrides set, by their keys."""
    words = (override.lstrip("+").partition("=") for override in experiment.overrides)
    return {
        key: int(value)
        for key, _, value in words
        if key.rpartition(".")[2] in defaults.EPOCHS and value.isdecimal()
    }


def changes(old: Experiment, new: Experiment) -> tuple[str, ...]:
    """Return one line for each difference between the two identities.

    A larger number of epochs is not a difference: complete trials continue training.
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
    del values["default"]  # the seed of the config, if it has one
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


def cost(price: Mapping[str, float], card_seconds: Mapping[str, float]) -> float:
    """Return the cost of GPU time, NaN if a card has no price.

    Args:
        price: price of one hour by card type.
        card_seconds: seconds by card type, "" for an unknown type.

    >>> cost({"T4": 0.35}, {"T4": 7200.0}), cost({"T4": 0.35}, {"A100": 3600.0})
    (0.7, nan)
    """
    return sum(
        seconds / 3600 * price.get(card, math.nan)
        for card, seconds in card_seconds.items()
    )


def unpriced(price: Mapping[str, float], cards: Collection[str]) -> str:
    """Return a message about cards without a price; "" if each has one.

    >>> unpriced({"T4": 0.35}, ["T4", "A100"])
    "price: no price for card 'A100'; its cost is unknown; add it: `price: {A100: ...}`"
    """
    missing = sorted(set(cards) - set(price)) if price else []
    if not missing:
        return ""
    if missing == [""]:
        return (
            "price: the type of the card is not known, so its cost is unknown; name it "
            "in `resources.accelerator`"
        )
    named = [card for card in missing if card]
    cards_text = ", ".join(map(repr, named))
    return (
        f"price: no price for card {cards_text}; its cost is unknown; add it: "
        f"`price: {{{named[0]}: ...}}`"
    )

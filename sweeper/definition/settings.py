"""The mappings of an experiment file: objective, budget, checkpoints, retry, ...

Each holds values and their ranges; what they mean is for the modules that read them.
"""

import math
from collections.abc import Collection, Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from sweeper.definition.fields import Cpus, Gpus, Text

# As wandb.Settings refuses them, at the first trial.
WANDB_PROJECT = 128  # characters
WANDB_REFUSED = "/\\#?%:"
WANDB_TAG = 64  # characters


class Frozen(BaseModel):
    """A part of the file: no unknown key, no other type, no change afterwards."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, strict=True
    )


class Objective(Frozen):
    """The metric that ranks trials, as the project logs it."""

    metric: Text = Field(examples=["val/acc_top1"])
    mode: Literal["max", "min"] = "max"
    validation_size: int = Field(default=0, ge=0, examples=[372])

    @property
    def sign(self) -> float:
        """What a value is multiplied with for smaller to be better."""
        return -1.0 if self.mode == "max" else 1.0

    def loss(self, value: float) -> float:
        """Return the value as one of which less is better."""
        return -value if self.mode == "max" else value

    def __str__(self) -> str:
        return f"{self.metric} ({self.mode})"


def _listed(value: object) -> object:
    """One objective as the list that it stands for."""
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
    """Finalists: the best `top` suggestions run again with `seeds` fresh seeds each."""

    top: int = Field(default=0, ge=0, examples=[3])
    seeds: int = Field(default=5, ge=2, le=1000, examples=[5])

    @property
    def trials(self) -> int:
        """How many trials it adds to a sweep."""
        return self.top * self.seeds


class Budget(Frozen):
    """Limits of a sweep, absolute over all of its starts; None is unlimited.

    `target`: an objective that is good enough. `patience`: trials that end in a row
    without a better best one.
    """

    trials: int | None = Field(default=None, ge=1, examples=[40])
    gpu_hours: float | None = Field(default=None, gt=0, examples=[12])
    wall_hours: float | None = Field(default=None, gt=0, examples=[8])
    cost: float | None = Field(default=None, gt=0, examples=[20])
    target: float | None = Field(default=None, examples=[0.97])
    patience: int | None = Field(default=None, ge=1, examples=[15])


class Resources(Frozen):
    """What one trial asks for; `auto` is decided by the machine."""

    gpus: Gpus = Field(default="auto", examples=["auto", 0.25])
    cpus: Cpus = Field(default="auto", examples=["auto", 2])
    accelerator: str = Field(default="", examples=["T4"])
    max_per_gpu: int = Field(default=16, ge=1, le=16, examples=[4])


class Oom(Frozen):
    """What may be done for a trial that runs out of a whole card's memory."""

    shrink_batch: bool = False


class Estimate(Frozen):
    """What `plan` cannot know before a trial has run; None is not given.

    `examples`: of the training split. `step_seconds`: of a trial alone on a card.
    """

    examples: int | None = Field(default=None, ge=1, examples=[6300])
    epochs: int | None = Field(default=None, ge=1, examples=[20])
    step_seconds: float | None = Field(default=None, gt=0, examples=[0.2])


class CheckpointTimes(Frozen):
    """When a trial saves within an epoch; between two epochs it always does."""

    every_steps: int | None = Field(default=None, ge=1, examples=[500])
    every_minutes: float | None = Field(default=None, gt=0, examples=[10])


class Retention(Frozen):
    """Whose checkpoints are kept; `all` keeps those of every trial."""

    keep_best: Annotated[int, Field(ge=1)] | Literal["all"] = Field(
        default="all", examples=[3, "all"]
    )
    keep_last: Literal["all", "running"] = Field(default="all", examples=["running"])


class Retry(Frozen):
    """How often an attempt of each kind of failure is made again."""

    oom: int = Field(default=2, ge=0)
    lost: int = Field(default=3, ge=0)
    timeout: int = Field(default=0, ge=0)
    nan: int = Field(default=0, ge=0)
    error: int = Field(default=0, ge=0)


def short_wandb(value: object) -> object:
    """`wandb: none` and `wandb: offline` as the mapping that they stand for."""
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
    """The W&B runs of a sweep; `mode: none` makes none.

    `project` and `entity`: "" takes those that the project's own logger asks for.
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


def cost(price: Mapping[str, float], card_seconds: Mapping[str, float]) -> float:
    """Return what seconds of cards cost, NaN where a card of them has no price.

    Args:
        price: of a card for an hour, by type.
        card_seconds: by type, "" for a type that is not known.

    >>> cost({"T4": 0.35}, {"T4": 7200.0}), cost({"T4": 0.35}, {"A100": 3600.0})
    (0.7, nan)
    """
    return sum(
        seconds / 3600 * price.get(card, math.nan)
        for card, seconds in card_seconds.items()
    )


def unpriced(price: Mapping[str, float], cards: Collection[str]) -> str:
    """Return what to do for cards without a price; "" where no card lacks one.

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

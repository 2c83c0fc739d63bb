"""The experiment file, validated, with the line of each of its keys.

It reads that one YAML file and nothing else; groups, points and targets are
checked by the modules that know them, which raise through `Experiment.error`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from sweeper.errors import ExperimentError

Location: TypeAlias = tuple[str | int, ...]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Objective(_Frozen):
    """The metric that ranks trials, as the project logs it."""

    metric: str
    mode: Literal["max", "min"] = "max"


class Budget(_Frozen):
    """Limits of a sweep, absolute over all of its starts; None is unlimited."""

    trials: int | None = Field(default=None, ge=1)
    gpu_hours: float | None = Field(default=None, gt=0)
    wall_hours: float | None = Field(default=None, gt=0)


class Resources(_Frozen):
    """What one trial asks for; `auto` is decided by the machine."""

    gpus: float | Literal["auto"] = "auto"
    cpus: float | Literal["auto"] = "auto"
    accelerator: str = ""


class Retry(_Frozen):
    """How often an attempt of each kind of failure is made again."""

    oom: int = Field(default=2, ge=0)
    lost: int = Field(default=3, ge=0)
    timeout: int = Field(default=0, ge=0)
    nan: int = Field(default=0, ge=0)
    error: int = Field(default=0, ge=0)


class WandbSettings(_Frozen):
    """The W&B runs of a sweep; `mode: none` makes none."""

    mode: Literal["auto", "online", "offline", "none"] = "auto"
    project: str = "sweeper"
    entity: str = ""
    tags: tuple[str, ...] = ()


class Experiment(_Frozen):
    """One experiment file; only `search_space` and `objective` are required."""

    name: str
    notes: str = ""
    target: str = "sweeper.vision.train:train"
    config: str = "conf/train.yaml"
    overrides: tuple[str, ...] = ()
    search_space: Mapping[str, object]
    variants: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    where: str = ""
    baseline: Mapping[str, object] = Field(default_factory=dict)
    seeds: tuple[int, ...] = (42,)
    objective: Objective
    search: str | Mapping[str, object] = "grid"
    scheduler: str | Mapping[str, object] = "none"
    budget: Budget = Budget()
    resources: Resources = Resources()
    retry: Retry = Retry()
    wandb: WandbSettings = WandbSettings()
    env: Mapping[str, str] = Field(default_factory=dict)
    chdir: bool = False
    storage: str | None = None

    # Where it was read from; not a part of the file.
    path: Path = Field(exclude=True)
    lines: Mapping[Location, int] = Field(exclude=True)
    project: Path = Field(exclude=True)

    def error(self, location: Location, message: str) -> ExperimentError:
        """An error at the line of `location`, or of its nearest known parent."""
        for end in range(len(location), -1, -1):
            if location[:end] in self.lines:
                line = self.lines[location[:end]]
                return ExperimentError(self.path, line, message)
        return ExperimentError(self.path, 0, message)

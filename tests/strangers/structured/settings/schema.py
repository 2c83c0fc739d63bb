"""All configs are dataclasses; there is no YAML file."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore


@dataclass
class Optim:
    lr: float = 0.1
    weight_decay: float = 0.0


@dataclass
class Adam(Optim):
    name: str = "Adam"


@dataclass
class Sgd(Optim):
    name: str = "SGD"


@dataclass
class Config:
    defaults: list[Any] = field(default_factory=lambda: ["_self_", {"optim": "adam"}])
    optim: Any = None
    epochs: int = 4
    batch_size: int = 16
    seed: int = 7


def register() -> None:
    store = ConfigStore.instance()
    store.store(name="main_config", node=Config)
    store.store(group="optim", name="adam", node=Adam)
    store.store(group="optim", name="sgd", node=Sgd)

"""A project that uses much of what Hydra's configs can say."""

from dataclasses import dataclass

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

import sweeper

OmegaConf.register_new_resolver("twice", lambda number: 2 * number, replace=True)


@dataclass
class Clip:
    """A schema, so that values have types."""

    norm: float = 1.0
    is_on: bool = False


ConfigStore.instance().store(group="clip", name="base", node=Clip)


@hydra.main(config_path="conf", config_name="main", version_base="1.3")
def main(config: DictConfig) -> None:
    """Report one value."""
    sweeper.report(1, {"score": float(config.model.width)})


if __name__ == "__main__":
    main()

"""A project whose primary config is in a sub-folder."""

import hydra
from omegaconf import DictConfig

import sweeper


@hydra.main(config_path="conf", config_name="exp/main", version_base="1.3")
def main(config: DictConfig) -> None:
    """Report the model's width."""
    sweeper.report(1, {"score": float(config.model.width)})


if __name__ == "__main__":
    main()

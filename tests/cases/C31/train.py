"""A project whose experiments are in groups inside of a group."""

from omegaconf import DictConfig

import sweeper


def main(config: DictConfig) -> None:
    """Report width times depth, each epoch."""
    for epoch in range(1, config.trainer.epochs + 1):
        score = float(config.model.width * config.model.depth)
        sweeper.report(epoch, {"score": score})

"""The reference training project: Hydra, Lightning and torchvision, one command.

It does not import the rest of sweeper, which uses it only through the target
`sweeper.vision.train:train`.
"""

from sweeper.vision.registry import register

__all__ = ["register"]

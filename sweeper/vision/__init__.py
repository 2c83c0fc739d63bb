"""The reference training project: Hydra, Lightning and torchvision, one command.

It knows nothing of sweeper, which reaches it only as `sweeper.vision.train:train`.
"""

from sweeper.vision.registry import register

__all__ = ["register"]

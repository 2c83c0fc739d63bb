"""All random streams of a fit, set at the start of each epoch from (seed, epoch).

What an epoch draws is then no function of what the process did before.
"""

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from sweeper.trial import derive

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


def begin_epoch(trainer: "Trainer", seed: int) -> None:
    """Seed the global generators and those that the loaders hold."""
    epoch = trainer.current_epoch
    stream = derive(seed, "epoch", epoch)
    random.seed(stream)
    np.random.seed(stream)
    torch.manual_seed(stream)
    for index, generator in enumerate(_generators(trainer)):
        generator.manual_seed(derive(seed, "epoch", epoch, "generator", index))
    _renew_workers(trainer)


def _loaders(trainer: "Trainer") -> Iterator[object]:
    fit_loop = trainer.fit_loop
    for combined in (
        fit_loop._combined_loader,
        fit_loop.epoch_loop.val_loop._combined_loader,
    ):
        if combined is not None:
            yield from combined.flattened


def _generators(trainer: "Trainer") -> list[torch.Generator]:
    """Generators of loaders and samplers, each once, in a fixed order."""
    found: list[torch.Generator] = []
    for loader in _loaders(trainer):
        batch_sampler = getattr(loader, "batch_sampler", None)
        for owner in (
            loader,
            getattr(loader, "sampler", None),
            batch_sampler,
            getattr(batch_sampler, "sampler", None),
        ):
            generator = getattr(owner, "generator", None)
            is_new = all(generator is not known for known in found)
            if isinstance(generator, torch.Generator) and is_new:
                found.append(generator)
    return found


def _renew_workers(trainer: "Trainer") -> None:
    """End persistent loader workers: their generators live as long as they do."""
    for loader in _loaders(trainer):
        iterator = getattr(loader, "_iterator", None)
        if getattr(loader, "persistent_workers", False) and iterator is not None:
            iterator._shutdown_workers()
            loader._iterator = None  # type: ignore[attr-defined]  # a DataLoader

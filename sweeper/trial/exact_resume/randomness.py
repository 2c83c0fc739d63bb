"""The random streams of a fit, seeded at the start of each epoch from (seed, epoch).

So the numbers that an epoch draws do not depend on what the process did before.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from sweeper.system.identity import derive
from sweeper.trial.compat import lightning as compat
from sweeper.trial.compat.torch import end_workers
from sweeper.trial.libraries import numpy as np
from sweeper.trial.libraries import torch

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

Generator: TypeAlias = (
    "torch.Generator | np.random.Generator | np.random.RandomState | random.Random"
)


def begin_epoch(trainer: Trainer, seed: int, *, fit: int) -> None:
    """Seed the global generators and those that loaders, data and module hold.

    Args:
        seed: of the trial.
        fit: number of the fit in its process, from 1.
    """
    first: tuple[object, ...] = ("fit", fit) if fit > 1 else ()
    names = (*first, "epoch", trainer.current_epoch)
    _seed_process(derive(seed, *names))
    for index, generator in enumerate(_generators(trainer)):
        _seed(generator, derive(seed, *names, "generator", index))
    renew_workers(trainer)


def end_fit(seed: int, *, fit: int) -> None:
    """Seed the global generators for what follows a fit, trained or loaded."""
    _seed_process(derive(seed, "fit", fit, "end"))


def _seed_process(stream: int) -> None:
    random.seed(stream)
    np.random.seed(stream)
    torch.manual_seed(stream)


def state(trainer: Trainer) -> dict[str, Any]:
    """Return the state of every stream of the fit, as tensors and plain values."""
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": _plain(np.random.get_state(legacy=False)),
        "python": random.getstate(),
        "own": [_state(generator) for generator in _generators(trainer)],
    }


def restore(trainer: Trainer, saved: Mapping[str, Any]) -> None:
    """Put every stream back to what `state` returned."""
    torch.set_rng_state(saved["torch"])
    if saved["cuda"] and len(saved["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(saved["cuda"])
    np.random.set_state(saved["numpy"])
    random.setstate(saved["python"])
    for generator, own in zip(_generators(trainer), saved["own"], strict=True):
        _set_state(generator, own)


def renew_workers(trainer: Trainer) -> None:
    """End persistent loader workers: their generators live as long as they do."""
    for loader in loaders(trainer):
        end_workers(loader)


def loaders(trainer: Trainer) -> Iterator[object]:
    """Yield the loaders of training, then those of validation."""
    for split in ("train", "val"):
        yield from compat.loaders(trainer, split=split) or ()


def _generators(trainer: Trainer) -> list[Generator]:
    """Return generators held where a fit draws from, each once, in a fixed order."""
    owners = (*data(trainer), *trainer.lightning_module.modules())
    held = (value for owner in owners for value in vars(owner).values())
    kinds = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
    return list({id(v): v for v in held if isinstance(v, kinds)}.values())


def data(trainer: Trainer) -> Iterator[object]:
    """Yield the loaders of a fit, their samplers and data sets."""
    for loader in loaders(trainer):
        batch_sampler = getattr(loader, "batch_sampler", None)
        yield loader
        for name in ("sampler", "dataset"):
            owner = getattr(loader, name, None)
            while hasattr(owner, "__dict__"):
                yield owner
                owner = (
                    owner.dataset
                    if isinstance(owner, torch.utils.data.Subset)
                    else None
                )
        if isinstance(batch_sampler, torch.utils.data.BatchSampler):
            yield batch_sampler
            yield from (s for s in (batch_sampler.sampler,) if hasattr(s, "__dict__"))


def _seed(generator: Generator, seed: int) -> None:
    match generator:
        case torch.Generator():
            generator.manual_seed(seed)
        case np.random.Generator():
            fresh = type(generator.bit_generator)(seed)
            generator.bit_generator.state = fresh.state
        case _:
            generator.seed(seed)


def _state(generator: Generator) -> Any:
    match generator:
        case torch.Generator():
            return generator.get_state()
        case np.random.Generator():
            return _plain(generator.bit_generator.state)
        case np.random.RandomState():
            return _plain(generator.get_state(legacy=False))
        case _:
            return generator.getstate()


def _set_state(generator: Generator, saved: Any) -> None:
    match generator:
        case torch.Generator() | np.random.RandomState():
            generator.set_state(saved)
        case np.random.Generator():
            generator.bit_generator.state = saved
        case _:
            generator.setstate(saved)


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in node.items()}
    return node.tolist() if isinstance(node, np.ndarray | np.generic) else node

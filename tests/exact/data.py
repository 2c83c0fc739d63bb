"""Toy data that draws from every stream of random numbers there is."""

import random
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    Sampler,
    WeightedRandomSampler,
)
from torchdata.stateful_dataloader import StatefulDataLoader

Item = tuple[Tensor, Tensor]
N_TRAIN, N_VAL, N_FEATURES, BATCH = 22, 10, 4, 4


class Noisy(Dataset[Item]):
    """Points whose features are augmented anew each time."""

    def __init__(self, size: int) -> None:
        fixed = torch.Generator().manual_seed(size)
        self.points = torch.randn(size, N_FEATURES, generator=fixed)
        self.labels = (self.points.sum(dim=1) > 0).long()
        self.own = np.random.default_rng(7)

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> Item:
        drawn = np.random.randn() + random.gauss() + self.own.random()
        noise = torch.randn(N_FEATURES) + drawn
        return self.points[index] + 0.1 * noise, self.labels[index]


class Stream(IterableDataset[Item]):
    """The same without a length."""

    def __iter__(self) -> Iterator[Item]:
        data = Noisy(N_TRAIN)
        return (data[int(i)] for i in torch.randperm(N_TRAIN))


class Halves(Sampler[int]):
    """A project's own sampler: it draws as it goes."""

    def __len__(self) -> int:
        return N_TRAIN

    def __iter__(self) -> Iterator[int]:
        return (int(torch.randint(N_TRAIN, ())) for _ in range(N_TRAIN))


def train_loader(
    kind: str, *, workers: int, persistent: bool
) -> "DataLoader[Item] | list[DataLoader[Item]]":
    """A training loader of one kind."""
    data = Noisy(N_TRAIN)
    common = {
        "batch_size": BATCH,
        "num_workers": workers,
        "persistent_workers": persistent and workers > 0,
        # Fork: the fastest here, and what a trial does on Linux.
        "multiprocessing_context": "fork" if workers else None,
    }
    match kind:
        case "shuffle":
            return DataLoader(data, shuffle=True, **common)
        case "generator":
            own = torch.Generator().manual_seed(5)
            return DataLoader(data, shuffle=True, generator=own, **common)
        case "weighted":
            weights = torch.linspace(0.1, 1, N_TRAIN)
            sampler = WeightedRandomSampler(weights, N_TRAIN)
            return DataLoader(data, sampler=sampler, **common)
        case "stateful":
            return StatefulDataLoader(data, shuffle=True, **common)
        case "stream":
            return DataLoader(Stream(), **common)
        case "own_sampler":
            return DataLoader(data, sampler=Halves(), **common)
        case "two":
            return [DataLoader(data, shuffle=True, **common) for _ in range(2)]
    raise AssertionError(kind)


def val_loader(*, workers: int, persistent: bool) -> "DataLoader[Item]":
    """A validation loader that shuffles by a generator of its own."""
    return DataLoader(
        Noisy(N_VAL),
        batch_size=BATCH,
        shuffle=True,
        generator=torch.Generator().manual_seed(9),
        num_workers=workers,
        persistent_workers=persistent and workers > 0,
        multiprocessing_context="fork" if workers else None,
    )

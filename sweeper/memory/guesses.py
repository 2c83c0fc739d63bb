"""A target for data that is not there: the config's module on batches made up.

It reads the config alone, so that a plan can be made far from the data.
"""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

SIZES = ("image_size", "img_size", "crop_size", "input_size", "resolution")
CLASSES = ("num_classes", "n_classes", "num_labels")
CHANNELS = ("in_channels", "in_chans", "channels", "num_channels")
DEFAULT_CLASSES = 1000  # more than most have; the head is small beside the rest
AVERAGES = ("ema", "averag")
PRETRAINED = "pretrained"
STEPS = 100  # of an epoch; only schedules ask


class GuessError(Exception):
    """The config does not say what a batch looks like."""


class Guess(dict[Any, Any]):
    """A batch of images and labels, however a training step takes it apart.

    `x, y = batch`, `batch[0]`, `batch["images"]`, `batch["label"]` all work.
    """

    def __missing__(self, key: object) -> Tensor:
        name = str(key).lower()
        if key == 1 or any(word in name for word in ("label", "target", "class")):
            return self._part("labels")
        if name in ("y", "ys"):
            return self._part("labels")
        if name.startswith(("ind", "id")):
            return torch.zeros_like(self._part("labels"))
        return self._part("images")

    def _part(self, name: str) -> Tensor:
        found: Tensor = dict.__getitem__(self, name)
        return found

    def __iter__(self) -> Iterator[Any]:
        return iter((self._part("images"), self._part("labels")))


def _as_is(batch: Any) -> Any:
    return batch


class _OneBatch(Dataset[Guess]):
    """The same made-up batch again and again."""

    def __init__(
        self, *, batch_size: int, channels: int, size: tuple[int, int]
    ) -> None:
        self._images = torch.zeros(batch_size, channels, *size)
        self._labels = torch.zeros(batch_size, dtype=torch.long)

    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, index: int) -> Guess:
        return Guess(images=self._images, labels=self._labels)


def fit(config: DictConfig) -> None:
    """Fit the config's LightningModule on made-up batches of the config's shape.

    Raises:
        GuessError: no module, no batch size or no image size in the config.
    """
    nodes = list(_nodes(OmegaConf.to_container(config, resolve=True)))
    data, module = shape(nodes), _find(nodes, "LightningModule", "model")
    if not module:
        raise GuessError("no node of the config makes a LightningModule")
    module = _untrained(module)
    for name in CLASSES:
        if name in module and module[name] is None:
            module[name] = DEFAULT_CLASSES
    for name in SIZES:
        if name in module and module[name] is None:
            module[name] = data["size"][0]
    loader = DataLoader(_OneBatch(**data), batch_size=None, collate_fn=_as_is)
    package = importlib.import_module("lightning.pytorch")
    made: Any = instantiate(OmegaConf.create(module))
    if not isinstance(made, package.LightningModule):
        raise GuessError(f"{module['_target_']} makes no LightningModule")
    precision = str(_first(nodes, ("precision",)) or "32-true")
    if precision == "auto":
        precision = "16-mixed"
    package.Trainer(
        precision=precision,
        max_epochs=_first(nodes, ("max_epochs",)) or 1,
        accumulate_grad_batches=_first(nodes, ("accumulate_grad_batches",)) or 1,
        callbacks=_averages(nodes),
    ).fit(made, loader)


def _untrained(node: Mapping[str, Any]) -> dict[str, Any]:
    """The node without trained weights, whose size is known without a download."""
    return {
        key: False
        if key == PRETRAINED and value is True
        else (_untrained(value) if isinstance(value, Mapping) else value)
        for key, value in node.items()
    }


def shape(nodes: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Batch size, channels and image size, wherever in the config they stand.

    Raises:
        GuessError: one of them does not.
    """
    batch = _first(nodes, ("batch_size", "train_batch_size"))
    size = _first(nodes, SIZES)
    if not isinstance(batch, int) or not size:
        missing = "batch_size" if not isinstance(batch, int) else " or ".join(SIZES)
        raise GuessError(f"the config has no {missing}")
    sides = tuple(size)[-2:] if isinstance(size, list | tuple) else (size, size)
    return {
        "batch_size": batch,
        "channels": int(_first(nodes, CHANNELS) or 3),
        "size": (int(sides[0]), int(sides[-1])),
    }


def _nodes(tree: object) -> Iterator[Mapping[str, Any]]:
    """Every mapping of a config, outer ones first."""
    if isinstance(tree, Mapping):
        yield tree
        for child in tree.values():
            yield from _nodes(child)
    elif isinstance(tree, list):
        for child in tree:
            yield from _nodes(child)


def _first(nodes: list[Mapping[str, Any]], names: tuple[str, ...]) -> Any:
    """The first value that is set under one of these names."""
    values = (node.get(name) for node in nodes for name in names)
    return next((value for value in values if value is not None), None)


def _find(nodes: list[Mapping[str, Any]], base: str, word: str) -> Mapping[str, Any]:
    """The node whose target is a subclass of `base`, else has `word` in its name."""
    targets = [node for node in nodes if isinstance(node.get("_target_"), str)]
    for node in targets:
        found = _object(node["_target_"])
        if base in [b.__name__ for b in getattr(found, "__mro__", ())]:
            return node
    named = (n for n in targets if word in n["_target_"].rpartition(".")[2].lower())
    return next(named, {})


def _averages(nodes: list[Mapping[str, Any]]) -> list[object]:
    """Callbacks that hold weights of their own."""
    return [
        instantiate(OmegaConf.create(dict(node)))
        for node in nodes
        if is_average_class(_object(str(node.get("_target_", ""))))
    ]


def is_average_class(found: object) -> bool:
    """Whether it is a callback that keeps weights of its own, going by its names."""
    names = [base.__name__ for base in getattr(found, "__mro__", ())]
    is_named = any(word in name.lower() for word in AVERAGES for name in names)
    return "Callback" in names and is_named


def _object(target: str) -> Any:
    try:
        return get_object(target) if target else None
    except (ImportError, ValueError, AttributeError):
        return None

"""The size of a network: parameters, bytes, and operations for one image.

Operations are counted on torch's meta device, which computes nothing.
"""

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sweeper.vision.callbacks.artifacts import Json, may_write, write_json
from sweeper.vision.classifier import Classifier


class ModelInfo(Callback):
    """A callback that writes `model_info.json` and logs it as hyperparameters.

    Args:
        folder: folder of the file.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not may_write(trainer):
            return
        classifier = cast(Classifier, pl_module)
        info = model_info(
            classifier.network, image_size=int(classifier.hparams["image_size"])
        )
        info = {"name": str(classifier.hparams["name"]), **info}
        write_json(self.folder / "model_info.json", info)
        for logger in trainer.loggers:
            logger.log_hyperparams({"model_info": info})


def model_info(network: nn.Module, *, image_size: int) -> dict[str, Json]:
    """Return sizes of a network that takes images (B, 3, image_size, image_size).

    Returns:
        parameters, trainable_parameters, size_bytes (parameters and buffers), flops
        (of one image; a multiplication and an addition count as two) and input_shape.

    >>> model_info(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), image_size=2)["flops"]
    120
    """
    parameters = list(network.parameters())
    shape = (3, image_size, image_size)
    sketch = copy.deepcopy(network).to("meta").eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        sketch(torch.empty(1, *shape, device="meta"))
    return {
        "parameters": _count(parameters),
        "trainable_parameters": _count(p for p in parameters if p.requires_grad),
        "size_bytes": sum(
            each.numel() * each.element_size()
            for each in (*parameters, *network.buffers())
        ),
        "flops": counter.get_total_flops(),
        "input_shape": list(shape),
    }


def _count(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)

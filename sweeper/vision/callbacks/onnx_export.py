"""Export of the best checkpoint to ONNX, compared with torch before it is kept.

The ONNX model takes normalised images in batches of any size.
"""

# B batch, C classes, H W pixels

import copy
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from sweeper.vision.callbacks.artifacts import may_write, replace
from sweeper.vision.classifier import Classifier
from sweeper.vision.train import best_checkpoint

TOLERANCE = 1e-4
PREFIX = "network."
EXPORTER = ("onnx_ir", "onnxscript")


class OnnxError(RuntimeError):
    """An ONNX file whose results differ from the network's."""


class OnnxExport(Callback):
    """A callback that writes `model.onnx` at the end of the training.

    Its input is `images`, its output `logits`. The metadata hold the names of the
    classes as JSON under `class_names`.

    Args:
        folder: folder of the file.

    Raises:
        OnnxError: onnxruntime's logits differ from torch's by more than 1e-4.
    """

    def __init__(self, folder: str) -> None:
        self.path = Path(folder) / "model.onnx"

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Export the best epoch's network, or the current one without a checkpoint."""
        if not may_write(trainer):
            return
        classifier = cast(Classifier, pl_module)
        network = best_network(classifier, checkpoint=best_checkpoint(trainer))
        size = int(classifier.hparams["image_size"])

        def write(temporary: Path) -> None:
            export(network, temporary, image_size=size, names=classifier.class_names)

        replace(self.path, write)


def best_network(classifier: Classifier, *, checkpoint: str | None) -> nn.Module:
    """Copy the network to the CPU, in evaluation mode, with a checkpoint's weights."""
    network = copy.deepcopy(classifier.network).cpu().float().eval()
    if checkpoint is not None:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        network.load_state_dict(
            {
                name.removeprefix(PREFIX): value
                for name, value in state["state_dict"].items()
                if name.startswith(PREFIX)
            }
        )
    return network.to(memory_format=torch.contiguous_format)


def export(
    network: nn.Module, path: Path, *, image_size: int, names: tuple[str, ...]
) -> None:
    """Write the network and compare it with torch on batches of one and three.

    Raises:
        OnnxError: the logits differ.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (3, 3, image_size, image_size)
    images_BCHW = torch.randn(shape, generator=generator)
    with quiet():
        program = torch.onnx.export(
            network,
            (images_BCHW,),
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )
        assert program is not None  # noqa: S101  # it is with dynamo=True
        program.model.metadata_props["class_names"] = json.dumps(names)
        program.save(path, external_data=False)
    for batch_BCHW in (images_BCHW[:1], images_BCHW):
        check(network, path, batch_BCHW)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the messages of torch's exporter."""
    loggers = [logging.getLogger(name) for name in EXPORTER]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def check(network: nn.Module, path: Path, images_BCHW: Tensor) -> None:
    """Check that a file computes the network's logits.

    Raises:
        OnnxError: the logits differ.
    """
    import onnxruntime

    with torch.inference_mode():
        expected_BC = network(images_BCHW).numpy()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found_BC,) = session.run(["logits"], {"images": images_BCHW.numpy()})
    if not np.allclose(found_BC, expected_BC, rtol=TOLERANCE, atol=TOLERANCE):
        difference = float(np.abs(found_BC - expected_BC).max())
        raise OnnxError(
            f"callbacks.onnx_export: logits differ from torch's by {difference:.2g}, "
            f"more than {TOLERANCE}; set callbacks.onnx_export=null to train without"
        )

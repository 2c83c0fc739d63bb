"""Prediction of an image's class from a checkpoint, without config or data.

The command `sweeper predict CHECKPOINT IMAGE...` prints the result.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError  # torch raises it; nothing is unpickled here

import torch

from sweeper.vision.classifier import Classifier
from sweeper.vision.images import DataError, fit_square, load_rgb, normalise

BATCH_SIZE = 64

# Errors that a checkpoint of another model causes.
NO_CLASSIFIER = (KeyError, TypeError, ValueError, RuntimeError, UnpicklingError)


def load_classifier(checkpoint: Path) -> Classifier:
    """Load the classifier of a checkpoint, on the CPU and in evaluation mode.

    Raises:
        DataError: the file is not a checkpoint, or it is one of another model.
    """
    if not checkpoint.is_file():
        raise DataError(f"{checkpoint}: no such checkpoint")
    if not zipfile.is_zipfile(checkpoint):  # torch.load could raise any error
        raise DataError(f"{checkpoint}: no checkpoint, or a torn one; take another")
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        settings = {**state["hyper_parameters"], "pretrained": False}
        classifier = Classifier(**settings)
        classifier.load_state_dict(state["state_dict"])
    except NO_CLASSIFIER as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(
            f"{checkpoint}: not a checkpoint of this project's Classifier ({reason}); "
            "give a file that `sweeper.vision.train` saved"
        ) from error
    return classifier.eval()


def predict(checkpoint: Path, images: Sequence[Path]) -> list[tuple[str, float]]:
    """Return the most probable class of each image, and its probability.

    Raises:
        DataError: the checkpoint or an image cannot be read.
    """
    classifier = load_classifier(checkpoint)
    size = classifier.hparams["image_size"]
    found: list[tuple[str, float]] = []
    for start in range(0, len(images), BATCH_SIZE):
        paths = images[start : start + BATCH_SIZE]
        crops = torch.stack([fit_square(load_rgb(Path(path)), size) for path in paths])
        with torch.inference_mode():
            top = classifier(normalise(crops)).softmax(dim=1).max(dim=1)
        for index, probability in zip(
            top.indices.tolist(), top.values.tolist(), strict=True
        ):
            found.append((classifier.class_names[index], probability))
    return found

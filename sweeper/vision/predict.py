"""The class of an image by a checkpoint alone: no config and no data are needed.

`python -m sweeper.vision.predict CHECKPOINT IMAGE...` prints a line for each image.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from sweeper.vision.classifier import Classifier
from sweeper.vision.images import DataError, fit_square, load_rgb, normalise

BATCH_SIZE = 64


def load_classifier(checkpoint: Path) -> Classifier:
    """The classifier of a checkpoint, on the CPU and ready to predict.

    Raises:
        DataError: no checkpoint, or one of another model.
    """
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        settings = {**state["hyper_parameters"], "pretrained": False}
        classifier = Classifier(**settings)
        classifier.load_state_dict(state["state_dict"])
    except FileNotFoundError as error:
        raise DataError(f"{checkpoint}: no such checkpoint") from error
    except (KeyError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{checkpoint}: not a checkpoint of this project's Classifier ({reason}); "
            "give a file that `sweeper.vision.train` saved"
        ) from error
    return classifier.eval()


def predict(checkpoint: Path, images: Sequence[Path]) -> list[tuple[str, float]]:
    """The most probable class of each image, and its probability.

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


def main(arguments: Sequence[str]) -> int:
    """Print image, class and probability; 2 for what the user can mend."""
    if len(arguments) < 2:
        print("usage: python -m sweeper.vision.predict CHECKPOINT IMAGE...")
        return 2
    checkpoint, *images = map(Path, arguments)
    try:
        predictions = predict(checkpoint, images)
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    for image, (name, probability) in zip(images, predictions, strict=True):
        print(f"{image}\t{name}\t{probability:.3f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

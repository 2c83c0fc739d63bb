"""Print the class of each image and its probability, from a checkpoint alone."""

import argparse
import json
from pathlib import Path

from sweeper import exit_codes
from sweeper.experiment import defaults

EXAMPLE = "sweeper predict $(sweeper best lr_sweep --ckpt) crops/*.png"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", type=Path, help="a file that a training has saved"
    )
    parser.add_argument(
        "images", type=Path, nargs="+", metavar="IMAGE", help="an image file"
    )
    parser.add_argument(
        "--predictor",
        default=defaults.PREDICTOR,
        help="module:function of the project, called with the checkpoint and the "
        "images; it returns a class and a probability for each (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    from sweeper.project import predictor

    predictions = predictor.predict(args.predictor, args.checkpoint, args.images)
    rows = [
        {"image": str(image), "class": name, "probability": probability}
        for image, (name, probability) in zip(args.images, predictions, strict=True)
    ]
    if args.json:
        print(json.dumps(rows))
    else:
        for row in rows:
            print(f"{row['image']}\t{row['class']}\t{row['probability']:.3f}")
    return exit_codes.FINISHED

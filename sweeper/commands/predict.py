"""Print the class of each image and its probability, from a checkpoint alone."""

import argparse
from pathlib import Path

from sweeper.commands import common
from sweeper.experiment import defaults
from sweeper.project import predictor

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
    common.add_json(parser)


def run(args: argparse.Namespace) -> None:
    predictions = predictor.predict(args.predictor, args.checkpoint, args.images)
    rows = [
        {"image": str(image), "class": name, "probability": probability}
        for image, (name, probability) in zip(args.images, predictions, strict=True)
    ]
    if args.json:
        common.print_json(rows)
        return
    for row in rows:
        print(f"{row['image']}\t{row['class']}\t{row['probability']:.3f}")

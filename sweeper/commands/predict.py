"""Print the class of each image and its probability, by a checkpoint alone."""

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from sweeper import defaults, exits
from sweeper.errors import TargetError

Predictor: TypeAlias = Callable[[Path, Sequence[Path]], Sequence[tuple[str, float]]]

EXAMPLE = "sweeper predict $(sweeper best lr_sweep --ckpt) crops/*.png"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("checkpoint", type=Path, help="what a training has saved")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="a file")
    parser.add_argument(
        "--predictor",
        default=defaults.PREDICTOR,
        help="module:function of the project, called with the checkpoint and the "
        "images; it returns a class and a probability for each (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="for programs")


def run(args: argparse.Namespace) -> int:
    """Print a line for each image: path, class, probability."""
    predict = load(args.predictor)
    try:
        found = predict(args.checkpoint, args.images)
    except ValueError as error:  # what a predictor says of a file
        raise TargetError(str(error)) from error
    rows = [
        {"image": str(image), "class": name, "probability": probability}
        for image, (name, probability) in zip(args.images, found, strict=True)
    ]
    if args.json:
        print(json.dumps(rows))
    else:
        for row in rows:
            print(f"{row['image']}\t{row['class']}\t{row['probability']:.3f}")
    return exits.FINISHED


def load(name: str) -> Predictor:
    """The function that "module:function" names, found from the working directory.

    Raises:
        TargetError: no such module or function.
    """
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    module_name, _, function = name.partition(":")
    try:
        predictor: Predictor = getattr(importlib.import_module(module_name), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise TargetError(
            f"--predictor: {name!r}: {error}; it must be module:function, importable "
            "from the working directory"
        ) from error
    return predictor

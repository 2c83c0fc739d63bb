"""Print the JSON schema of the experiment file, which editors complete from."""

import argparse
import json

from sweeper import exits

EXAMPLE = "sweeper schema > .experiment.schema.json"


def arguments(parser: argparse.ArgumentParser) -> None:
    """It has none."""


def run(args: argparse.Namespace) -> int:
    """Print it."""
    from sweeper.experiment import experiment

    print(json.dumps(experiment.schema(), indent=1))
    return exits.FINISHED

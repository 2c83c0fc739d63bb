"""Print the JSON schema of the experiment file, for completion in editors."""

import argparse
import json

from sweeper.experiment import definition

EXAMPLE = "sweeper schema > .experiment.schema.json"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add no argument."""


def run(args: argparse.Namespace) -> None:
    print(json.dumps(definition.schema(), indent=1))

"""Print the JSON schema of the experiment file, for completion in editors."""

import argparse
import json

from sweeper import exit_codes

EXAMPLE = "sweeper schema > .experiment.schema.json"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add no argument."""


def run(args: argparse.Namespace) -> int:
    from sweeper.experiment import definition

    print(json.dumps(definition.schema(), indent=1))
    return exit_codes.FINISHED

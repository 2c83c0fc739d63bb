"""The grammar of the command line: which arguments each command takes.

It runs nothing; `cli` holds the commands.
"""

import argparse
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from sweeper.spec import DEFAULT_CONFIG, DEFAULT_METRIC, DEFAULT_TARGET

Command: TypeAlias = Callable[[argparse.Namespace], int]

EXAMPLES: Mapping[str, str] = {
    "run": "sweeper run experiments/lr_sweep.yaml budget.trials=4",
    "train": "sweeper train model=resnet50 data.batch_size=32",
    "status": "sweeper status lr_sweep",
    "best": "sweeper best lr_sweep --ckpt",
    "logs": "sweeper logs lr_sweep 3f9a -f",
    "stop": "sweeper stop lr_sweep",
    "retry": "sweeper retry lr_sweep",
}


def build_parser(commands: Mapping[str, Command]) -> argparse.ArgumentParser:
    """The parser; `function` of what it returns is the command to call.

    Args:
        commands: function by name; its docstring's first line is the help.
    """
    parser = argparse.ArgumentParser(
        prog="sweeper",
        description="Experiment sweeps over Hydra + Lightning projects that survive "
        "any kill: the same command goes on.",
    )
    group = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, function in commands.items():
        summary = str(function.__doc__).splitlines()[0]
        command = group.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"example: {EXAMPLES[name]}",
        )
        command.set_defaults(function=function)
        ARGUMENTS[name](command)
        command.add_argument(
            "--sweeps",
            type=Path,
            default=Path(os.environ.get("SWEEPER_SWEEPS", "sweeps")),
            help="folder of all sweeps (default: $SWEEPER_SWEEPS or ./sweeps)",
        )
    return parser


def _run(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=Path, help="the experiment file")
    command.add_argument(
        "overrides",
        nargs="*",
        help="key=value: a key of the file, else a Hydra override for every trial",
    )
    command.add_argument("--address", default="", help="a running Ray cluster, or auto")
    command.add_argument("--num-cpus", type=int, help="logical cores of a local Ray")
    command.add_argument("--num-gpus", type=int, help="logical GPUs of a local Ray")
    command.add_argument("-q", "--quiet", action="store_true", help="no events")


def _train(command: argparse.ArgumentParser) -> None:
    command.add_argument("overrides", nargs="*", help="Hydra overrides")
    command.add_argument("--config", default=DEFAULT_CONFIG, help="primary config")
    command.add_argument("--target", default=DEFAULT_TARGET, help="module:function")
    command.add_argument("--metric", default=DEFAULT_METRIC, help="the objective")
    command.add_argument("--mode", choices=("max", "min"), default="max")
    command.add_argument(
        "--wandb", choices=("auto", "online", "offline", "none"), default="auto"
    )
    command.add_argument("--test", action="store_true", help="test the best checkpoint")


def _name(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", help="a sweep's name or folder")


def _status(command: argparse.ArgumentParser) -> None:
    _name(command)
    command.add_argument("--json", action="store_true", help="for programs")


def _best(command: argparse.ArgumentParser) -> None:
    _status(command)
    one = command.add_mutually_exclusive_group()
    one.add_argument("--config", action="store_true", help="its config only")
    one.add_argument("--ckpt", action="store_true", help="its checkpoint only")
    one.add_argument("--command", action="store_true", help="how to repeat it")


def _logs(command: argparse.ArgumentParser) -> None:
    _name(command)
    command.add_argument("trial", nargs="?", default="", help="id or number")
    command.add_argument("-f", "--follow", action="store_true", help="go on printing")


def _retry(command: argparse.ArgumentParser) -> None:
    _name(command)
    command.add_argument("trials", nargs="*", help="ids; none: all that failed")


ARGUMENTS: Mapping[str, Callable[[argparse.ArgumentParser], None]] = {
    "run": _run,
    "train": _train,
    "status": _status,
    "best": _best,
    "logs": _logs,
    "stop": _name,
    "retry": _retry,
}

"""Command line: the parser, and the exit codes of errors.

Each command is a module of `commands`.
"""

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, Protocol, cast

from sweeper import commands, exit_codes
from sweeper.system import paths
from sweeper.system.errors import AddressError, ClusterLostError, SweeperError

HELPERS = {"common"}  # modules of `commands` that define no command


class Command(Protocol):
    """Interface of a module of `commands`."""

    EXAMPLE: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int | None]


def command_names() -> list[str]:
    """Return the names of all commands, sorted."""
    modules = {module.name for module in pkgutil.iter_modules(commands.__path__)}
    return sorted(modules - HELPERS)


def build_parser(names: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser; `function` of a parsed namespace runs the command.

    Args:
        names: commands to import and add to the parser; () for all.
    """
    parser = argparse.ArgumentParser(
        prog="sweeper",
        description="Experiment sweeps over Hydra + Lightning projects that survive "
        "any kill: the same command resumes them.",
    )
    group = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name in names or command_names():
        module = importlib.import_module(f"{commands.__name__}.{name}")
        command = cast(Command, module)
        summary = str(command.__doc__).splitlines()[0]
        sub = group.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"example: {command.EXAMPLE}",
        )
        sub.set_defaults(function=command.run, parser=parser)
        command.arguments(sub)
        sub.add_argument(
            "--sweeps",
            type=Path,
            help="folder of all sweeps (default: $SWEEPER_SWEEPS, else `sweeps` at the "
            "project's root)",
        )
    return parser


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Parse the words of a command line; options may come between overrides.

    `parse_args` expects all overrides next to each other. `parse_intermixed_args` does
    not, but refuses a parser with subcommands, so the command's parser is called.
    """
    is_one = words[:1] != ["completion"] and words[:1] and words[0] in command_names()
    parser = build_parser(words[:1] if is_one else ())
    (group,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    command = group.choices.get(words[0]) if words else None
    if command is None or all(a.dest != "overrides" for a in command._actions):
        args = parser.parse_args(words)
    else:
        args = command.parse_intermixed_args(words[1:])
    args.sweeps = args.sweeps or paths.default_sweeps(_project_file(args))
    return args


def _project_file(args: argparse.Namespace) -> Path | None:
    """Return a file in the project from the arguments; None if there is none."""
    values = (getattr(args, name, None) for name in ("file", "determinism", "config"))
    return next((Path(v) for v in values if isinstance(v, str | Path)), None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    A `SweeperError` prints one message on standard error. A traceback is a bug of
    sweeper.
    """
    args = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        code: int | None = args.function(args)
    except (AddressError, ClusterLostError) as error:
        _leave(f"error: {error}", error.exit_code)
    except SweeperError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except (PermissionError, NotADirectoryError) as error:
        print(
            f"error: {error.filename}: {error.strerror}; you must be "
            "able to write there: fix its permissions, or give another folder with "
            "--sweeps DIR",
            file=sys.stderr,
        )
        return SweeperError.exit_code
    except KeyboardInterrupt:
        _leave("interrupted", exit_codes.INTERRUPTED)
    except BrokenPipeError:
        # The reader of the pipe, such as `head`, has ended.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.FINISHED
    return code or exit_codes.FINISHED


def _leave(message: str, code: int) -> NoReturn:
    """Exit at once, since threads of a stopped cluster may still be waiting."""
    print(message, file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)

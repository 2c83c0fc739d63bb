"""Print the completion of commands and options for a shell."""

import argparse

from sweeper import exits

EXAMPLE = "sweeper completion bash > ~/.local/share/bash-completion/completions/sweeper"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="which shell")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    import shtab

    print(shtab.complete(args.parser, args.shell))
    return exits.FINISHED

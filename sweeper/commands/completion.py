"""Print a script for a shell that completes commands and options."""

import argparse

import shtab

EXAMPLE = "sweeper completion bash > ~/.local/share/bash-completion/completions/sweeper"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "shell", choices=("bash", "zsh", "tcsh"), help="name of the shell"
    )


def run(args: argparse.Namespace) -> None:
    print(shtab.complete(args.parser, args.shell))

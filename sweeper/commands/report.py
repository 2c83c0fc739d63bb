"""Write the report of a sweep and open it, or rank the trials of several sweeps.

With `--md` it prints Markdown sections for a research log instead.
"""

import argparse
import os
import sys
import webbrowser

from sweeper import exit_codes
from sweeper.commands import sweeps

EXAMPLE = "sweeper report lr_sweep --open no"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", help="sweeps by name or folder")
    parser.add_argument(
        "--md", action="store_true", help="print Markdown instead of writing a file"
    )
    parser.add_argument(
        "--open",
        choices=("yes", "no"),
        default="yes" if sys.stdout.isatty() and has_display() else "no",
        help="open it in the browser (default: yes on a desktop)",
    )


def has_display() -> bool:
    """Return whether this machine can show a browser window."""
    names = ("DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform == "darwin" or any(os.environ.get(name) for name in names)


def run(args: argparse.Namespace) -> int:
    from rich.console import Console

    from sweeper.reporting import html_report, markdown, ranking

    found = [sweeps.find_named(args, name) for name in args.names]
    if args.md:
        print("\n".join(markdown.section(sweep) for sweep in found), end="")
        if len(found) > 1:
            print("\n" + markdown.ranking_table(ranking.rank_all(found)), end="")
        return exit_codes.FINISHED
    if len(found) > 1:
        Console(highlight=False).print(ranking.table(ranking.rank_all(found)))
        return exit_codes.FINISHED
    (sweep,) = found
    html_report.write(sweep)
    print(sweep.paths.report)
    if args.open == "yes":
        webbrowser.open(sweep.paths.report.absolute().as_uri())
    return exit_codes.FINISHED

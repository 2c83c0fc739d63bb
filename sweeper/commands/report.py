"""Write the report of a sweep and open it, or rank the trials of several sweeps.

With `--md` it prints Markdown sections for a research log instead.
"""

import argparse
import os
import sys
import webbrowser

from sweeper.commands import common
from sweeper.journal import store
from sweeper.reporting import export, html_report, tables

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


def run(args: argparse.Namespace) -> None:
    folders = [common.find_folder(args, name) for name in args.names]
    sweeps = [store.load_sweep(folder) for folder in folders]
    if args.md:
        parts = [export.section(sweep) for sweep in sweeps]
        if len(sweeps) > 1:
            parts.append(tables.markdown_table(*tables.ranking(sweeps)) + "\n")
        print("\n".join(parts), end="")
    elif len(sweeps) > 1:
        common.console().print(tables.ranking_view(sweeps))
    else:
        html_report.write(sweeps[0])
        path = sweeps[0].paths.report
        print(path)
        if args.open == "yes":
            webbrowser.open(path.absolute().as_uri())

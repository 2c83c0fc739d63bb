"""Writes docs/cli.md from the commands themselves: `python docs/cli_page.py`."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from sweeper import cli, exit_codes

PAGE = Path(__file__).with_name("cli.md")
HEAD = """# Command line

`sweeper COMMAND` and `python -m sweeper COMMAND` are the same. A sweep is named by its
name below the folder of all sweeps or by its own folder; a trial by its number, the
first digits of its id, or `best`.

The folder of all sweeps is `--sweeps DIR`, else `$SWEEPER_SWEEPS`, else `sweeps` at the
root of the project, whatever folder of it the shell is in. The root is the nearest
folder with a `pyproject.toml` or `.git` above the experiment file (`run`, `plan`),
above `--config` (`train`) or above the working directory (all others); where there is
none, it is the working directory.

This page is made from the commands by `python docs/cli_page.py`.
"""


def page() -> str:
    """The page as it should be."""
    parts = [HEAD, "## Exit codes\n\n" + _exit_codes()]
    parser = cli.build_parser()
    (group,) = (
        action
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    for name, sub in group.choices.items():
        parts.append("\n".join(_command(name, sub)))
    return "\n".join(parts)


def _exit_codes() -> str:
    lines = str(exit_codes.__doc__).splitlines()
    return "\n".join(line for line in lines if line.startswith("|")) + "\n"


def _command(name: str, sub: argparse.ArgumentParser) -> Iterator[str]:
    yield f"## {name}\n"
    yield f"{sub.description}\n"
    yield f"```\n{str(sub.epilog).removeprefix('example: ')}\n```\n"
    rows = [row for action in sub._actions if (row := _argument(action))]
    if rows:
        yield "| argument | meaning |\n|---|---|"
        yield from rows
    yield ""


def _argument(action: argparse.Action) -> str:
    if "--help" in action.option_strings or "--sweeps" in action.option_strings:
        return ""
    values = "|".join(map(str, action.choices or ()))
    metavar = action.metavar or (values or action.dest).upper()
    shown = metavar if isinstance(metavar, str) else " ".join(metavar)
    shown = values or shown
    if action.option_strings:
        takes = "" if action.nargs == 0 else f" {shown}"
        text = ", ".join(action.option_strings) + takes
    else:
        text = {"*": f"[{shown} ...]", "+": f"{shown} ...", "?": f"[{shown}]"}.get(
            str(action.nargs), shown
        )
    meaning = (action.help or "").replace("|", "\\|")
    return f"| `{text}` | {meaning} |".replace("`" + text, "`" + text.replace("|", "/"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

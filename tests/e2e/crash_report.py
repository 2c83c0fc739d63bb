"""The report of a crash test: which rounds passed, what they did, what was checked."""

import inspect
import json
import os
import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.e2e import checks
from tests.e2e.crash_kinds import ACTIONS, KINDS

PAGE = "docs/reliability.md"
BEGIN, END = "<!-- crash report -->\n", "<!-- end of the crash report -->\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """A round that passed.

    Attributes:
        code: version of sweeper that it ran with.
    """

    number: int
    seed: int
    kind: str
    cuts: tuple[str, ...]
    seconds: int
    code: str


def append(log: Path, done: Round) -> None:
    """Keep a round."""
    with log.open("a") as file:
        file.write(json.dumps(asdict(done)) + "\n")


def read(log: Path, *, seed: int) -> list[Round]:
    """The rounds of a seed that a log holds."""
    if not log.exists():
        return []
    found = [json.loads(line) for line in log.read_text().splitlines()]
    rounds = [Round(**{**data, "cuts": tuple(data["cuts"])}) for data in found]
    return [each for each in rounds if each.seed == seed]


def render(rounds: Sequence[Round]) -> str:
    """The report in Markdown."""
    day = datetime.now(UTC).date().isoformat()
    seconds = sum(each.seconds for each in rounds)
    starts = sum(len(each.cuts) + 1 for each in rounds)
    sweeps = Counter(each.kind for each in rounds)
    of_kinds = ", ".join(f"{sweeps[k.name]} {k.name}" for k in KINDS if sweeps[k.name])
    cuts = Counter(cut for each in rounds for cut in each.cuts)
    commits = dict.fromkeys(each.code for each in rounds)
    summary = (
        f"Report of {day}, {os.cpu_count()} cores, commits {', '.join(commits)}: "
        f"{len(rounds)} rounds passed ({of_kinds}), {starts} starts, "
        f"{sum(cuts.values())} cuts that were met, {seconds / 60:.0f} minutes in sum."
    )
    lines = [
        *textwrap.wrap(summary, 88),
        "",
        "| cut | times |",
        "|---|---|",
        *(f"| {cut} | {cuts[cut]} |" for cut in ACTIONS),
        "",
        "Checked after each cut: the exit code, and that no process of the sweep is",
        "alive 5 seconds later. At the end of each round:",
        "",
        *(f"- {_first_line(check)}" for check in checks.CHECKS),
    ]
    return "\n".join(lines) + "\n"


def _first_line(function: object) -> str:
    return (inspect.getdoc(function) or "").splitlines()[0]


def replace(page: Path, text: str) -> None:
    """Put the report in its place on a page."""
    old = page.read_text()
    pattern = re.escape(BEGIN) + ".*" + re.escape(END)
    new, count = re.subn(pattern, lambda _: BEGIN + text + END, old, flags=re.DOTALL)
    assert count == 1, f"{page} has no place for the report"
    page.write_text(new)

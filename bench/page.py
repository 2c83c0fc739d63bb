"""What was measured, as Markdown: goals first, then a table a section.

It measures nothing; the text between the two marks of the page is all that it writes.
"""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
MIB = 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A number that has a limit.

    Attributes:
        reason: why it is missed, found by profiling; shown where it is.
        is_floor: the limit is the least, not the most.
    """

    text: str
    value: float
    limit: float
    unit: str = ""
    reason: str = ""
    is_floor: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the number keeps within its limit."""
        return self.value >= self.limit if self.is_floor else self.value <= self.limit

    def row(self) -> str:
        """Its line in the table of goals."""
        word = "at least" if self.is_floor else "at most"
        unit = f" {self.unit}" if self.unit else ""
        verdict = "met" if self.is_met else "**missed**"
        return (
            f"| {self.text} | {word} {self.limit:g}{unit} | {self.value:.3g}{unit} "
            f"| {verdict} |"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One kind of measurement: its table and its goals."""

    title: str
    lines: Sequence[str]
    goals: Sequence[Goal] = field(default_factory=tuple)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]


def machine() -> str:
    """The machine, in words, and how busy it is."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, "
        f"{memory:.0f} GiB, no GPU used, Python {platform.python_version()}, "
        f"{platform.system()}; load before the first round {os.getloadavg()[0]:.1f}"
    )


def body(about: str, note: str, sections: Sequence[Section]) -> str:
    """All that was measured."""
    goals = [goal for section in sections for goal in section.goals]
    head = ["goal", "limit", "measured", ""]
    lines = [f"Measured on {about}.", *([note] if note else []), "", "### Goals", ""]
    lines += [f"| {' | '.join(head)} |", "|---|---|---|---|"]
    lines += [goal.row() for goal in goals]
    missed = [goal for goal in goals if not goal.is_met]
    if missed:
        lines += ["", "Why those that are missed are:", ""]
        reasons = [
            f"- {goal.text}: {goal.reason or 'not profiled yet'}" for goal in missed
        ]
        lines += reasons
    for section in sections:
        lines += ["", f"### {section.title}", "", *section.lines]
    return "\n".join(lines)


def replace(page: str, text: str) -> str:
    """The page with what was measured put in its place."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"

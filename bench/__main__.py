"""`python -m bench`: measures sweeper beside its peers, writes docs/performance.md.

Rounds alternate, so that a machine that slows down slows all of them; what is quoted
are medians of the ratios of each round.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import overhead, scheduling
from bench.measure import Figures

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
MIB = 1024**2


def machine() -> str:
    """The machine, in words, and how busy it was."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    load = os.getloadavg()[0]
    return (
        f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}; load before the first round {load:.1f}"
    )


def overhead_table(rounds: Sequence[Mapping[str, Figures]]) -> list[str]:
    """Peers beside sweeper: medians, and medians of the ratios of each round."""
    lines = [
        "| | wall s | CPU s | peak MiB | wall / sweeper | CPU / sweeper |",
        "|---|---|---|---|---|---|",
    ]
    for name in rounds[0]:
        both = [(each[name], each["sweeper"]) for each in rounds if name in each]
        wall = statistics.median(peer.wall_seconds for peer, _ in both)
        cpu = statistics.median(peer.cpu_seconds for peer, _ in both)
        peak = statistics.median(peer.peak_bytes for peer, _ in both) / MIB
        walls = statistics.median(p.wall_seconds / s.wall_seconds for p, s in both)
        cpus = statistics.median(p.cpu_seconds / s.cpu_seconds for p, s in both)
        lines.append(
            f"| {name} | {wall:.1f} | {cpu:.1f} | {peak:.0f} | {walls:.2f} "
            f"| {cpus:.2f} |"
        )
    return lines


def scheduling_table(largest: int) -> list[str]:
    """Cost of a result by the length of the sweep."""
    lines = [
        "| | trials | CPU ms a result | resume s | bytes a trial | peak MiB |",
        "|---|---|---|---|---|---|",
    ]
    for way, (_, _, most) in scheduling.WAYS.items():
        for count in scheduling.SIZES:
            if count <= min(most, largest):
                row = scheduling.measure(way, count)
                lines.append(
                    f"| {way} | {count} | {row['ms_a_result']:.2f} "
                    f"| {row['resume_seconds']:.2f} | {row['bytes_a_trial']:.0f} "
                    f"| {row['peak_bytes'] / MIB:.0f} |"
                )
                print(lines[-1], flush=True)
    return lines


def run_rounds(names: Sequence[str], count: int) -> list[dict[str, Figures]]:
    """Every peer once a round; one that fails is left out and named."""
    rounds: list[dict[str, Figures]] = []
    for number in range(1, count + 1):
        found: dict[str, Figures] = {}
        for name in names:
            try:
                found[name] = overhead.run(name)
            except (RuntimeError, subprocess.SubprocessError) as error:
                print(f"{name}: left out: {error}", file=sys.stderr)
                continue
            print(f"round {number}: {name}: {found[name]}", flush=True)
        if "sweeper" in found:
            rounds.append(found)
    return rounds


def replace(page: str, body: str) -> str:
    """The page with what was measured put in its place."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{body}\n{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", default="", help="names that contain one of a,b,c")
    parser.add_argument("--trials", type=int, default=10_000, help="longest sweep")
    parser.add_argument("--note", default="", help="a sentence for the page")
    args = parser.parse_args()
    wanted = [word for word in args.peers.split(",") if word]
    names = [
        name
        for name in overhead.available()
        if name == "sweeper" or not wanted or any(word in name for word in wanted)
    ]
    about = machine()
    rounds = run_rounds(names, args.rounds)
    body = [
        f"Measured on {about}; medians of {len(rounds)} alternating rounds.",
        args.note,
        "",
        f"### {overhead.TRIALS} trials of {overhead.EPOCHS} epochs, two at once, cold",
        "",
        *(overhead_table(rounds) if rounds else []),
        "",
        f"### A result in a long sweep ({scheduling.REPORTS} reports a trial)",
        "",
        *scheduling_table(args.trials),
    ]
    PAGE.write_text(replace(PAGE.read_text(), "\n".join(body)))
    kept = [{name: vars_of(found) for name, found in each.items()} for each in rounds]
    print(json.dumps(kept))


def vars_of(found: Figures) -> dict[str, float]:
    """The numbers of a run."""
    return {
        "wall_seconds": found.wall_seconds,
        "cpu_seconds": found.cpu_seconds,
        "peak_bytes": found.peak_bytes,
    }


if __name__ == "__main__":
    main()

"""`python -m bench`: measures sweeper beside its peers, writes docs/performance.md.

Rounds alternate, so that a machine that slows down slows all of them; what is quoted
are medians, of ratios those of the ratios of each round. It needs nobody: what fails
is named on the page, and the page is written anew after each section.
"""

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence

from bench import (
    commands,
    configs,
    data,
    overhead,
    page,
    scheduling,
    slots,
    training,
)
from bench.page import PAGE, Section


def measure(
    makers: Mapping[str, Callable[[], Section]], show: Callable[[list[Section]], None]
) -> bool:
    """Every section in turn, each shown as it is done; whether all of them worked."""
    sections: list[Section] = []
    is_whole = True
    for name, make in makers.items():
        begin = time.monotonic()
        try:
            sections.append(make())
        except Exception as error:  # one section's; the others are still of use
            traceback.print_exc()
            is_whole = False
            text = f"Not measured: {type(error).__name__}: {error}".splitlines()[0]
            sections.append(Section(title=name.capitalize(), lines=[text]))
        print(f"{name}: {time.monotonic() - begin:.0f} s", flush=True)
        show(sections)
    return is_whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write; 1 where a section failed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    rounds = int(os.environ.get("ROUNDS", "3"))
    parser.add_argument("--rounds", type=int, default=rounds, help="or $ROUNDS")
    parser.add_argument("--peers", default="", help="names that contain one of a,b,c")
    parser.add_argument("--only", default="", help="sections a,b,c")
    parser.add_argument("--trials", type=int, default=10_000, help="longest sweep")
    parser.add_argument("--note", default="", help="a sentence for the page")
    parser.add_argument("--dry", action="store_true", help="print, write no page")
    args = parser.parse_args(arguments)
    words = [word for word in args.peers.split(",") if word]
    makers: dict[str, Callable[[], Section]] = {
        "overhead": lambda: overhead.section(args.rounds, words),
        "slots": lambda: slots.section(args.rounds),
        "scale": lambda: scheduling.section(args.rounds, args.trials),
        "configs": lambda: configs.section(args.rounds),
        "data": lambda: data.section(args.rounds),
        "training": lambda: training.section(args.rounds),
        "commands": lambda: commands.section(args.rounds),
    }
    wanted = [name for name in args.only.split(",") if name] or list(makers)
    about = f"{page.machine()}; {args.rounds} alternating rounds, medians"

    def show(sections: list[Section]) -> None:
        text = page.body(about, args.note, sections)
        if args.dry:
            print(text, flush=True)
        else:
            PAGE.write_text(page.replace(PAGE.read_text(), text))

    is_whole = measure({name: makers[name] for name in wanted}, show)
    return 0 if is_whole else 1


if __name__ == "__main__":
    sys.exit(main())

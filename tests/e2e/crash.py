"""The crash test: sweeps cut at random moments, again and again, until they are done.

`python -m tests.e2e.crash --rounds 50 --seed 0` runs rounds; a round is a function of
the seed and its number. Each ends with the checks of `checks.py` against the same sweep
uncut. The first difference ends it with a traceback and leaves the folder; rounds that
passed are in the log, and the same command goes on after them.
"""

import argparse
import contextlib
import functools
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from sweeper.system.code_version import version
from tests.e2e import checks, crash_report, failpoints
from tests.e2e.crash_kinds import (
    ACTIONS,
    CUTS,
    GOES_ON,
    KILLED,
    KINDS,
    LOST_RAY,
    POINTS,
    Kind,
)
from tests.e2e.harness import ROOT, Driver, driver

GONE_SECONDS = 60.0
WAIT_SECONDS = 900.0  # this machine may be a busy one
# The sweep had ended, or Ray gave up its node by itself, as on a machine that stalls.
UNMET = (0, LOST_RAY)
MAX_CUTS = 3
MAX_TRIES = 10  # at one round whose cuts all come in time
ENDS = [name for name in ACTIONS if name not in GOES_ON]
LATEST = 0.9  # of a run's lines; the last ones come at its end, all at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """What a sweep does that nobody cuts.

    Attributes:
        lines: that its driver prints.
        reached: how often each failpoint is met.
    """

    folder: Path
    lines: int
    reached: Mapping[str, int]


def _lines(sweeps: Path) -> int:
    """How many lines the drivers of a folder have printed."""
    output = sweeps / "output"
    return output.read_text().count("\n") if output.exists() else 0


class Crash:
    """Runs rounds in a folder, with the uncut sweeps to compare with."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._whole: dict[str, Whole] = {}
        self._lock = threading.Lock()

    def round(
        self, number: int, *, seed: int, kinds: Sequence[Kind]
    ) -> crash_report.Round:
        """Cut one sweep one to three times, finish it, check it; what was done.

        A cut can come too late: the sweep has ended before. Then it is checked as it
        is, and another draw is the round. One cut of each round is the next of all
        that there are; it comes last where the driver goes on to the sweep's end.
        """
        begin = time.monotonic()
        for attempt in range(MAX_TRIES):
            stream = random.Random(f"{seed}/{number}/{attempt}")  # noqa: S311
            names = [ACTIONS[number % len(ACTIONS)]]
            names += stream.choices(ENDS, k=stream.randint(0, MAX_CUTS - 1))
            names.sort(key=GOES_ON.__contains__)
            kind = stream.choice([k for k in kinds if self._has_all(k, names)])
            sweeps = self._folder / f"round-{number}"
            is_whole = all(self._cut(kind, sweeps, name, stream) for name in names)
            if is_whole:
                self.finish(kind, sweeps)
            else:
                self._check(kind, sweeps)
            shutil.rmtree(sweeps)
            if is_whole:
                seconds = round(time.monotonic() - begin)
                return crash_report.Round(
                    number=number,
                    seed=seed,
                    kind=kind.name,
                    cuts=tuple(names),
                    seconds=seconds,
                    code=version(ROOT),
                )
        raise AssertionError(f"{MAX_TRIES} draws of round {number} came too late")

    def _has_all(self, kind: Kind, names: Sequence[str]) -> bool:
        """Whether the sweep reaches the failpoints: a plain loop has no checkpoint."""
        reached = self.whole(kind).reached
        return all(POINTS[name] in reached for name in names if name in POINTS)

    def _cut(self, kind: Kind, sweeps: Path, name: str, stream: random.Random) -> bool:
        """One cut at a moment that is drawn from what is left; whether it came."""
        whole = self.whole(kind)
        left = max(0.0, 1 - _lines(sweeps) / whole.lines)
        share, jitter = stream.random(), stream.uniform(0, 0.5)
        if name in POINTS:
            most = whole.reached[POINTS[name]]
            count = 1 + int(share * left * (most - 1))
            return self.cut_at(kind, sweeps, point=f"{POINTS[name]}:{count}")
        num_lines = int(share * left * LATEST * whole.lines)
        return self.cut(kind, sweeps, name=name, lines=num_lines, jitter=jitter)

    def cut(
        self, kind: Kind, sweeps: Path, *, name: str, lines: int, jitter: float
    ) -> bool:
        """Start the sweep and cut it `jitter` seconds after so many lines.

        Lines, and not seconds: a busy machine would cut before or after the work.
        """
        before = _lines(sweeps)
        with self._driver(kind, sweeps) as running:
            while _lines(sweeps) < before + lines and running.process.poll() is None:
                time.sleep(0.01)
            time.sleep(jitter)
            is_met = CUTS[name].is_met(running)
            code = self._wait(running)
        assert code in (*UNMET, *CUTS[name].codes), (name, code, running.tail())
        return is_met and code in CUTS[name].codes

    def cut_at(self, kind: Kind, sweeps: Path, *, point: str) -> bool:
        """Start the sweep and kill all of it at a failpoint; whether it got there."""
        with self._driver(kind, sweeps, point=point) as running:
            code = self._wait(running)
        assert code in (*UNMET, KILLED), (point, code, running.tail())
        return code == KILLED

    def finish(self, kind: Kind, sweeps: Path) -> None:
        """Run the same command to the end and check what is there."""
        with self._driver(kind, sweeps) as running:
            assert self._wait(running) == 0, running.tail()
        self._check(kind, sweeps)

    def _check(self, kind: Kind, sweeps: Path) -> None:
        whole = self.whole(kind)
        checks.check(
            whole.folder / kind.name, sweeps / kind.name, kind.trials, kind.epochs
        )

    def whole(self, kind: Kind) -> Whole:
        """The sweep uncut, run when it is first asked for."""
        with self._lock:
            if kind.name not in self._whole:
                self._whole[kind.name] = self._run_whole(kind)
            return self._whole[kind.name]

    def _run_whole(self, kind: Kind) -> Whole:
        sweeps = self._folder / f"uncut-{kind.name}"
        with self._driver(kind, sweeps, point=failpoints.COUNT_ONLY) as running:
            assert self._wait(running) == 0, running.tail()
        return Whole(
            folder=sweeps,
            lines=_lines(sweeps),
            reached=failpoints.reached(sweeps / "failpoint"),
        )

    @contextlib.contextmanager
    def _driver(self, kind: Kind, sweeps: Path, *, point: str = "") -> Iterator[Driver]:
        sweeps.mkdir(parents=True, exist_ok=True)
        file = sweeps / f"{kind.name}.yaml"
        file.write_text(kind.text)
        env = None
        if point:
            env = failpoints.install(
                sweeps / "failpoint",
                point=point,
                trials=kind.trials,
                epochs=kind.epochs,
            )
        arguments = (file, "--sweeps", sweeps, *kind.arguments)
        with driver(*arguments, output=sweeps / "output", env=env) as running:
            yield running

    def _wait(self, running: Driver) -> int:
        code = running.process.wait(timeout=WAIT_SECONDS)
        running.assert_gone(within_seconds=GONE_SECONDS)
        return code


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=1, help="rounds side by side")
    parser.add_argument("--kinds", nargs="*", default=[kind.name for kind in KINDS])
    parser.add_argument(
        "--log",
        type=Path,
        default=Path(tempfile.gettempdir()) / "crash.jsonl",
        help="rounds that passed; they are not run again (default: %(default)s)",
    )
    parser.add_argument(
        "--report",
        type=Path,
        help=f"page whose report is replaced, such as {crash_report.PAGE}",
    )
    args = parser.parse_args()
    if args.report and not args.report.is_file():
        parser.error(f"--report: {args.report} is not there")
    return args


def main() -> None:
    """Run the rounds that the command line asks for."""
    args = _arguments()
    kinds = [kind for kind in KINDS if kind.name in args.kinds]
    folder = Path(tempfile.mkdtemp(prefix="crash-"))
    crash = Crash(folder)
    passed = {done.number for done in crash_report.read(args.log, seed=args.seed)}
    left = [number for number in range(args.rounds) if number not in passed]
    run = functools.partial(crash.round, seed=args.seed, kinds=kinds)
    with ThreadPoolExecutor(args.at_once) as pool:
        try:
            for future in as_completed([pool.submit(run, number) for number in left]):
                done = future.result()
                crash_report.append(args.log, done)
                print(
                    f"round {done.number}: {done.kind}: {', '.join(done.cuts)}",
                    flush=True,
                )
        finally:
            pool.shutdown(cancel_futures=True)
    shutil.rmtree(folder)
    text = crash_report.render(crash_report.read(args.log, seed=args.seed))
    print(text)
    if args.report:
        crash_report.replace(args.report, text)


if __name__ == "__main__":
    sys.exit(main())

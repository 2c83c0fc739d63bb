"""The crash test: sweeps cut at random moments, again and again, until they are done.

`python -m tests.e2e.crash --rounds 50 --seed 0` runs rounds; a round is a function of
the seed and its number. Each ends with the checks of `checks.py` against the same sweep
uncut. The first difference ends it with a traceback and leaves the folder.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.e2e import checks, failpoints
from tests.e2e.harness import LOOP, Driver, driver

GONE_SECONDS = 5.0
WAIT_SECONDS = 600.0  # this machine may be a busy one
LOOP_FILE = """
target: loop:train
config: conf/loop.yaml
project: {project}
overrides: [epochs=4, sleep=0.15]
search_space: {space}
objective: {{metric: acc, mode: max}}
resources: {{gpus: 0}}
retry: {{lost: 50}}
wandb: none
{more}
"""
DIGITS_FILE = """
project: {project}
config: conf/train.yaml
overrides: [model=small_cnn, data=digits, trainer=cpu, trainer.max_epochs=3]
search_space: {{model.learning_rate: [1e-3, 3e-3], data.batch_size: [64, 128]}}
objective: {{metric: val/acc_top1, mode: max}}
resources: {{gpus: 0}}
retry: {{lost: 50}}
wandb: offline
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A sweep to cut.

    Attributes:
        arguments: of `run`, beside the file.
        trials: how many it has, of `epochs` epochs each.
    """

    name: str
    text: str
    trials: int
    epochs: int
    arguments: tuple[str, ...] = ()
    has_checkpoints: bool = False  # of Lightning; a plain loop saves in its own way


def _loop(name: str, more: str, *, space: str, arguments: tuple[str, ...]) -> Kind:
    text = LOOP_FILE.format(project=LOOP, more=more, space=space)
    return Kind(name=name, text=text, trials=5, epochs=4, arguments=arguments)


INTERVAL = "{rate: 'interval(0.1, 0.9)'}"
KINDS = (
    _loop("grid", "", space="{rate: [0.1, 0.2, 0.3, 0.4, 0.5]}", arguments=()),
    _loop(
        "random", "search: random\nbudget: {trials: 5}", space=INTERVAL, arguments=()
    ),
    _loop(
        "tpe",
        "search: tpe\nbudget: {trials: 5}",
        space=INTERVAL,
        arguments=("--num-cpus", "1"),
    ),
    Kind(
        name="digits",
        text=DIGITS_FILE.format(project=LOOP.parents[2]),
        trials=4,
        epochs=3,
        has_checkpoints=True,
    ),
)


def _send(pids: Sequence[int], number: signal.Signals = signal.SIGKILL) -> bool:
    """Send a signal to each; whether there was any."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    return bool(pids)


def _one(found: Callable[[Driver], list[int]]) -> Callable[[Driver], bool]:
    return lambda running: _send(found(running)[:1])


def _signals(number: signal.Signals, count: int) -> Callable[[Driver], bool]:
    def send(running: Driver) -> bool:
        for _ in range(count):
            _send([running.process.pid], number)
            time.sleep(0.3)
        return True

    return send


# What is done to a running sweep; whether it was there to be done to.
CUTS: dict[str, Callable[[Driver], bool]] = {
    "kill driver": lambda running: _send([running.process.pid]),
    "kill trial": _one(Driver.trial_processes),
    "kill Ray worker": _one(Driver.slots),
    "kill journal": _one(Driver.journals),
    "kill template": _one(Driver.templates),
    "kill raylet": _one(Driver.raylets),
    "kill everything": lambda running: _send(running.everything()),
    "SIGINT": _signals(signal.SIGINT, 1),
    "SIGINT twice": _signals(signal.SIGINT, 2),
    "SIGTERM": _signals(signal.SIGTERM, 1),
}
CHECKPOINTS = {"checkpoint", "rename"}
GOES_ON = {"kill trial", "kill Ray worker", "kill template"}


def _lines(sweeps: Path) -> int:
    """How many lines the drivers of a folder have printed."""
    output = sweeps / "output"
    return output.read_text().count("\n") if output.exists() else 0


class Crash:
    """Runs rounds in a folder, with the uncut sweeps to compare with."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines: dict[str, int] = {}  # that each uncut sweep printed
        self.counts: Counter[str] = Counter()

    def round(self, number: int, *, seed: int, kinds: Sequence[Kind]) -> str:
        """Cut one sweep one to three times, finish it, check it; what was done."""
        stream = random.Random(f"{seed}/{number}")  # noqa: S311  # no secret
        kind = stream.choice(kinds)
        self._run_uncut(kind)
        sweeps = self._folder / f"round-{number}"
        done = []
        for attempt in range(stream.randint(1, 3)):
            if stream.random() < 0.35:
                points = [
                    p
                    for p in failpoints.POINTS
                    if kind.has_checkpoints or p not in CHECKPOINTS
                ]
                point = f"{stream.choice(points)}:{stream.randint(1, 6)}"
                done.append(self.cut_at(kind, sweeps, point=point))
            else:
                name = stream.choice(list(CUTS))
                share, jitter = stream.random(), stream.uniform(0, 0.5)
                num_lines = int(share * max(0, self._lines[kind.name] - _lines(sweeps)))
                done.append(
                    self.cut(kind, sweeps, name=name, lines=num_lines, jitter=jitter)
                )
            assert attempt < 3
        self.finish(kind, sweeps)
        shutil.rmtree(sweeps)
        return f"{kind.name}: {', '.join(done)}"

    def cut(
        self, kind: Kind, sweeps: Path, *, name: str, lines: int, jitter: float
    ) -> str:
        """Start the sweep and cut it `jitter` seconds after so many lines.

        Lines, and not seconds: a busy machine would cut before or after the work.
        """
        before = _lines(sweeps)
        with self._driver(kind, sweeps) as running:
            while _lines(sweeps) < before + lines and running.process.poll() is None:
                time.sleep(0.01)
            time.sleep(jitter)
            is_hit = running.process.poll() is None and CUTS[name](running)
            if is_hit and name not in GOES_ON:
                self._wait(running)
            else:
                self._wait(running, is_whole=True)
        label = name if is_hit else f"{name} (too late)"
        self.counts[label] += 1
        return f"{label} at line {lines}"

    def cut_at(self, kind: Kind, sweeps: Path, *, point: str) -> str:
        """Start the sweep and kill all of it at a failpoint; what was done."""
        env = failpoints.install(
            self._folder / "failpoint",
            point=point,
            trials=kind.trials,
            epochs=kind.epochs,
        )
        with self._driver(kind, sweeps, env=env) as running:
            self._wait(running)
            is_hit = running.process.returncode == -signal.SIGKILL
        name = point.partition(":")[0]
        label = f"failpoint {name}" if is_hit else f"failpoint {name} (not met)"
        self.counts[label] += 1
        return label

    def finish(self, kind: Kind, sweeps: Path) -> None:
        """Run the same command to the end and check what is there."""
        with self._driver(kind, sweeps) as running:
            self._wait(running, is_whole=True)
        whole = self._run_uncut(kind)
        checks.check(whole / kind.name, sweeps / kind.name, kind.trials, kind.epochs)

    def _run_uncut(self, kind: Kind) -> Path:
        sweeps = self._folder / "uncut"
        if kind.name not in self._lines:
            before = _lines(sweeps)
            with self._driver(kind, sweeps) as running:
                self._wait(running, is_whole=True)
            self._lines[kind.name] = _lines(sweeps) - before
        return sweeps

    @contextlib.contextmanager
    def _driver(self, kind, sweeps, env=None):  # type: ignore[no-untyped-def]
        self._folder.mkdir(parents=True, exist_ok=True)
        sweeps.mkdir(parents=True, exist_ok=True)
        file = self._folder / f"{kind.name}.yaml"
        file.write_text(kind.text)
        arguments = (file, "--sweeps", sweeps, *kind.arguments)
        with driver(*arguments, output=sweeps / "output", env=env) as running:
            yield running

    def _wait(self, running: Driver, *, is_whole: bool = False) -> None:
        running.process.wait(timeout=WAIT_SECONDS)
        running.assert_gone(within_seconds=GONE_SECONDS)
        if is_whole:
            text = running.output.read_text()
            assert running.process.returncode == 0, text[-3000:]


def main() -> None:
    """Run the rounds that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", default=[kind.name for kind in KINDS])
    parser.add_argument("--seconds", type=float, default=float("inf"))
    args = parser.parse_args()
    kinds = [kind for kind in KINDS if kind.name in args.kinds]
    folder = Path(tempfile.mkdtemp(prefix="crash-"))
    crash = Crash(folder)
    begin = time.monotonic()
    num_rounds = 0
    for number in range(args.first, args.first + args.rounds):
        if time.monotonic() - begin > args.seconds:
            break
        print(f"round {number}: ", end="", flush=True)
        print(crash.round(number, seed=args.seed, kinds=kinds), flush=True)
        num_rounds += 1
    shutil.rmtree(folder)
    print(f"{num_rounds} rounds passed in {time.monotonic() - begin:.0f} s")
    for label, count in sorted(crash.counts.items()):
        print(f"  {count:3d} {label}")


if __name__ == "__main__":
    sys.exit(main())

"""Kills fits at random times with SIGKILL, until each ends, and compares.

    python -m tests.resume_fuzz --rounds 20 --seed 0

A round is a case, with or without saves within an epoch, killed two to six times.
Exit code 1 where a result is not that of the fit that was not killed.
"""

import argparse
import contextlib
import json
import logging
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

from sweeper.protocol import Answer, Message, TrialSpec
from tests.exact import running
from tests.exact.cases import CASES
from tests.exact.running import History, make_spec

FORK = multiprocessing.get_context("forkserver")


def attempt(text: str, history_file: str) -> None:
    """One attempt in a process of its own, all of its output dropped."""
    os.setsid()
    quiet()
    history = History(read_history(Path(history_file)))
    spec = TrialSpec.from_json(text)
    original = history.ask

    class Channel(History):
        def ask(self, message: Message) -> Answer:
            answer = original(message)
            write_history(Path(history_file), history)
            return answer

    running.run(spec, Channel())


def quiet() -> None:
    """Silence Lightning's advice to the author of the toy project."""
    warnings.simplefilter("ignore")
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 2)


def read_history(path: Path) -> dict[int, dict[str, float]]:
    if not path.exists():
        return {}
    return {int(epoch): row for epoch, row in json.loads(path.read_text()).items()}


def write_history(path: Path, history: History) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(history.metrics))
    temporary.replace(path)


def fit(spec: TrialSpec, history: Path, *, kill_after: float | None) -> bool:
    """Run one attempt, killed after some seconds; whether it came to its end."""
    process = FORK.Process(target=attempt, args=(spec.to_json(), str(history)))
    process.start()
    process.join(kill_after)
    if process.exitcode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.kill()
        process.join()
    return process.exitcode == 0


def one_round(folder: Path, stream: random.Random) -> str:
    """What is wrong with one case that was killed; "" for nothing."""
    name = stream.choice(list(CASES))
    overrides = (*CASES[name], "sleep=0.01")
    steps = stream.choice((0, 0, 1, 3))
    whole = make_spec(folder / "whole", overrides)
    cut = make_spec(folder / "cut", overrides, checkpoint_steps=steps)
    begin = time.monotonic()
    if not fit(whole, folder / "whole.json", kill_after=None):
        return f"{name}: the fit that was not killed did not end"
    seconds = time.monotonic() - begin  # a busy machine needs more
    kills = 0
    for _ in range(stream.randint(2, 6)):
        if fit(cut, folder / "cut.json", kill_after=seconds * stream.uniform(0.1, 0.9)):
            break
        kills += 1
    else:
        if not fit(cut, folder / "cut.json", kill_after=None):
            return f"{name}: killed {kills} times, it did not end"
    histories = (read_history(folder / f"{n}.json") for n in ("whole", "cut"))
    found = running.differences(running.result(whole), running.result(cut))
    found += running.differences(*histories, "history")
    print(f"{name}, every_steps {steps}, {kills} kills: {len(found)} differences")
    return f"{name}: {found[0]}" if found else ""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    FORK.set_forkserver_preload(["tests.exact.fits", "tests.exact.running"])
    problems = []
    for number in range(options.rounds):
        stream = random.Random(f"{options.seed} {number}")  # noqa: S311
        with tempfile.TemporaryDirectory() as folder:
            problem = one_round(Path(folder), stream)
        sys.stdout.flush()
        problems += [problem] if problem else []
    print(f"{options.rounds} rounds, {len(problems)} wrong", *problems, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

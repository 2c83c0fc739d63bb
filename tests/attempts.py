"""One attempt of a trial in a process of its own, killed where a test says so.

`python -m tests.attempts SPEC [--kill-at EPOCH] [--decision-at EPOCH=stop]`.
"""

import argparse
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from sweeper.protocol import Answer, Decision, Message, Report, TrialSpec
from sweeper.system import wandb
from sweeper.trial import worker
from tests import warm

WANDB_SECONDS = 120  # for its writer to bring to disk what the trial has logged


@dataclass(frozen=True)
class Channel:
    """Answers CONTINUE but where it is told otherwise."""

    spec: TrialSpec
    kill_at: int
    stop_at: int
    pause_at: int

    def ask(self, message: Message) -> Answer:
        """Take one epoch, or die."""
        assert isinstance(message, Report)
        if message.epoch == self.kill_at:
            self.await_wandb()
            os.kill(os.getpid(), signal.SIGKILL)
        if message.epoch == self.stop_at:
            return Answer(decision=Decision.STOP)
        is_pause = message.epoch == self.pause_at
        return Answer(decision=Decision.PAUSE if is_pause else Decision.CONTINUE)

    def await_wandb(self) -> None:
        """Wait until the rows of all epochs before this one are on disk."""
        deadline = time.monotonic() + WANDB_SECONDS
        while self.spec.wandb["mode"] != "none" and time.monotonic() < deadline:
            found = wandb.fragments(Path(self.spec.folder))
            rows = [row for fragment in found for row in fragment.rows]
            if sum(self.spec.metric in row for row in rows) >= self.kill_at - 1:
                return


def attempt(
    spec: TrialSpec, *arguments: str, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the module on a spec, whose folder gets its file."""
    folder = Path(spec.folder)
    folder.mkdir(exist_ok=True)
    file = folder / "asked.json"
    file.write_text(spec.to_json())
    return warm.run("tests.attempts", str(file), *arguments, env={**os.environ, **env})


def main() -> None:
    """Run the attempt; the outcome is the last line of standard output."""
    parser = argparse.ArgumentParser()
    parser.add_argument("spec", type=Path)
    for name in ("kill", "stop", "pause"):
        parser.add_argument(f"--{name}-at", type=int, default=0)
    args = parser.parse_args()
    spec = TrialSpec.from_json(args.spec.read_text())
    channel = Channel(spec, args.kill_at, args.stop_at, args.pause_at)
    outcome = worker.run_trial(spec, channel.ask)
    print(f"{outcome.event} {outcome.kind} {outcome.message}")


if __name__ == "__main__":
    main()

"""One attempt of a trial in a process of its own, killed where a test says so.

`python -m tests.attempts SPEC [--kill-at EPOCH] [--decision-at EPOCH=stop]`.
"""

import argparse
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sweeper import worker
from sweeper.trial import Decision, TrialSpec


@dataclass(frozen=True)
class Channel:
    """Answers CONTINUE but where it is told otherwise."""

    kill_at: int
    stop_at: int
    pause_at: int

    def report(
        self,
        *,
        epoch: int,
        value: float | None,
        metrics: Mapping[str, float],
        busy_seconds: float,
        usage: Mapping[str, float],
    ) -> Decision:
        """Take one epoch, or die."""
        if epoch == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if epoch == self.stop_at:
            return Decision.STOP
        return Decision.PAUSE if epoch == self.pause_at else Decision.CONTINUE


def main() -> None:
    """Run the attempt; the outcome is the last line of standard output."""
    parser = argparse.ArgumentParser()
    parser.add_argument("spec", type=Path)
    for name in ("kill", "stop", "pause"):
        parser.add_argument(f"--{name}-at", type=int, default=0)
    args = parser.parse_args()
    channel = Channel(args.kill_at, args.stop_at, args.pause_at)
    outcome = worker.run_trial(TrialSpec.from_json(args.spec.read_text()), channel)
    print(f"{outcome.event} {outcome.kind} {outcome.message}")


if __name__ == "__main__":
    main()

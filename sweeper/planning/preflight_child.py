"""Trials of one batch each, one after another in forked processes of one process.

Specs come in as lines of JSON, an outcome goes out for each; the trials print to
their own logs.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from sweeper.host import leaving
from sweeper.host.paths import TrialPaths
from sweeper.processes import child, worker
from sweeper.reports import Report
from sweeper.trial import Decision, TrialSpec

LIMIT_SECONDS = 180


@dataclass
class _Once:
    """Stops the trial after its first report."""

    num_reports: int = 0

    def report(self, report: Report) -> Decision:
        self.num_reports += bool(report.values)
        return Decision.STOP


def attempt(spec: TrialSpec) -> dict[str, object]:
    """Run one trial in this process, which is of no use afterwards."""
    child.redirect_output(TrialPaths(Path(spec.folder)))
    channel = _Once()
    outcome = worker.run_trial(spec, channel)
    return {**asdict(outcome), "num_reports": channel.num_reports}


def in_child(work: Callable[[], dict[str, object]]) -> dict[str, object]:
    """What `work` returns in a forked process, which may die or hang."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        signal.alarm(LIMIT_SECONDS)
        os.write(write, json.dumps(work()).encode())
        leaving.leave(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    if text:
        answer: dict[str, object] = json.loads(text)
        return answer
    code = os.waitstatus_to_exitcode(status)
    reason = (
        f"no result within {LIMIT_SECONDS} seconds"
        if code == -signal.SIGALRM
        else f"its process ended with status {code}"
    )
    return {"event": "failed", "message": reason, "num_reports": 0}


def main() -> None:
    """`python -m sweeper.planning.preflight_child`, with specs on standard input."""
    for line in sys.stdin:
        spec = TrialSpec.from_json(line)
        answer = in_child(lambda spec=spec: attempt(spec))  # type: ignore[misc]  # bound
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

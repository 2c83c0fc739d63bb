"""The forked process of a trial: a channel on a socket around `worker.run_trial`.

It reads no journal; the slot at the other end of the socket does.
"""

import faulthandler
import json
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from sweeper.host import leaving
from sweeper.host.paths import TrialPaths
from sweeper.processes import worker
from sweeper.reports import Report
from sweeper.trial import Decision, TrialSpec


class SocketChannel:
    """Sends a report as one line and waits for the line with the decision.

    When the slot at the other end dies, the template kills this process group.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._lines = connection.makefile("rw", encoding="utf-8")
        self._limit_seconds: float | None = None

    def watch(self, limit_seconds: float | None) -> None:
        """Write every thread's stack to standard error shortly before this limit.

        The slot kills a process that is silent for so long; the stack says where it
        hung. Each report starts the time anew.
        """
        self._limit_seconds = limit_seconds
        if limit_seconds is not None:
            early = limit_seconds - min(1.0, limit_seconds / 10)
            faulthandler.dump_traceback_later(early)

    def receive(self) -> Mapping[str, str]:
        """The next line; empty at the end of the connection."""
        line = self._lines.readline()
        message: Mapping[str, str] = json.loads(line) if line else {}
        return message

    def report(self, report: Report) -> Decision:
        """Journal one epoch; the decision."""
        self.send({"event": "report", "report": report.to_json()})
        decision = Decision(self.receive()["decision"])
        self.watch(self._limit_seconds)
        return decision

    def send(self, message: Mapping[str, object]) -> None:
        """Send one line."""
        self._lines.write(json.dumps(message) + "\n")
        self._lines.flush()


def serve(connection: socket.socket) -> None:
    """Run the trial whose spec comes first on `connection`, then say how it ended."""
    channel = SocketChannel(connection)
    request = channel.receive()
    if not request:
        return
    spec = TrialSpec.from_json(request["spec"])
    os.environ.update(json.loads(request["env"]))
    try:
        redirect_output(TrialPaths(Path(spec.folder)))
        faulthandler.enable()
        channel.watch(spec.timeout_seconds)
        outcome = worker.run_trial(spec, channel)
    except BaseException as error:  # such as a folder that cannot be written to
        outcome = worker.ended_by(error, spec)
    faulthandler.cancel_dump_traceback_later()
    leaving.flush()
    try:
        channel.send(asdict(outcome))
    except OSError:  # the target closed the channel; the exit status has to do
        if outcome.event != "finished":
            raise


def redirect_output(paths: TrialPaths) -> None:
    """Send standard output and error to the trial's log, which attempts share."""
    paths.folder.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(paths.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)

"""The forked process of a trial: a channel on a socket around `worker.run_trial`.

It reads no journal; the slot at the other end of the socket does.
"""

import json
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from sweeper import worker
from sweeper.paths import TrialPaths
from sweeper.trial import Decision, TrialSpec


class SocketChannel:
    """Sends a report as one line and waits for the line with the decision.

    A thread reads, so that the death of the slot ends this process group at once
    and not at the next report.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._out = connection.makefile("w", encoding="utf-8")
        self._in = connection.makefile("r", encoding="utf-8")
        self._decisions: queue.SimpleQueue[Decision] = queue.SimpleQueue()

    def first_line(self) -> str:
        """The line that starts the trial; call it before `listen`."""
        return self._in.readline()

    def listen(self) -> None:
        """Watch the connection from now on."""
        threading.Thread(target=_listen, args=(self._in, self._decisions)).start()

    def report(
        self,
        *,
        epoch: int,
        value: float | None,
        metrics: Mapping[str, float],
        busy_seconds: float,
    ) -> Decision:
        """Journal one epoch; the decision."""
        self.send(
            {
                "event": "report",
                "epoch": epoch,
                "value": value,
                "metrics": dict(metrics),
                "busy_seconds": busy_seconds,
            }
        )
        return self._decisions.get()

    def send(self, message: Mapping[str, object]) -> None:
        """Send one line."""
        self._out.write(json.dumps(message) + "\n")
        self._out.flush()


def _listen(lines: TextIO, decisions: "queue.SimpleQueue[Decision]") -> None:
    for line in lines:
        decisions.put(Decision(json.loads(line)["decision"]))
    os.killpg(0, signal.SIGKILL)


def serve(connection: socket.socket) -> None:
    """Run the trial whose spec comes first on `connection`, then say how it ended."""
    channel = SocketChannel(connection)
    first = channel.first_line()
    if not first:
        return
    request = json.loads(first)
    spec = TrialSpec.from_json(request["spec"])
    os.environ.update(request["env"])
    redirect_output(TrialPaths(Path(spec.folder)))
    channel.listen()
    outcome = worker.run_trial(spec, channel)
    sys.stdout.flush()
    sys.stderr.flush()
    channel.send({**asdict(outcome)})


def redirect_output(paths: TrialPaths) -> None:
    """Send standard output and error to the trial's log, which attempts share."""
    paths.folder.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(paths.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)

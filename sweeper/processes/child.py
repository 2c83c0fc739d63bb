"""The forked process of a trial: a channel on a socket around `worker.run_trial`.

It reads no journal; the slot at the other end of the socket does.
"""

import contextlib
import faulthandler
import fcntl
import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from sweeper.host import process
from sweeper.host.paths import TrialPaths
from sweeper.processes import fork_server, worker
from sweeper.reports import Report
from sweeper.trial import Decision, TrialSpec


class Turn:
    """A lock among this process's threads and the processes that it forks.

    A fork in the middle of a turn leaves no lock behind in the forked process, as one
    of `threading` would: the kernel knows who holds it.
    """

    def __init__(self) -> None:
        self._file = os.memfd_create("turn")

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Hold the lock while the block runs."""
        # Opened anew, since an flock belongs to the open file, not to the process.
        descriptor = os.open(f"/proc/self/fd/{self._file}", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a forked process has it open, too
            os.close(descriptor)


class SocketChannel:
    """Sends a report as one line and waits for the line with the decision.

    When the slot at the other end dies, the template kills this process group.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._turn = Turn()

    def receive(self) -> Mapping[str, str]:
        """The next line; empty at the end of the connection."""
        line = b""
        while not line.endswith(b"\n") and (part := self._connection.recv(65536)):
            line += part  # there is only ever one line: each answers a question
        message: Mapping[str, str] = json.loads(line) if line else {}
        return message

    def report(self, report: Report) -> Decision:
        """Journal one epoch; the decision.

        A process that the trial has forked may report, too.
        """
        with self._turn.taken():
            self.send({"event": "report", "report": report.to_json()})
            return Decision(self.receive()["decision"])

    def send(self, message: Mapping[str, object]) -> None:
        """Send one line."""
        self._connection.sendall(json.dumps(message).encode() + b"\n")


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
        fork_server.enable_stacks()
        outcome = worker.run_trial(spec, channel)
    except BaseException as error:  # such as a folder that cannot be written to
        outcome = worker.ended_by(error, spec)
    process.flush()
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

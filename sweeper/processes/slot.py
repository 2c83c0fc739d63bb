"""A slot: runs one trial after another, each in a process forked for it.

It relays between that process and the journal; it decides nothing, and of Ray it
knows nothing.
"""

import contextlib
import json
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from sweeper.host import disk
from sweeper.processes import endings
from sweeper.reports import Report
from sweeper.stop import Stop, StopReason
from sweeper.trial import Decision, Demand, Failure, FailureKind, State, TrialSpec

STOP_SECONDS = 5.0  # for the journal to hear that the sweep is stopped
POLL_SECONDS = 0.1
EXIT_SECONDS = 60.0  # for threads and exit handlers of a trial that has ended


class JournalClient(Protocol):
    """What a slot asks of the journal, wherever that is."""

    def claim(self, slot: str, demand: Demand | None = None) -> Demand | None:
        """Reserve the next trial."""

    def start(self, slot: str, card: str = "") -> TrialSpec:
        """Mark it as running."""

    def report(self, slot: str, report: Report) -> Decision:
        """Record one epoch."""

    def finish(self, slot: str) -> State:
        """Record the end."""

    def fail(self, slot: str, failure: Failure) -> State:
        """Record a failed attempt."""

    def pause(self, slot: str) -> None:
        """Put it back in the queue."""

    def abort(self, slot: str, message: str) -> None:
        """Stop the sweep."""

    def stopped_by(self) -> Stop:
        """Return what made the journal start nothing more."""


def run(
    slot: str,
    journal: JournalClient,
    *,
    demand: Demand,
    connect: Callable[[], socket.socket],
    env: Mapping[str, str],
    card: str = "",
) -> None:
    """Run the claimed trial, then every further one of the same demand.

    Args:
        slot: name of this slot; it has claimed a trial.
        demand: what the slot was given.
        connect: a new connection to the node's template.
        env: environment of the slot's device, such as CUDA_VISIBLE_DEVICES.
        card: its type, "" for none or an unknown one.
    """
    while True:
        spec = journal.start(slot, card)
        with connect() as connection:
            _run_one(slot, journal, spec=spec, connection=connection, env=env)
        if journal.claim(slot, demand) is None:
            return


def _run_one(
    slot: str,
    journal: JournalClient,
    *,
    spec: TrialSpec,
    connection: socket.socket,
    env: Mapping[str, str],
) -> None:
    step = 0
    outcome: Mapping[str, str] | None = None
    talk = _Conversation(
        connection,
        limit_seconds=spec.timeout_seconds,
        is_excused=lambda: bool(disk.problem(Path(spec.folder))),
    )
    code = -int(signal.SIGKILL)
    try:
        talk.send({"spec": spec.to_json(), "env": json.dumps(dict(env))})
        for message in talk.messages():
            if message["event"] == "report":
                report = Report.from_json(message["report"])
                decision = journal.report(slot, report)
                step = report.epoch
                talk.send({"decision": decision})
            elif message["event"] == "exit":
                code = message["code"]
                break
            else:
                outcome = message
                talk.limit_seconds = EXIT_SECONDS
    except _SilentError:
        # A process that has said how it ended but does not leave is only in the way.
        outcome = outcome or talk.silent()
        talk.end()
    except _HungUpError:
        code = talk.exit_code()  # the process died while it was written to
    settle(slot, journal, outcome=outcome, code=code, step=step)


class _SilentError(Exception):
    """A process that said nothing for too long."""


class _HungUpError(Exception):
    """A process whose end of the connection is closed."""


class _Conversation:
    """Lines of JSON with a trial's process.

    Args:
        limit_seconds: longest silence of the other side, None for no limit.
        is_excused: whether something else keeps the other side silent.
    """

    def __init__(
        self,
        connection: socket.socket,
        *,
        limit_seconds: float | None,
        is_excused: Callable[[], bool],
    ) -> None:
        self._connection = connection
        self._is_excused = is_excused
        self.limit_seconds = limit_seconds

    def send(self, message: Mapping[str, object]) -> None:
        """Send one line; a process that does not read it counts as silent."""
        self._connection.settimeout(self.limit_seconds)
        try:
            self._connection.sendall(json.dumps(message).encode() + b"\n")
        except TimeoutError as error:
            raise _SilentError from error
        except OSError as error:
            raise _HungUpError from error

    def messages(self) -> Iterator[dict[str, Any]]:  # JSON
        """Each line as it comes.

        Raises:
            _SilentError: none came for too long.
            _HungUpError: the connection broke.
        """
        rest = b""
        while data := self._receive():
            *lines, rest = (rest + data).split(b"\n")
            yield from map(json.loads, lines)

    def _receive(self) -> bytes:
        self._connection.settimeout(self.limit_seconds)
        while True:
            try:
                return self._connection.recv(65536)
            except TimeoutError as error:
                if not self._is_excused():
                    raise _SilentError from error
            except OSError as error:
                raise _HungUpError from error

    def exit_code(self) -> int:
        """Return how a process ended that reads no more."""
        with contextlib.suppress(_SilentError, _HungUpError):
            for message in self.messages():
                if message["event"] == "exit":
                    return int(message["code"])
        return -int(signal.SIGPIPE)

    def end(self) -> None:
        """Have the template kill a silent process, and wait until it is dead."""
        self._connection.settimeout(None)
        with contextlib.suppress(OSError):  # it died just now
            self._connection.shutdown(socket.SHUT_WR)
            while self._connection.recv(65536):
                continue

    def silent(self) -> Mapping[str, str]:
        """The outcome of a process that did not report in time."""
        message = (
            f"no report for {self.limit_seconds:g} s (timeout); log.txt shows where "
            "it hung"
        )
        return {"event": "failed", "kind": "timeout", "message": message}


def settle(
    slot: str,
    journal: JournalClient,
    *,
    outcome: Mapping[str, str] | None,
    code: int,
    step: int,
) -> None:
    """Record how an attempt ended.

    Args:
        outcome: what its process said last; None when it died without a word.
        code: exit status of the process, -N for signal N.
        step: epochs that it reported.
    """
    if outcome is None and code == -signal.SIGTERM and _is_stopped(journal):
        journal.pause(slot)
        return
    found = endings.of_exit(code) if outcome is None else endings.Outcome(**outcome)
    match found.event:
        case "finished":
            journal.finish(slot)
        case "paused":
            journal.pause(slot)
        case "fatal":
            journal.abort(slot, found.message)
        case _:
            failure = Failure(
                kind=FailureKind(found.kind),
                message=found.message,
                step=step,
                traceback=found.traceback,
            )
            journal.fail(slot, failure)


def _is_stopped(journal: JournalClient) -> bool:
    """Tell whether the sweep is being stopped, by a signal that met the trial as well.

    systemd and scancel send SIGTERM to every process: that the trial died of it may be
    known here before the driver has told the journal.
    """
    deadline = time.monotonic() + STOP_SECONDS
    while journal.stopped_by().reason is StopReason.NONE:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True

"""A slot: runs one trial after another, each in a process forked for it.

It relays between that process and the journal; it decides nothing, and of Ray it
knows nothing.
"""

import json
import signal
import socket
from collections.abc import Callable, Mapping
from typing import IO, Protocol

from sweeper.trial import Decision, Demand, Failure, FailureKind, State, TrialSpec


class JournalClient(Protocol):
    """What a slot asks of the journal, wherever that is."""

    def claim(self, slot: str, demand: Demand | None = None) -> Demand | None:
        """Reserve the next trial."""

    def start(self, slot: str) -> TrialSpec:
        """Mark it as running."""

    def report(
        self,
        slot: str,
        *,
        epoch: int,
        value: float | None,
        metrics: Mapping[str, float],
        busy_seconds: float,
    ) -> Decision:
        """Record one epoch."""

    def finish(self, slot: str) -> State:
        """Record the end."""

    def fail(self, slot: str, failure: Failure) -> State:
        """Record a failed attempt."""

    def pause(self, slot: str) -> None:
        """Put it back in the queue."""

    def abort(self, slot: str, message: str) -> None:
        """Stop the sweep."""


def run(
    slot: str,
    journal: JournalClient,
    *,
    demand: Demand,
    connect: Callable[[], socket.socket],
    env: Mapping[str, str],
) -> None:
    """Run the claimed trial, then every further one of the same demand.

    Args:
        slot: name of this slot; it has claimed a trial.
        demand: what the slot was given.
        connect: a new connection to the node's template.
        env: environment of the slot's device, such as CUDA_VISIBLE_DEVICES.
    """
    while True:
        spec = journal.start(slot)
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
    lines = connection.makefile("rw", encoding="utf-8")
    code = -int(signal.SIGKILL)
    try:
        _send(lines, {"spec": spec.to_json(), "env": json.dumps(dict(env))})
        for line in lines:
            message = json.loads(line)
            if message["event"] == "report":
                del message["event"]
                decision = journal.report(slot, **message)
                step = message["epoch"]
                _send(lines, {"decision": decision})
            elif message["event"] == "exit":
                code = message["code"]
                break
            else:
                outcome = message
    except OSError:
        code = -int(signal.SIGPIPE)  # the process died while it was written to
    settle(slot, journal, outcome=outcome, code=code, step=step)


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
    match outcome:
        case None:
            message = f"the process ended without a result: {describe_exit(code)}"
            failure = Failure(kind=FailureKind.LOST, message=message, step=step)
            journal.fail(slot, failure)
        case {"event": "finished"}:
            journal.finish(slot)
        case {"event": "paused"}:
            journal.pause(slot)
        case {"event": "fatal", "message": message}:
            journal.abort(slot, message)
        case {"kind": kind, "message": message}:
            journal.fail(
                slot, Failure(kind=FailureKind(kind), message=message, step=step)
            )


def describe_exit(code: int) -> str:
    """An exit status in words.

    >>> describe_exit(-9), describe_exit(3)
    ('killed by SIGKILL', 'exit status 3')
    """
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit status {code}"


def _send(lines: IO[str], message: Mapping[str, object]) -> None:
    lines.write(json.dumps(message) + "\n")
    lines.flush()

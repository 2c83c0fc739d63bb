"""Messages between a trial's process and its sweep, and their socket.

A message is a line with one JSON object, which names its type and the protocol's
version. This module imports the standard library only, since a trial imports it in its
project's interpreter.
"""

import contextlib
import functools
import json
import os
import secrets
import select
import socket
import struct
import threading
import time
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import StrEnum
from types import UnionType
from typing import Any, ClassVar, Self, TypeAlias

VERSION = 1
CHUNK_BYTES = 65536

Value: TypeAlias = bool | int | float | str | None
Params: TypeAlias = Mapping[str, Value]


class ProtocolError(Exception):
    """A line that is not a message of this version of the protocol."""


class Decision(StrEnum):
    """The answer to a report."""

    CONTINUE = "continue"
    STOP = "stop"  # the scheduler ends the trial; its target ends as usual
    PAUSE = "pause"  # the sweep is stopping; the trial resumes at the next start


class FailureKind(StrEnum):
    """Cause of an attempt that ended without a result."""

    OOM = "oom"
    NAN = "nan"
    ERROR = "error"
    LOST = "lost"  # the process or its node died
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Origin of a trial in population-based training.

    Attributes:
        parent: id of the trial whose checkpoint it starts from; "" if there is none.
        generation: 0 for the trials that start from nothing.
        member: its index in the population, from 0.
        start: epochs that its parent had trained.
        until: last epoch of its generation.
    """

    parent: str
    generation: int
    member: int
    start: int
    until: int


def parent_of(lineage: Lineage | None) -> str:
    """Return the id of a trial's parent; "" if there is none."""
    return "" if lineage is None else lineage.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSpec:
    """The specification of a trial for its process; `spec.json` in its folder.

    Attributes:
        target: "module:function", or a program with its arguments.
        config: absolute path of the primary Hydra config.
        project: absolute path put on sys.path; working directory unless `chdir`.
        more_metrics: the objectives after `metric`.
        threads: torch's intra-op threads; a part of bit-equality.
        timeout_seconds: longest time without a report; None for no limit.
        memory_fraction: enforced share of one device's memory; 1.0 for no limit.
        checkpoint_steps: optimizer steps between two saves within an epoch; 0: never.
        checkpoint_minutes: minutes between two saves within an epoch; 0: never.
        max_batches: limit on each loader in a preflight; 0 for all.
        wandb: settings of the W&B run: id, mode, project, entity, group, name, tags.
        lineage: its origin in a population; None outside of one.
        is_stopped: whether the scheduler has ended it.
    """

    id: str
    number: int
    sweep: str
    target: str
    config: str
    overrides: tuple[str, ...]
    params: Params
    seed: int
    folder: str
    project: str
    metric: str
    mode: str
    more_metrics: tuple[str, ...] = ()
    chdir: bool = False
    timeout_seconds: float | None = None
    gpus: float = 0.0
    threads: int = 1
    memory_fraction: float = 1.0
    checkpoint_steps: int = 0
    checkpoint_minutes: float = 0.0
    max_batches: int = 0
    env: Mapping[str, str] = field(default_factory=dict)
    wandb: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    lineage: Lineage | None = None
    is_stopped: bool = False

    def to_json(self) -> str:
        """Return the spec as one line of JSON."""
        return json.dumps(_plain(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> "TrialSpec":
        """Return the spec that `to_json` wrote.

        Raises:
            ProtocolError: it is not a spec.
        """
        return typing.cast(TrialSpec, _checked(TrialSpec, json.loads(text), "spec"))


class Message:
    """Base class of the messages, which are frozen dataclasses."""

    __slots__ = ()
    types: ClassVar[dict[str, type["Message"]]] = {}

    def __init_subclass__(cls) -> None:
        Message.types[cls.__name__.lower()] = cls


# ---- to the zygote, with its answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Order(Message):
    """The target of the next trials, sent once. The answer is `Imported`.

    Attributes:
        project: put on the import path.
        target: "module:function"; "" for a program, which is not imported.
        modules: other modules that the trials need.
        limit_seconds: longest time that the import may take.
    """

    project: str
    target: str
    modules: tuple[str, ...] = ()
    limit_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported(Message):
    """Result of one import of the target.

    Attributes:
        error: message; "" if the target can be imported.
        traceback: of the error, or the output of the import.
        shared: third-party modules that it loaded, in order.
        private: modules of the project that it loaded.
        has_configs: whether it registered Hydra configs, which need the import.
    """

    error: str = ""
    traceback: str = ""
    shared: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    has_configs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Message):
    """Start of a trial's process. The answer, at its end, is `Exited`.

    Attributes:
        env: environment variables of the slot's device.
        address: of the slot's server, to which the process reports.
    """

    spec: TrialSpec
    env: Mapping[str, str]
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill(Message):
    """End of a process that was silent too long. Its stacks are logged first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited(Message):
    """Exit status of a trial's process, -N for signal N."""

    code: int


# ---- to a composer's process, with its answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Compose(Message):
    """A call of a method of `trial.compose.Composer`. The answer is `Composed`.

    Attributes:
        composer: the value of an earlier "open"; -1 for "open" itself.
        method: its name, or "open" to make a composer.
        arguments: as JSON.
    """

    composer: int = -1
    method: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed(Message):
    """Result of a call.

    Attributes:
        value: as JSON.
        error: message; "" if the call has a value.
        is_target: whether the error is that the target cannot be imported; else a
            config is wrong.
    """

    value: str = ""
    error: str = ""
    is_target: bool = False


# ---- from a trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready(Message):
    """A trial that has composed its config and waits to call its target.

    The answer is `Go`, once the slot's previous process is gone.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Message):
    """One epoch of a trial. The answer is `Answer`.

    Attributes:
        epoch: 1-based and absolute; a second report of one epoch replaces the first.
        metrics: scalars by name; {} if the epoch measured nothing.
        values: the objectives, in the file's order; () if they were not measured.
        step: the Trainer's global step, as its loggers have it.
        correct: "1" or "0" for each validation example; "" if unknown.
        order: a digest of their labels.
        has_objectives: whether the objectives are among the metrics; a fit before the
            one that counts, such as pretraining, may not log them.
        is_mean: whether the first objective is the mean of values logged per step.
        logged: names of the logged metrics, if an objective is missing.
        busy_seconds: age of the trial's process.
        usage: measurements of its device: peak_bytes, utilisation (0 to 1), rate in
            steps a second.
    """

    epoch: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    values: tuple[float, ...] = ()
    step: int | None = None
    correct: str = ""
    order: str = ""
    has_objectives: bool = True
    is_mean: bool = False
    logged: tuple[str, ...] = ()
    busy_seconds: float = 0.0
    usage: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsesTrainer(Message):
    """A program whose Lightning Trainer handles pauses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended(Message):
    """End of one attempt.

    Attributes:
        event: "finished", "paused", "failed" or "fatal" (every trial would meet it).
        kind: a `FailureKind`; "" for the first two.
        message: one line.
        traceback: digest of the lines that raised it; "" if unknown.
    """

    event: str
    kind: str = ""
    message: str = ""
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left(Message):
    """A trial whose threads and exit handlers have finished."""


# ---- to a trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Go(Message):
    """Permission to call the target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Message):
    """Answer to a report.

    Attributes:
        error: the reason why the report is refused; "" if it is not.
    """

    decision: Decision = Decision.CONTINUE
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Message):
    """Answer to a line that is not a message."""

    message: str


# ---- lines


def encode(message: Message) -> bytes:
    """Return the line of a message."""
    head = {"sweeper": VERSION, "type": type(message).__name__.lower()}
    return json.dumps({**head, **_plain(message)}).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Return the message of a line.

    Raises:
        ProtocolError: the line is torn, foreign, or of another version.
    """
    start = f"sweeper's protocol: {line[:80]!r}"
    if not line.endswith(b"\n"):
        raise ProtocolError(f"{start}: the line is torn; the sender has died")
    try:
        data = json.loads(line)
    except ValueError as error:
        raise ProtocolError(f"{start} is not JSON: {error}") from error
    if not isinstance(data, dict) or "sweeper" not in data:
        raise ProtocolError(f"{start} is not a message of sweeper")
    version, name = data.pop("sweeper"), data.pop("type", None)
    if version != VERSION or type(version) is not int:
        raise ProtocolError(
            f"{start} is of version {version!r}, this process speaks version "
            f"{VERSION}; install one version of sweeper on both sides"
        )
    kind = Message.types.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ProtocolError(f"{start}: there is no message {name!r}")
    return typing.cast(Message, _checked(kind, data, start))


def _plain(value: object) -> Any:
    """Return a value as plain JSON types."""
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


_hints = functools.cache(typing.get_type_hints)


def _checked(hint: Any, data: Any, place: str) -> Any:
    """Return JSON data as a value of the type `hint`.

    Raises:
        ProtocolError: it is of another type.
    """
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is UnionType:
        hint = next((kind for kind in arguments if _may_be(kind, data)), hint)
        arguments = typing.get_args(hint)
    if _may_be(hint, data):
        if isinstance(data, list):
            return tuple(_checked(arguments[0], item, place) for item in data)
        if arguments:
            items = data.items()
            return {k: _checked(arguments[1], v, f"{place}.{k}") for k, v in items}
        with contextlib.suppress(KeyError, TypeError, ValueError):
            if isinstance(hint, type) and is_dataclass(hint):
                hints = _hints(hint)
                checked = {
                    k: _checked(hints[k], v, f"{place}.{k}") for k, v in data.items()
                }
                return hint(**checked)
            return hint(data) if issubclass(hint, StrEnum) else data
    raise ProtocolError(f"{place}: {data!r:.80} is not of type {hint}")


def _may_be(hint: Any, data: Any) -> bool:
    """Return whether the type of JSON data suits `hint`."""
    kind = typing.get_origin(hint) or hint
    if kind is Mapping or is_dataclass(kind):
        return isinstance(data, dict)
    if kind is tuple:
        return isinstance(data, list)
    if kind is float:
        return type(data) in (int, float)
    is_enum = isinstance(kind, type) and issubclass(kind, StrEnum)
    return type(data) is (str if is_enum else kind)


# ---- the socket


class Connection:
    """One end of a stream of messages."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._rest = b""

    def fileno(self) -> int:
        """Return the descriptor, for `select`."""
        return self._stream.fileno()

    def tell(self, message: Message) -> None:
        """Send a message without waiting for an answer."""
        self._stream.sendall(encode(message))

    def receive(self) -> Message | None:
        """Wait for the next message; return None at the end of the stream.

        Raises:
            ProtocolError: the line is not a message; see `decode`.
        """
        while b"\n" not in self._rest:
            part = self._read()
            if not part and self._rest:
                return decode(self._rest)  # torn
            if not part:
                return None
        line, _, self._rest = self._rest.partition(b"\n")
        return decode(line + b"\n")

    def _read(self) -> bytes:
        try:
            part = self._stream.recv(CHUNK_BYTES)
        except ConnectionResetError:
            part = b""
        self._rest += part
        return part

    def close(self) -> None:
        """End the stream."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Client(Connection):
    """A client's end of the connection to a server.

    Threads may share it. A forked process opens another connection, with another lock:
    two processes that read from one would take each other's answers.

    Args:
        address: path of a socket, or "@" and a name in Linux's abstract namespace.

    Raises:
        OSError: nobody listens there.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._connect()

    def _connect(self) -> None:
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            stream.connect(_bound(self._address))
        except OSError:
            stream.close()
            raise
        super().__init__(stream)
        self._pid, self._lock = os.getpid(), threading.Lock()

    def tell(self, message: Message) -> None:
        """Send a message without waiting for an answer."""
        if self._pid != os.getpid():
            self._connect()
        super().tell(message)

    def ask(self, message: Message) -> Message:
        """Send a message and return its answer.

        Raises:
            ProtocolError: the other side does not understand it, or is gone.
        """
        if self._pid != os.getpid():
            self._connect()
        with self._lock:
            self._stream.sendall(encode(message))
            answer = self.receive()
        if answer is None or isinstance(answer, Refused):
            reason = answer.message if answer else "closed without an answer"
            raise ProtocolError(f"{self._address}: {reason}")
        return answer


class Peer(Connection):
    """A server's end of a connection to one client."""

    def arrived(self) -> list[Message | None]:
        """Return the messages that have arrived; the last is None at the stream's end.

        The half-written line of a killed process is dropped.
        """
        is_open = bool(self._read())
        *lines, self._rest = self._rest.split(b"\n")
        messages: list[Message | None] = []
        try:
            messages += [decode(line + b"\n") for line in lines]
        except ProtocolError as error:
            self.answer(Refused(message=str(error)))
            is_open = False
        return messages if is_open else [*messages, None]

    def answer(self, message: Message) -> None:
        """Send a message to a client that may have died meanwhile."""
        with contextlib.suppress(OSError):
            self.tell(message)


Readable: TypeAlias = int | Connection | socket.socket


class Server:
    """A socket to which the processes of one user send messages.

    Args:
        address: path of the socket; "" for a random name in Linux's abstract
            namespace, which leaves no file behind.
    """

    def __init__(self, address: str = "") -> None:
        self.address = address or f"@sweeper-{secrets.token_hex(16)}"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(_bound(self.address))
        self._listener.listen(64)
        self._peers: list[Peer] = []

    def wait(
        self, *others: Readable, seconds: float | None = None
    ) -> tuple[list[tuple[Peer, Message | None]], list[Readable]]:
        """Wait for messages, or until something else can be read.

        Returns:
            The messages with their senders, None for a sender that has closed; and, if
            there are no messages, the readable ones of `others`. Both are empty after
            `seconds`.
        """
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            watched: list[Readable] = [self._listener, *self._peers, *others]
            left = None if end is None else max(0.0, end - time.monotonic())
            ready, _, _ = select.select(watched, [], [], left)
            if self._listener in ready:
                self._accept()
            readable = [peer for peer in self._peers if peer in ready]
            messages = [(p, message) for p in readable for message in p.arrived()]
            for peer, message in messages:
                if message is None:
                    self.drop(peer)
            # Messages first: those that a process sent before it ended are older.
            is_quiet = not readable and self._listener not in ready
            if messages or is_quiet:
                return messages, [o for o in others if o in ready and is_quiet]

    def _accept(self) -> None:
        stream, _ = self._listener.accept()
        credentials = stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        if struct.unpack("3i", credentials)[1] == os.getuid():
            self._peers.append(Peer(stream))
        else:
            stream.close()  # another user's process, which has guessed the name

    def drop(self, peer: Peer) -> None:
        """Close the connection to a client."""
        peer.close()
        if peer in self._peers:
            self._peers.remove(peer)

    def close(self) -> None:
        """Close the socket and every connection."""
        self._listener.close()
        for peer in self._peers:
            peer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _bound(address: str) -> str:
    return "\0" + address[1:] if address.startswith("@") else address

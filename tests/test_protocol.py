"""Messages survive the way through a socket, and nothing else passes for one."""

import dataclasses
import json
import os
import threading
import types
import typing
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweeper import protocol
from sweeper.protocol import (
    Answer,
    Client,
    Decision,
    Message,
    ProtocolError,
    Report,
    Server,
    TrialSpec,
)

NUMBERS = st.floats(allow_nan=False)
TEXTS = st.text(max_size=5)
sometimes = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def _values(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a type."""
    arguments = typing.get_args(hint)
    kind = typing.get_origin(hint) or hint
    if kind is types.UnionType:
        return st.one_of([_values(argument) for argument in arguments])
    if kind is Mapping:
        return st.dictionaries(TEXTS, _values(arguments[1]), max_size=2)
    if kind is tuple:
        return st.lists(_values(arguments[0]), max_size=2).map(tuple)
    if dataclasses.is_dataclass(kind):
        return _instances(kind)
    if issubclass(kind, StrEnum):
        return st.sampled_from(kind)
    plain: dict[Any, st.SearchStrategy[Any]] = {
        **{str: TEXTS, int: st.integers(), float: NUMBERS},
        **{bool: st.booleans(), type(None): st.none()},
    }
    return plain[kind]


def _instances(kind: Any) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    return st.builds(kind, **{name: _values(hints[name]) for name in names})


MESSAGES = st.one_of([_instances(kind) for kind in Message.types.values()])


@sometimes
@given(MESSAGES)
def test_a_message_survives_the_round_trip(message: Message) -> None:
    line = protocol.encode(message)
    assert line.count(b"\n") == 1
    assert protocol.decode(line) == message


@sometimes
@given(_instances(TrialSpec))
def test_a_spec_survives_its_file(spec: TrialSpec) -> None:
    assert TrialSpec.from_json(spec.to_json()) == spec


@sometimes
@given(MESSAGES, st.data())
def test_a_torn_line_is_one_error(message: Message, data: st.DataObject) -> None:
    line = protocol.encode(message)
    torn = line[: data.draw(st.integers(0, len(line) - 1))]
    with pytest.raises(ProtocolError, match=r"torn|not"):
        protocol.decode(torn)
    with pytest.raises(ProtocolError, match=r"not"):
        protocol.decode(torn[:-1] + b"\n")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@sometimes
@given(JSON | st.binary())
def test_a_foreign_line_is_one_error(data: object) -> None:
    line = data if isinstance(data, bytes) else json.dumps(data).encode()
    with pytest.raises(ProtocolError, match=r"not a message of sweeper|not JSON"):
        protocol.decode(line.replace(b"\n", b"") + b"\n")


@sometimes
@given(MESSAGES, JSON)
def test_another_version_is_one_error_with_both_versions(
    message: Message, version: object
) -> None:
    data = json.loads(protocol.encode(message))
    if version == protocol.VERSION and type(version) is int:
        version = 0
    line = json.dumps({**data, "sweeper": version}).encode() + b"\n"
    with pytest.raises(ProtocolError, match=f"speaks version {protocol.VERSION}"):
        protocol.decode(line)


@sometimes
@given(MESSAGES, st.text(min_size=1), JSON)
def test_a_field_that_is_unknown_or_of_another_type_is_one_error(
    message: Message, name: str, value: object
) -> None:
    data = json.loads(protocol.encode(message))
    if name not in data:
        with pytest.raises(ProtocolError, match="not of type"):
            protocol.decode(json.dumps({**data, name: value}).encode() + b"\n")
    for field in data.keys() - {"sweeper", "type"}:
        line = json.dumps({**data, field: [[value]]}).encode() + b"\n"
        with pytest.raises(ProtocolError, match="not of type"):
            protocol.decode(line)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=_answer_epochs, args=(made,), daemon=True)
        thread.start()
        yield made
        with Client(made.address) as client:
            client.tell(protocol.Kill())
            thread.join()


def _answer_epochs(server: Server) -> None:
    """Answer each report with its epoch, until told to stop."""
    while True:
        for peer, message in server.wait()[0]:
            if isinstance(message, protocol.Kill):
                return
            if isinstance(message, Report):
                peer.answer(Answer(error=str(message.epoch)))


def test_threads_and_forked_processes_get_their_own_answers(server: Server) -> None:
    client = Client(server.address)

    def report(first: int) -> bool:
        epochs = range(first, first + 50)
        answers = [client.ask(Report(epoch=epoch)) for epoch in epochs]
        return answers == [Answer(error=str(epoch)) for epoch in epochs]

    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(report(n * 100)))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if report(1000) else 1)
    for thread in threads:
        thread.join()
    assert os.waitpid(pid, 0)[1] == 0
    assert results == [True] * 4
    client.close()


def test_a_client_that_sends_a_foreign_line_is_told_and_left(server: Server) -> None:
    stranger, client = Client(server.address), Client(server.address)
    stranger._stream.sendall(b'{"event": "report"}\n')
    refused = stranger.receive()
    assert isinstance(refused, protocol.Refused)
    assert "not a message of sweeper" in refused.message
    assert stranger.receive() is None
    assert client.ask(Report(epoch=3)) == Answer(error="3")
    stranger.close()
    client.close()


def test_a_half_line_of_a_killed_process_is_dropped(server: Server) -> None:
    stranger = Client(server.address)
    stranger._stream.sendall(b'{"sweeper": 1, "type": "rep')
    stranger.close()
    with Client(server.address) as client:
        assert client.ask(Report(epoch=1)) == Answer(error="1")


def test_messages_of_an_ended_process_come_before_its_end() -> None:
    with Server() as server:
        client = Client(server.address)
        client.tell(Report(epoch=1))
        client.close()
        ended = os.pidfd_open(_ended_process())
        messages: list[Message | None] = []
        while not (others := server.wait(ended))[1]:
            messages += [message for _, message in others[0]]
        assert messages == [Report(epoch=1), None]
        assert others == ([], [ended])
        os.close(ended)
        assert server.wait(seconds=0.01) == ([], [])


def _ended_process() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid


def test_decisions_are_words() -> None:
    line = protocol.encode(Answer(decision=Decision.PAUSE))
    assert json.loads(line)["decision"] == "pause"

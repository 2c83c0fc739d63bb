"""Signals are counted as they arrive, and every wait of a driver has an end."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest

from sweeper.driver import watch as watching
from sweeper.driver.cluster import ClusterOptions
from sweeper.driver.signals import Signals, StoppedError, await_result, submit
from sweeper.driver.watch import NodeWatch
from sweeper.packing.packing import Node
from sweeper.system.errors import AddressError, ClusterLostError, SweeperError
from tests.helpers import make_experiment

BUSY = """
import time
from sweeper.driver import signals

signals.LEAVE_SECONDS = 0.1
with signals.Signals(may_exit=True, is_asked=lambda: False) as counted:
    seen = -1
    while True:  # a main thread that obeys nothing
        if counted.count != seen:
            seen = counted.count
            print(seen, flush=True)
        time.sleep(0.01)
"""


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("times", [1, 2], ids=["once", "as `timeout` sends it"])
def test_the_second_signal_ends_a_driver_that_hangs(
    first: signal.Signals, times: int
) -> None:
    command = [sys.executable, "-c", BUSY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        for _ in range(times):
            process.send_signal(first)
        assert process.stdout.readline() == "1\n"
        time.sleep(0.5)  # longer than two signals that are one
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "2\n"
        assert process.wait() == 130


def _wait(signals: Signals, **keys: object) -> None:
    future: Future[None] = Future()
    await_result(
        future,
        signals=signals,
        late=ClusterLostError("it took too long"),
        **{"seconds": 3600.0, **keys},  # type: ignore[arg-type]
    )


def test_a_wait_ends_on_a_signal_a_request_or_its_limit() -> None:
    asked: list[int] = []
    with Signals(may_exit=False, is_asked=lambda: bool(asked)) as signals:
        with pytest.raises(ClusterLostError, match="it took too long"):
            _wait(signals, seconds=0.0)
        asked.append(1)
        with pytest.raises(StoppedError):
            _wait(signals)
        with pytest.raises(ClusterLostError):
            _wait(signals, seconds=0.0, is_stoppable=False)
        asked.clear()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(StoppedError):
            _wait(signals)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            _wait(signals, is_stoppable=False)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_signals_are_left_alone_in_another_thread() -> None:
    def enter() -> int:
        with Signals(may_exit=True, is_asked=lambda: False) as signals:
            return signals.count

    assert submit(enter).result() == 0


def _closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"card": "T5"}, r"--card: 'T5'.*known: T4"),
        ({"card": "T4:many"}, r"--card T4:many: 'many' is no size"),
        ({"cpus": 0}, "--num-cpus 0: it must be 1 or more"),
        ({"gpus": -1}, "--num-gpus -1"),
        ({"address": "127.0.0.1:{port}"}, "--address 127.0.0.1:.*nothing answers"),
        ({"address": "127.0.0.1"}, "--address 127.0.0.1: not an address"),
        ({"address": "127.0.0.1:99999"}, "nothing answers"),
        ({"address": "http://127.0.0.1:1"}, "not an address"),
        ({"address": "ray://127.0.0.1:10001"}, "an address of Ray Client"),
        ({"address": "auto", "cpus": 2}, "--num-cpus: only for a Ray that sweeper"),
    ],
)
def test_a_cluster_that_cannot_be_meant_is_one_message(
    options: dict[str, object], said: str
) -> None:
    if "address" in options:
        options["address"] = str(options["address"]).format(port=_closed_port())
    with pytest.raises(SweeperError, match=said) as caught:
        ClusterOptions(**options).check()  # type: ignore[arg-type]
    assert caught.value.exit_code == 2


def test_the_environment_is_named_where_it_gave_the_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{_closed_port()}")
    with pytest.raises(AddressError, match=r"RAY_ADDRESS=127\.0\.0\.1:"):
        ClusterOptions().check()


CPU, CARDS = Node(cpus=4.0), Node(cpus=8.0, gpus=2, accelerator="T4")


@pytest.mark.parametrize("gpus", [1, "auto"])
def test_a_node_that_goes_and_comes_is_told_once_each(
    tmp_path: Path, gpus: object
) -> None:
    experiment = make_experiment(tmp_path, resources={"gpus": gpus})
    said: list[str] = []
    now = [0.0]
    answers: list[Sequence[Node]] = [[CPU, CARDS]]
    watch = NodeWatch(
        experiment, lambda: answers[-1], say=said.append, clock=lambda: now[0]
    )

    def look() -> None:
        now[0] += watching.LOOK_SECONDS
        watch.look()
        while watch._answer is not None:
            watch.look()

    look()
    assert said == []
    answers.append([CPU])
    look()
    look()
    (gone,) = said
    assert "8 CPU, 2 GPU T4" in gone
    assert "waiting for one" in gone
    answers.append([CPU, CARDS])
    look()
    look()
    assert len(said) == 2
    assert "the sweep continues" in said[1]
    answers.append([CPU])
    look()
    now[0] += watching.ROOM_SECONDS
    with pytest.raises(ClusterLostError, match="no node that holds a trial"):
        look()


def test_a_cluster_that_stops_answering_is_lost(tmp_path: Path) -> None:
    experiment = make_experiment(tmp_path)
    now = [0.0]
    gate: Future[Sequence[Node]] = Future()
    watch = NodeWatch(experiment, gate.result, say=print, clock=lambda: now[0])
    watch.look()
    now[0] += watching.ANSWER_SECONDS + 1
    with pytest.raises(ClusterLostError, match="no answer of Ray"):
        watch.look()
    gate.set_result([])

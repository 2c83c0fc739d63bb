"""Ray on this machine: started with only what slots need, joined, left.

It knows nothing of sweeps. What Ray starts by habit and nothing of ours asks is left
out: on two cores it takes longer to start than a short sweep takes to train.
"""

import functools
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray._private import services
from ray._private.node import Node as RayNode
from ray._raylet import persist_port  # type: ignore[attr-defined]  # Cython

from sweeper.cards import devices, packing
from sweeper.cards.packing import CARDS, Node
from sweeper.errors import AddressError, ClusterLostError
from sweeper.running.options import ClusterOptions

NAMESPACE = "sweeper"
ACCELERATOR = "accelerator_type:"
CARD_MIB = "card_mib"  # resource of a node: memory of a card that no table knows
EXTRAS = ("start_api_server", "start_monitor", "start_log_monitor")  # of a head node
OBJECT_STORE_BYTES = 128 * 1024**2  # nothing of ours goes through it
AGENTS = ("--dashboard_agent_command=", "--runtime_env_agent_command=")
NO_SERVICE = (
    -1
)  # what an agent that serves nothing tells the raylet, see dashboard/agent.py
AGENT_PORTS = (
    "metrics_agent_port",
    "metrics_export_port",
    "dashboard_agent_listen_port",
    "runtime_env_agent_port",
)
# Waits to die with the raylet, which dies with its agents.
AGENT = (
    "import ctypes, os, signal\n"
    f"ctypes.CDLL(None).prctl(1, {int(signal.SIGKILL)})\n"
    "os.getppid() > 1 and signal.pause()"
)
ENVIRONMENT = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": str(10**9),  # Tune's own state is scratch
    "TUNE_MAX_PENDING_TRIALS_PG": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_worker_niceness": "0",  # 15 by default: trials would starve their journal
}
# A machine that stalled or slept lost nothing; `check` sees that a process of Ray died.
# By default Ray gives up on a raylet or on its GCS after a minute of silence.
PATIENCE = {
    "RAY_health_check_failure_threshold": "1000",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "3600",
}


def start(options: ClusterOptions, *, scratch: Path) -> None:
    """Connect this process to a Ray cluster, starting one where none is named.

    Args:
        options: checked.
        scratch: folder for Ray's sockets and logs.

    Raises:
        AddressError: the cluster at the address does not take this process.
        ClusterLostError: the cluster that was to be started died meanwhile.
    """
    os.environ.update({k: v for k, v in ENVIRONMENT.items() if k not in os.environ})
    connect = functools.partial(
        ray.init, namespace=NAMESPACE, logging_level=logging.ERROR, log_to_driver=False
    )
    address = options.resolved()
    if address:
        try:
            connect(address=address)
        except Exception as error:  # of another version, with a token, or not there
            message = f"{options.place()}: {str(error).splitlines()[0]}"
            raise AddressError(message) from error
        return
    resources = _card_resources(options.card, options.gpus)
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    try:
        with _without_extras():
            connect(
                address="local",
                num_cpus=options.cpus,
                num_gpus=options.gpus,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                resources=resources,
                _temp_dir=str(scratch),
            )
    except Exception as error:  # Ray has no narrower one for a node that died
        raise ClusterLostError(f"Ray did not start: {error}") from error


def _card_resources(text: str, num_gpus: int | None) -> dict[str, float] | None:
    card = packing.find_card(text)
    if card is None:
        return None
    return {
        ACCELERATOR + card.name: float(num_gpus or 1),
        CARD_MIB: float(card.device_bytes // packing.MIB),
    }


@contextmanager
def _without_extras() -> Iterator[None]:
    """Start no server for a dashboard, no autoscaler, no reader of logs, no agents.

    `include_dashboard=False` starts that server all the same, and `ray.init` waits
    for it: with the autoscaler, over a second of the start on two cores. The agents
    serve metrics and runtime environments, which no slot has: another second of CPU
    and 100 MiB.
    """
    before = {name: getattr(RayNode, name) for name in EXTRAS}
    start_process = services.start_ray_process
    for name in EXTRAS:
        setattr(RayNode, name, lambda self, **_: None)
    services.start_ray_process = functools.partial(_start_process, start_process)
    try:
        yield
    finally:
        services.start_ray_process = start_process
        for name, method in before.items():
            setattr(RayNode, name, method)


def _start_process(
    start_process: Any, command: Sequence[str], kind: str, **options: Any
) -> Any:
    """Start one of Ray's processes, out of reach of the signals that end a sweep.

    It gets a session of its own and never sees SIGTERM, nor do the workers below it:
    `timeout` signals the driver's process group, systemd and scancel every process,
    and the trials can only be paused while Ray lives. We end it with SIGKILL.

    A raylet gets agents that only wait. It refuses to start without any, and waits
    for files with their ports.
    """
    if kind == ray._private.ray_constants.PROCESS_TYPE_RAYLET:
        given = dict(word.lstrip("-").split("=", 1) for word in command if "=" in word)
        for name in AGENT_PORTS:
            persist_port(given["session_dir"], given["node_id"], name, NO_SERVICE)
        agent = subprocess.list2cmdline([sys.executable, "-I", "-S", "-c", AGENT])
        command = [
            next((key + agent for key in AGENTS if word.startswith(key)), word)
            for word in command
        ]
    plain = services.ConsolePopen
    apart = functools.partial(plain, start_new_session=True)
    setattr(services, "ConsolePopen", apart)  # noqa: B010  # mypy: it is a class
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        return start_process(command, kind, **options)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        setattr(services, "ConsolePopen", plain)  # noqa: B010


def is_ours() -> bool:
    """Whether this process started the node that it is connected to."""
    node = ray._private.worker._global_node
    return node is not None and bool(node.head)


def check() -> None:
    """Look whether Ray's own processes of this driver live.

    Without its raylet Ray ends this process after some seconds, with exit code 0.

    Raises:
        ClusterLostError: one has died.
    """
    node = ray._private.worker._global_node
    dead: list[str] = (
        [name for name, _ in node.dead_processes()] if node is not None else []
    )
    if dead:
        raise ClusterLostError(f"Ray's {' and '.join(dead)} died")


def stop() -> None:
    """Leave the cluster; one that `start` started ends.

    At once: by then every trial has ended, and Ray's own grace is a second's wait.
    """
    node = ray._private.worker._global_node
    if node is not None:
        kill = node.kill_all_processes
        node.kill_all_processes = lambda **asked: kill(
            **{**asked, "allow_graceful": False}
        )
    ray.shutdown()


def nodes() -> list[Node]:
    """The machines of the cluster that are alive."""
    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [_node(node["Resources"]) for node in found if node["Alive"]]


def own_cards() -> int:
    """Return how many cards the cluster has that this process started; 0 of others."""
    return sum(node.gpus for node in nodes()) if is_ours() else 0


def own_card() -> str:
    """Type of the cards of the node that this process is on; "" for none."""
    here = ray.get_runtime_context().get_node_id()
    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return next(
        (
            _node(node["Resources"]).accelerator
            for node in found
            if node["NodeID"] == here
        ),
        "",
    )


def _node(resources: Mapping[str, float]) -> Node:
    types = [
        name.removeprefix(ACCELERATOR)
        for name in resources
        if name.startswith(ACCELERATOR)
    ]
    accelerator = types[0] if types else ""
    gpus = int(resources.get("GPU", 0))
    card = CARDS.get(accelerator)
    known = card.device_bytes if card else devices.memory() if gpus else 0
    return Node(
        cpus=resources.get("CPU", 0.0),
        gpus=gpus,
        accelerator=accelerator,
        device_bytes=int(resources.get(CARD_MIB, 0.0) * packing.MIB) or known,
    )

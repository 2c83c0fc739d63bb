"""The Ray cluster of a run: options, start and nodes."""

import functools
import logging
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from sweeper.compat import ray as compat
from sweeper.packing import packing
from sweeper.packing.packing import CARDS, Node
from sweeper.system import devices
from sweeper.system.errors import (
    AddressError,
    ClusterLostError,
    DemandError,
    SweeperError,
)
from sweeper.system.text import MIB

NAMESPACE = "sweeper"
ACCELERATOR = "accelerator_type:"
CARD_MIB = "card_mib"  # resource of a node: memory per card of the type in --card
OBJECT_STORE_BYTES = 128 * 1024**2  # sweeper stores nothing in it
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
# A machine may stall or sleep without harm; `check` notices dead processes of Ray.
# By default Ray gives up on a raylet or on its GCS after a minute of silence.
PATIENCE = {
    "RAY_health_check_failure_threshold": "1000",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "3600",
}
CONNECT_SECONDS = 10.0
WANTED = "give HOST:PORT as `ray start --head` prints it (port 6379), or auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """The Ray cluster of a run.

    Attributes:
        address: address of a running cluster, "auto" for this machine's; "" starts
            one, unless RAY_ADDRESS is set.
        cpus: logical cores of a cluster to start, None for the machine's.
        gpus: logical GPUs of a cluster to start, None for the machine's.
        card: type of the logical GPUs, as `packing.find_card` reads it.
    """

    address: str = ""
    cpus: int | None = None
    gpus: int | None = None
    card: str = ""

    def resolved(self) -> str:
        """Return the address to connect to, "" to start a cluster."""
        address = self.address or os.environ.get("RAY_ADDRESS", "")
        return "" if address == "local" else address

    def source(self) -> str:
        """Return the option or variable that sets the address, for messages."""
        address = self.resolved()
        return f"--address {address}" if self.address else f"RAY_ADDRESS={address}"

    def check(self) -> None:
        """Check every value, without starting Ray.

        Raises:
            SweeperError: a value is out of range, or contradicts another one.
            AddressError: nothing answers at the address.
        """
        self.find_card()
        for name, value, least in (
            ("--num-cpus", self.cpus, 1),
            ("--num-gpus", self.gpus, 0),
        ):
            if value is not None and value < least:
                raise SweeperError(f"{name} {value}: it must be {least} or more")
        address = self.resolved()
        if not address:
            return
        if "://" in address:
            is_client = address.startswith("ray://")
            kind = "an address of Ray Client" if is_client else "not an address"
            raise AddressError(f"{self.source()}: {kind}; {WANTED}")
        own = {
            "--num-cpus": self.cpus,
            "--num-gpus": self.gpus,
            "--card": self.card or None,
        }
        names = [name for name, value in own.items() if value is not None]
        if names:
            raise SweeperError(
                f"{' and '.join(names)}: only for a Ray that sweeper starts, and "
                f"{self.source()} names one that runs; leave one of them out"
            )
        if address != "auto":
            _check_answers(address, self.source())

    def find_card(self) -> packing.Card | None:
        """Return the type of the logical GPUs, None if it is not given.

        Raises:
            DemandError: there is no such card.
        """
        try:
            return packing.find_card(self.card)
        except DemandError as error:
            message = str(error).replace("resources.accelerator:", "--card:", 1)
            raise DemandError(message) from error


def _check_answers(address: str, source: str) -> None:
    """Check that a service listens at an address; Ray would retry for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise AddressError(f"{source}: not an address; {WANTED}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise AddressError(
            f"{source}: nothing answers there ({error}); start a cluster with "
            f"`ray start --head`, or {WANTED}"
        ) from error


def start(options: ClusterOptions, *, scratch: Path) -> None:
    """Connect this process to a Ray cluster; start one if no address is given.

    Args:
        options: options that `check` has accepted.
        scratch: folder for Ray's sockets and logs.

    Raises:
        AddressError: the cluster at the address does not accept this process.
        ClusterLostError: the new cluster died during its start.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    connect = functools.partial(
        ray.init, namespace=NAMESPACE, logging_level=logging.ERROR, log_to_driver=False
    )
    address = options.resolved()
    if address:
        try:
            connect(address=address)
        except Exception as error:  # another version, a token, or no Ray
            message = f"{options.source()}: {str(error).splitlines()[0]}"
            raise AddressError(message) from error
        return
    card = options.find_card()
    resources: dict[str, float] = {}
    if card is not None:
        resources = {
            ACCELERATOR + card.name: float(options.gpus or 1),
            CARD_MIB: float(card.device_bytes // MIB),
        }
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    try:
        with compat.lean_start(), _signals_blocked():
            connect(
                address="local",
                num_cpus=options.cpus,
                num_gpus=options.gpus,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                resources=resources,
                _temp_dir=str(scratch),
            )
    except Exception as error:  # Ray has no narrower type for a dead node
        raise ClusterLostError(f"Ray did not start: {error}") from error


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block SIGINT and SIGTERM in every process that this thread starts.

    `timeout` signals the driver's process group; systemd and scancel signal every
    process. Trials can be paused only while Ray lives. sweeper ends Ray with SIGKILL.
    """
    numbers = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def check() -> None:
    """Check that the Ray processes that this driver started are alive.

    If the raylet dies, Ray ends this process some seconds later with exit code 0.

    Raises:
        ClusterLostError: a process has died.
    """
    dead = compat.dead_processes()
    if dead:
        raise ClusterLostError(f"Ray's {' and '.join(dead)} died")


def nodes() -> list[Node]:
    """Return the nodes of the cluster that are alive."""
    return [_node(node["Resources"]) for node in _ray_nodes() if node["Alive"]]


def own_cards() -> int:
    """Return the number of cards of the cluster, 0 if this process did not start it."""
    return sum(node.gpus for node in nodes()) if compat.is_head() else 0


def own_card() -> str:
    """Return the type of the cards of this process's node, "" if there are none."""
    here = ray.get_runtime_context().get_node_id()
    resources = [node["Resources"] for node in _ray_nodes() if node["NodeID"] == here]
    return _node(resources[0]).accelerator if resources else ""


def _ray_nodes() -> list[dict[str, Any]]:
    return ray.nodes()  # type: ignore[no-untyped-call, no-any-return]


def _node(resources: Mapping[str, float]) -> Node:
    names = [name for name in resources if name.startswith(ACCELERATOR)]
    accelerator = names[0].removeprefix(ACCELERATOR) if names else ""
    gpus = int(resources.get("GPU", 0))
    card = CARDS.get(accelerator)
    measured = card.device_bytes if card else devices.memory() if gpus else 0
    return Node(
        cpus=resources.get("CPU", 0.0),
        gpus=gpus,
        accelerator=accelerator,
        device_bytes=int(resources.get(CARD_MIB, 0.0) * MIB) or measured,
    )

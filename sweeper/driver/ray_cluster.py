"""Ray on this machine: started with only what slots need, or joined.

It knows nothing of sweeps.
"""

import functools
import logging
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from sweeper.compat import ray as compat
from sweeper.driver.options import ClusterOptions
from sweeper.packing import packing
from sweeper.packing.packing import CARDS, Node
from sweeper.system import devices
from sweeper.system.errors import AddressError, ClusterLostError
from sweeper.system.text import MIB

NAMESPACE = "sweeper"
ACCELERATOR = "accelerator_type:"
CARD_MIB = "card_mib"  # resource of a node: memory of a card that no table knows
OBJECT_STORE_BYTES = 128 * 1024**2  # nothing of ours goes through it
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
    except Exception as error:  # Ray has no narrower one for a node that died
        raise ClusterLostError(f"Ray did not start: {error}") from error


def _card_resources(text: str, num_gpus: int | None) -> dict[str, float] | None:
    card = packing.find_card(text)
    if card is None:
        return None
    return {
        ACCELERATOR + card.name: float(num_gpus or 1),
        CARD_MIB: float(card.device_bytes // MIB),
    }


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Keep SIGINT and SIGTERM from every process that this thread starts.

    `timeout` signals the driver's process group, systemd and scancel every process,
    and the trials can only be paused while Ray lives. We end it with SIGKILL.
    """
    numbers = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def check() -> None:
    """Check that Ray's own processes of this driver live.

    Without its raylet Ray ends this process after some seconds, with exit code 0.

    Raises:
        ClusterLostError: one has died.
    """
    dead = compat.dead_processes()
    if dead:
        raise ClusterLostError(f"Ray's {' and '.join(dead)} died")


def nodes() -> list[Node]:
    """Return the nodes of the cluster that are alive."""
    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [_node(node["Resources"]) for node in found if node["Alive"]]


def own_cards() -> int:
    """Return the number of cards of the cluster, 0 if this process did not start it."""
    return sum(node.gpus for node in nodes()) if compat.is_head() else 0


def own_card() -> str:
    """Return the type of the cards of this process's node, "" without cards."""
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
        device_bytes=int(resources.get(CARD_MIB, 0.0) * MIB) or known,
    )

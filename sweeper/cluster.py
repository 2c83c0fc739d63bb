"""The Ray cluster: joined or started, and what one trial may ask of it.

It places nothing; `placement` does.
"""

import functools
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray._private.node import Node

from sweeper.experiment import Experiment
from sweeper.trial import Demand

NAMESPACE = "sweeper"
EXTRAS = ("start_api_server", "start_monitor")  # methods of Ray's head node
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
}


def start(
    address: str, num_cpus: int | None, num_gpus: int | None, *, scratch: Path
) -> None:
    """Connect this process to a Ray cluster, starting one where none is named.

    Args:
        address: a running cluster, "auto" for this machine's; "" starts one, unless
            RAY_ADDRESS is set.
        num_cpus: logical cores of a cluster that is started, None: the machine's.
        num_gpus: logical devices of it, None: the machine's.
        scratch: folder for Ray's sockets and logs.
    """
    os.environ.update({k: v for k, v in ENVIRONMENT.items() if k not in os.environ})
    connect = functools.partial(
        ray.init, namespace=NAMESPACE, logging_level=logging.ERROR, log_to_driver=False
    )
    address = address or os.environ.get("RAY_ADDRESS", "")
    if address:
        connect(address=address)
        return
    with _without_extras():
        connect(
            address="local",
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=str(scratch),
        )


@contextmanager
def _without_extras() -> Iterator[None]:
    """Start no server for a dashboard and no autoscaler: nothing of ours asks them.

    `include_dashboard=False` starts that server all the same, and `ray.init` waits
    for it: with the autoscaler, over a second of the start on two cores.
    """
    before = {name: getattr(Node, name) for name in EXTRAS}
    for name in EXTRAS:
        setattr(Node, name, lambda self, **_: None)
    try:
        yield
    finally:
        for name, method in before.items():
            setattr(Node, name, method)


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


def settle_demand(experiment: Experiment) -> Demand:
    """What each trial asks for on this cluster; `auto` becomes a number.

    Raises:
        ExperimentError: no node of the cluster holds one trial.
    """
    wanted = experiment.resources
    nodes = _nodes()
    gpus = wanted.gpus
    if gpus == "auto":
        gpus = 1.0 if any(node.get("GPU", 0) for node in nodes) else 0.0
    demand = Demand(
        cpus=1.0 if wanted.cpus == "auto" else float(wanted.cpus),
        gpus=float(gpus),
        accelerator=wanted.accelerator if gpus else "",
    )
    if wanted.cpus == "auto" and gpus:
        shares = [_cpu_share(node, float(gpus)) for node in nodes if node.get("GPU")]
        demand = Demand(
            cpus=min(shares, default=1.0),
            gpus=demand.gpus,
            accelerator=demand.accelerator,
        )
    if count_slots(demand) == 0:
        have = "; ".join(
            ", ".join(f"{k}: {v:g}" for k, v in sorted(node.items()) if ":" not in k)
            for node in nodes
        )
        raise experiment.error(
            ("resources",),
            f"resources: one trial asks for {describe(demand)}, which no node of the "
            f"cluster holds ({have}); lower resources or use another cluster "
            "(--address)",
        )
    return demand


def describe(demand: Demand) -> str:
    """A demand in words."""
    parts = [f"{demand.cpus:g} CPU"]
    if demand.gpus:
        parts.append(f"{demand.gpus:g} GPU {demand.accelerator}".strip())
    return ", ".join(parts)


def count_slots(demand: Demand) -> int:
    """How many trials of one demand the cluster holds at once."""
    wanted = bundle(demand)
    return sum(
        min(int(node.get(name, 0) / need + 1e-6) for name, need in wanted.items())
        for node in _nodes()
    )


def _nodes() -> list[dict[str, float]]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in nodes if node["Alive"]]


def _cpu_share(node: Mapping[str, float], gpus: float) -> float:
    """A node's cores divided among the trials that its devices hold."""
    return max(0.01, int(node.get("CPU", 1.0) * gpus / node["GPU"] * 100) / 100)


def bundle(demand: Demand) -> dict[str, float]:
    """A demand as Ray's resources of one placement-group bundle."""
    resources = {"CPU": demand.cpus}
    if demand.gpus:
        resources["GPU"] = demand.gpus
    if demand.accelerator:
        resources[f"accelerator_type:{demand.accelerator}"] = 0.001
    return resources

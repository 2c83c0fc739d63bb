"""The Ray cluster: joined or started, and what one trial may ask of it.

It places nothing; `placement` does.
"""

import functools
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray._private.node import Node as RayNode

from sweeper.cards import devices, packing
from sweeper.cards.packing import CARDS, Node
from sweeper.definition.experiment import Experiment
from sweeper.errors import ClusterLostError
from sweeper.host.paths import SweepPaths
from sweeper.memory import prediction
from sweeper.planning.plan import Plan
from sweeper.project import code
from sweeper.scheduling.assignment import Assignment
from sweeper.scheduling.launch import Launch
from sweeper.trial import Demand

NAMESPACE = "sweeper"
EXTRAS = ("start_api_server", "start_monitor")  # methods of Ray's head node
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
}


def start(
    address: str,
    num_cpus: int | None,
    num_gpus: int | None,
    *,
    scratch: Path,
    card: str = "",
) -> None:
    """Connect this process to a Ray cluster, starting one where none is named.

    Args:
        address: a running cluster, "auto" for this machine's; "" starts one, unless
            RAY_ADDRESS is set.
        num_cpus: logical cores of a cluster that is started, None: the machine's.
        num_gpus: logical devices of it, None: the machine's.
        scratch: folder for Ray's sockets and logs.
        card: type of its logical devices, as `packing.find_card` reads it.
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
            resources=_card_resources(card, num_gpus),
            _temp_dir=str(scratch),
        )


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
    """Start no server for a dashboard and no autoscaler: nothing of ours asks them.

    `include_dashboard=False` starts that server all the same, and `ray.init` waits
    for it: with the autoscaler, over a second of the start on two cores.
    """
    before = {name: getattr(RayNode, name) for name in EXTRAS}
    for name in EXTRAS:
        setattr(RayNode, name, lambda self, **_: None)
    try:
        yield
    finally:
        for name, method in before.items():
            setattr(RayNode, name, method)


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


def settle_demand(experiment: Experiment) -> Demand:
    """What a trial asks for that nothing is known of; `auto` becomes a number.

    Raises:
        ExperimentError: no node of the cluster holds one trial.
    """
    wanted = experiment.resources
    found = nodes()
    gpus = wanted.gpus
    if gpus == "auto":
        gpus = 1.0 if any(node.gpus for node in found) else 0.0
    cpus = 1.0 if wanted.cpus == "auto" else float(wanted.cpus)
    if wanted.cpus == "auto" and gpus:
        with_gpus = [node for node in found if node.gpus]
        cpus = min((_cpu_share(node, gpus) for node in with_gpus), default=1.0)
    demand = Demand(
        cpus=cpus, gpus=gpus, accelerator=wanted.accelerator if gpus else ""
    )
    if packing.capacity(demand, found) == 0:
        have = "; ".join(
            f"CPU: {node.cpus:g}, GPU: {node.gpus} {node.accelerator}".strip()
            for node in found
        )
        raise experiment.error(
            ("resources",),
            f"resources: one trial asks for {describe(demand)}, which no node of the "
            f"cluster holds ({have}); lower resources or use another cluster "
            "(--address)",
        )
    return demand


def settle(plan: Plan, *, wandb_mode: str, say: Callable[[str], None]) -> Launch:
    """Everything that each trial of this start depends on.

    Args:
        say: told before memory is predicted, which takes seconds for each key.

    Raises:
        ExperimentError: no node of the cluster holds one trial.
    """
    demand = settle_demand(plan.experiment)
    found = [
        node
        for node in nodes()
        if demand.gpus and node.gpus and demand.accelerator in ("", node.accelerator)
    ]
    smallest = min(found, key=lambda node: node.cpus / node.gpus, default=None)
    device_bytes = min((node.device_bytes for node in found), default=0)
    is_auto = plan.experiment.resources.gpus == "auto" and demand.gpus > 0
    peaks = {}
    if is_auto and device_bytes:
        cache = SweepPaths(plan.folder).memory
        if not cache.exists():
            say("predicting the memory of the trials (sweeper plan shows it)")
        predictions = prediction.predict(plan.experiment, plan.space, cache=cache)
        peaks = {key: p.peak_bytes for key, p in predictions.items()}
    launch = Launch(
        demand=demand,
        slots=packing.capacity(demand, nodes()),
        seed_key=plan.seed_key,
        wandb_mode=wandb_mode,
        code=code.version(plan.experiment.project),
        is_auto=is_auto,
        peaks=peaks,
        device_bytes=device_bytes,
        cards=sum(node.gpus for node in found),
        accelerators=tuple(sorted({node.accelerator for node in found})),
        trials=plan.num_trials or 0,
        node_cpus=smallest.cpus if smallest else 0.0,
        node_gpus=smallest.gpus if smallest else 0,
        batch=plan.batch,
        workers=plan.workers,
    )
    assigned = Assignment(plan.experiment, plan.space, launch)
    demands = [assigned.demand(key, {}) for key in peaks] or [demand]
    most = max(packing.capacity(each, nodes()) for each in demands)
    return replace(launch, slots=max(1, most))


def describe(demand: Demand) -> str:
    """A demand in words."""
    parts = [f"{demand.cpus:g} CPU"]
    if demand.gpus:
        parts.append(f"{demand.gpus:g} GPU {demand.accelerator}".strip())
    return ", ".join(parts)


def nodes() -> list[Node]:
    """The machines of the cluster that are alive."""
    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [_node(node["Resources"]) for node in found if node["Alive"]]


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


def _cpu_share(node: Node, gpus: float) -> float:
    return packing.cpus(gpus, node_cpus=node.cpus, node_gpus=node.gpus)


def bundle(demand: Demand) -> dict[str, float]:
    """A demand as Ray's resources of one placement-group bundle."""
    resources = {"CPU": demand.cpus}
    if demand.gpus:
        resources["GPU"] = demand.gpus
    if demand.accelerator:
        resources[ACCELERATOR + demand.accelerator] = 0.001
    return resources

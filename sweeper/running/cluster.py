"""What a trial may ask of a cluster, and what else one start settles.

It places nothing; `placement` does. Of the cluster it sees the machines, as numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from sweeper.cards import packing
from sweeper.cards.packing import Node
from sweeper.experiment.experiment import Experiment
from sweeper.host.paths import SweepPaths
from sweeper.memory import prediction
from sweeper.planning.plan import Plan
from sweeper.project import code
from sweeper.scheduling.assignment import Assignment
from sweeper.scheduling.launch import Launch
from sweeper.trial import Demand


def settle_demand(experiment: Experiment, machines: Sequence[Node]) -> Demand:
    """What a trial asks for that nothing is known of; `auto` becomes a number.

    Args:
        machines: of the cluster, those that are alive.

    Raises:
        ExperimentError: no node of the cluster holds one trial.
    """
    wanted = experiment.resources
    gpus = wanted.gpus
    if gpus == "auto":
        gpus = 1.0 if any(node.gpus for node in machines) else 0.0
    accelerator = wanted.accelerator if gpus else ""
    cpus = 1.0 if wanted.cpus == "auto" else float(wanted.cpus)
    if wanted.cpus == "auto" and gpus:
        shares = (_cpu_share(n, gpus) for n in with_cards(machines, accelerator))
        cpus = min(shares, default=1.0)
    demand = Demand(cpus=cpus, gpus=gpus, accelerator=accelerator)
    if packing.capacity(demand, machines) == 0:
        have = "; ".join(
            f"CPU: {node.cpus:g}, GPU: {node.gpus} {node.accelerator}".strip()
            for node in machines
        )
        raise experiment.error(
            ("resources",),
            f"resources: one trial asks for {describe(demand)}, which no node of the "
            f"cluster holds ({have}); lower resources or use another cluster "
            "(--address)",
        )
    return demand


def with_cards(machines: Sequence[Node], accelerator: str) -> list[Node]:
    """The machines that have cards of a type; of any for ""."""
    return [n for n in machines if n.gpus and accelerator in ("", n.accelerator)]


def settle(
    plan: Plan,
    machines: Sequence[Node],
    *,
    wandb_mode: str,
    say: Callable[[str], None],
) -> Launch:
    """Everything that each trial of this start depends on.

    Args:
        machines: of the cluster, those that are alive.
        say: told before memory is predicted, which takes seconds for each key.

    Raises:
        ExperimentError: no node of the cluster holds one trial.
    """
    demand = settle_demand(plan.experiment, machines)
    found = with_cards(machines, demand.accelerator) if demand.gpus else []
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
        slots=packing.capacity(demand, machines),
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
        outgrown=plan.outgrown,
    )
    assigned = Assignment(plan.experiment, plan.space, launch)
    demands = [assigned.demand(key, {}) for key in peaks] or [demand]
    most = max(packing.capacity(each, machines) for each in demands)
    return replace(launch, slots=max(1, most))


def describe(demand: Demand) -> str:
    """A demand in words."""
    parts = [f"{demand.cpus:g} CPU"]
    if demand.gpus:
        parts.append(f"{demand.gpus:g} GPU {demand.accelerator}".strip())
    return ", ".join(parts)


def _cpu_share(node: Node, gpus: float) -> float:
    return packing.cpus(gpus, node_cpus=node.cpus, node_gpus=node.gpus)

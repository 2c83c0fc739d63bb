"""Settings of a start that depend on the machines: demands, shares and slots.

`plan` computes them for the machines that the user names, `run` for its cluster.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from sweeper.experiment.definition import Experiment
from sweeper.journal.queue import Assignment
from sweeper.journal.record import Demand
from sweeper.journal.run_context import RunContext
from sweeper.packing import memory, packing
from sweeper.packing.packing import Node
from sweeper.plan.plan import Plan
from sweeper.system import code_version
from sweeper.system.paths import SweepPaths


def default_demand(experiment: Experiment, machines: Sequence[Node]) -> Demand:
    """Return the demand of a trial of unknown memory; `auto` becomes a number.

    Args:
        machines: the living nodes of the cluster.
    """
    wanted = experiment.resources
    gpus = wanted.gpus
    if gpus == "auto":
        gpus = 1.0 if any(node.gpus for node in machines) else 0.0
    accelerator = wanted.accelerator if gpus else ""
    cpus = 1.0 if wanted.cpus == "auto" else float(wanted.cpus)
    if wanted.cpus == "auto" and gpus:
        shares = (
            packing.cpus(gpus, node_cpus=node.cpus, node_gpus=node.gpus)
            for node in with_cards(machines, accelerator)
        )
        cpus = min(shares, default=1.0)
    return Demand(cpus=cpus, gpus=gpus, accelerator=accelerator)


def check(experiment: Experiment, machines: Sequence[Node]) -> Demand:
    """Return the default demand; check that at least one machine can hold it.

    Raises:
        ExperimentError: no node of the cluster holds one trial.
    """
    demand = default_demand(experiment, machines)
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
    """Return the machines that have cards of a type; "" stands for any type."""
    return [n for n in machines if n.gpus and accelerator in ("", n.accelerator)]


def make_context(
    plan: Plan,
    machines: Sequence[Node],
    *,
    predict: Callable[[], Mapping[str, int]],
    wandb_mode: str = "none",
    version: str = "",
) -> RunContext:
    """Return the settings that all trials of a start on these machines share.

    Args:
        predict: returns peak bytes by memory key; called only if shares depend on them.
        version: the version of the project's code.
    """
    demand = default_demand(plan.experiment, machines)
    usable = with_cards(machines, demand.accelerator) if demand.gpus else []
    smallest = min(usable, key=lambda node: node.cpus / node.gpus, default=None)
    device_bytes = min((node.device_bytes for node in usable), default=0)
    is_auto = plan.experiment.resources.gpus == "auto" and demand.gpus > 0
    context = RunContext(
        demand=demand,
        slots=packing.capacity(demand, machines),
        seed_key=plan.seed_key,
        wandb_mode=wandb_mode,
        code=version,
        is_auto=is_auto,
        peaks=predict() if is_auto and device_bytes else {},
        device_bytes=device_bytes,
        cards=sum(node.gpus for node in usable),
        accelerators=tuple(sorted({node.accelerator for node in usable})),
        trials=plan.num_trials,
        node_cpus=smallest.cpus if smallest else 0.0,
        node_gpus=smallest.gpus if smallest else 0,
        batch=plan.batch,
        workers=plan.workers,
        outgrown=plan.outgrown,
    )
    assignment = Assignment(plan.experiment, plan.space, context)
    demands = [assignment.demand(key, {}) for key in context.peaks] or [demand]
    most = max(packing.capacity(demand, machines) for demand in demands)
    return replace(context, slots=max(1, most))


def settle(
    plan: Plan,
    machines: Sequence[Node],
    *,
    wandb_mode: str,
    say: Callable[[str], None],
) -> RunContext:
    """Return `make_context` for a cluster, once a trial fits and memory is predicted.

    Args:
        say: shows a message before memory is predicted, which takes seconds per key.

    Raises:
        ExperimentError: no node of the cluster holds one trial.
    """

    def predict() -> Mapping[str, int]:
        cache = SweepPaths(plan.folder).memory
        if not cache.exists():
            say("predicting the memory of the trials (sweeper plan shows it)")
        predictions = memory.predict(plan.experiment, plan.space, cache=cache)
        return {key: p.peak_bytes for key, p in predictions.items()}

    check(plan.experiment, machines)
    version = code_version.version(plan.experiment.project)
    return make_context(
        plan, machines, predict=predict, wandb_mode=wandb_mode, version=version
    )


def describe(demand: Demand) -> str:
    """Return a demand as text for a message."""
    parts = [f"{demand.cpus:g} CPU"]
    if demand.gpus:
        parts.append(f"{demand.gpus:g} GPU {demand.accelerator}".strip())
    return ", ".join(parts)

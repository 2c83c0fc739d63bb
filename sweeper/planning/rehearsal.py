"""A planned sweep, simulated: what its scheduler saves and what packing gains.

How good trials will be is not known, so it is drawn; a search that learns is stood for
by random points, which load the cards alike.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from sweeper.cards import packing
from sweeper.experiment.experiment import Experiment
from sweeper.planning.dry_run import Preview
from sweeper.planning.simulator import Model, Result, Simulator
from sweeper.scheduling.launch import Launch
from sweeper.text import duration
from sweeper.trial import Demand, TrialSpec, derive

RISE_EPOCHS = 0.2  # of all epochs, until a curve is at two thirds of its end
NOISE = 0.01
PACKINGS = {"by memory": "auto", "one a card": 1.0, "quarters": 0.25}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What the simulated sweep took.

    Attributes:
        expected: trials as good as a bell curve says.
        worst: all trials alike at each epoch, so that none is stopped.
        packings: the expected case with other ways to share cards, by name.
    """

    expected: Result
    worst: Result
    packings: dict[str, Result]


def rehearse(preview: Preview) -> Rehearsal:
    """Simulate a plan; {} of packings where there is no card to share."""
    experiment = preview.plan.experiment
    if len(preview.points) < preview.num_trials:
        limit = experiment.budget.model_copy(update={"trials": len(preview.points)})
        experiment = experiment.model_copy(update={"budget": limit})
    packings = {}
    if preview.card is not None:
        for name, gpus in PACKINGS.items():
            changed = experiment.resources.model_copy(update={"gpus": gpus})
            other = experiment.model_copy(update={"resources": changed})
            packings[name] = simulate(preview, other, learn=_bell)
    return Rehearsal(
        expected=simulate(preview, experiment, learn=_bell),
        worst=simulate(preview, experiment, learn=_rising),
        packings=packings,
    )


def simulate(
    preview: Preview,
    experiment: Experiment,
    *,
    learn: Callable[[TrialSpec, float], float],
) -> Result:
    """One simulated sweep of an experiment that differs from the plan's in resources.

    Args:
        learn: value of a trial at a part of its epochs, 0 to 1; more is better.
    """
    if experiment.search != "grid":
        experiment = experiment.model_copy(update={"search": "random"})
    space = replace(preview.plan.space, experiment=experiment)
    models = {
        line.key: Model(
            peak_bytes=line.prediction.peak_bytes,
            epoch_seconds=line.alone or 1.0,
            busy=preview.busy,
            epochs=line.epochs,
        )
        for line in preview.forecast.lines
    }
    sign = 1.0 if experiment.objective.mode == "max" else -1.0
    epochs = max(model.epochs for model in models.values())
    with TemporaryDirectory(prefix="sweeper-simulated-") as folder:
        return Simulator(
            experiment,
            space,
            _launch(preview, experiment),
            models=models,
            nodes=preview.nodes,
            folder=Path(folder),
            learn=lambda spec, epoch: sign * learn(spec, epoch / epochs),
            is_measuring=False,
        ).run()


def _launch(preview: Preview, experiment: Experiment) -> Launch:
    """What the driver would settle on the planned machines."""
    node, gpus = preview.nodes[0], experiment.resources.gpus
    is_auto = gpus == "auto" and preview.card is not None
    if preview.card is None:
        gpus = 0.0
    share = 1.0 if gpus == "auto" else float(gpus)
    given = experiment.resources.cpus
    cpus = 1.0 if given == "auto" else given
    if given == "auto" and share:
        cpus = packing.cpus(share, node_cpus=node.cpus, node_gpus=node.gpus)
    demand = Demand(cpus=cpus, gpus=share)
    cards = sum(each.gpus for each in preview.nodes)
    most = cards * max(line.per_card for line in preview.forecast.lines)
    peaks = {line.key: line.prediction.peak_bytes for line in preview.forecast.lines}
    return Launch(
        demand=demand,
        slots=max(1, most, packing.capacity(demand, preview.nodes)),
        seed_key="",
        wandb_mode="none",
        is_auto=is_auto,
        peaks=peaks,
        device_bytes=node.device_bytes,
        cards=cards,
        trials=len(preview.points),
        node_cpus=node.cpus,
        node_gpus=node.gpus,
        batch=preview.plan.batch,
    )


def _bell(spec: TrialSpec, part: float) -> float:
    """A curve that rises to an end of its own, with some noise."""
    end = random.Random(derive(0, spec.id)).gauss(0.8, 0.1)  # noqa: S311
    noise = random.Random(derive(0, spec.id, part)).gauss(0.0, NOISE)  # noqa: S311
    return end * (1 - math.exp(-part / RISE_EPOCHS)) + noise


def _rising(spec: TrialSpec, part: float) -> float:
    """All trials rise alike: no scheduler has a reason to stop one."""
    return part


def lines(found: Rehearsal, preview: Preview) -> list[str]:
    """What a rehearsal says, for people."""
    cards = len(preview.nodes)
    scheduler = preview.plan.experiment.scheduler
    name = scheduler if isinstance(scheduler, str) else str(scheduler["_target_"])
    said = []
    for label, result in (("expected", found.expected), ("at worst", found.worst)):
        part = result.epochs / found.worst.epochs
        said.append(
            f"simulated with {name}, {label}: {result.epochs} epochs ({part:.0%}), "
            f"{result.gpu_seconds / 3600:.1f} GPU hours, {duration(result.seconds)}"
            + (f"; {result.message}" if result.message else "")
        )
    for label, result in found.packings.items():
        said.append(
            f"  {label:<10} {duration(result.seconds):>12}, at least "
            f"{duration(result.bound(cards))}; {result.most} trials a card, "
            f"{result.out_of_memory} out of memory"
        )
    return said


def to_json(found: Rehearsal) -> dict[str, object]:
    """The same for programs."""

    def plain(result: Result) -> dict[str, object]:
        return {
            "wall_seconds": result.seconds,
            "gpu_hours": result.gpu_seconds / 3600,
            "epochs": result.epochs,
            "starts": result.starts,
            "out_of_memory": result.out_of_memory,
            "most_per_card": result.most,
            "stop": result.message,
        }

    return {
        "expected": plain(found.expected),
        "worst": plain(found.worst),
        "packings": {name: plain(r) for name, r in found.packings.items()},
    }

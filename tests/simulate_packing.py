"""A planned sweep in virtual time: what its scheduler saves and what packing gains.

    python -m tests.simulate_packing experiments/jersey_t4.yaml --cards 4 --busy 0.1

How good trials will be is not known, so it is drawn; random points stand for a search
that learns, since they load the cards alike. The data must be there: memory is
predicted by the project's own target.
"""

import argparse
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from sweeper.plan import demands, preview
from sweeper.plan.estimate import BUSY, Given
from sweeper.plan.plan import make_plan
from sweeper.plan.preview import Machines, Preview
from sweeper.protocol import TrialSpec
from sweeper.system.identity import derive
from sweeper.system.text import duration
from tests.simulator import Model, Result, Simulator

RISE_EPOCHS = 0.2  # of all epochs, until a curve is at two thirds of its end
NOISE = 0.01
PACKINGS = {"by memory": "auto", "one a card": 1.0, "quarters": 0.25}
Curve = Callable[[TrialSpec, float], float]


def simulate(preview: Preview, gpus: object, *, learn: Curve) -> Result:
    """Run the sweep of a preview in virtual time.

    Args:
        gpus: `resources.gpus`.
        learn: value of a trial at a part of its epochs, 0 to 1; more is better.
    """
    experiment = preview.plan.experiment
    update: dict[str, object] = {
        "resources": experiment.resources.model_copy(update={"gpus": gpus})
    }
    if experiment.search != "grid":
        update["search"] = "random"
    experiment = experiment.model_copy(update=update)
    plan = replace(
        preview.plan,
        experiment=experiment,
        space=replace(preview.plan.space, experiment=experiment),
    )
    models = {
        line.key: Model(
            peak_bytes=line.prediction.peak_bytes,
            epoch_seconds=line.alone or 1.0,
            busy=preview.busy,
            epochs=line.epochs,
        )
        for line in preview.forecast.lines
    }
    peaks = {key: model.peak_bytes for key, model in models.items()}
    context = demands.make_context(plan, preview.nodes, predict=lambda: peaks)
    sign = 1.0 if experiment.objective.mode == "max" else -1.0
    epochs = max(model.epochs for model in models.values())
    with TemporaryDirectory(prefix="sweeper-simulated-") as folder:
        return Simulator(
            experiment,
            plan.space,
            context,
            models=models,
            nodes=preview.nodes,
            folder=Path(folder),
            learn=lambda spec, epoch: sign * learn(spec, epoch / epochs),
            is_measuring=False,
        ).run()


def bell(spec: TrialSpec, part: float) -> float:
    """Return the value of a curve that rises to an end of its own, with some noise."""
    end = random.Random(derive(0, spec.id)).gauss(0.8, 0.1)  # noqa: S311
    noise = random.Random(derive(0, spec.id, part)).gauss(0.0, NOISE)  # noqa: S311
    return end * (1 - math.exp(-part / RISE_EPOCHS)) + noise


def rising(spec: TrialSpec, part: float) -> float:
    """Return the same value for all trials: no scheduler has a reason to stop one."""
    return part


def lines(preview: Preview) -> Iterator[str]:
    """Yield a line for each curve with the file's scheduler, and for each packing."""
    gpus = preview.plan.experiment.resources.gpus
    for name, learn in (("expected", bell), ("at worst", rising)):
        result = simulate(preview, gpus, learn=learn)
        yield (
            f"{name}: {result.epochs} epochs, {result.gpu_seconds / 3600:.1f} GPU "
            f"hours, {duration(result.seconds)} {result.message}"
        )
    for name, gpus in PACKINGS.items():
        result = simulate(preview, gpus, learn=bell)
        bound = duration(result.bound(len(preview.nodes)))
        yield (
            f"{name}: {duration(result.seconds)}, at least {bound}; {result.most} "
            f"trials a card, {result.out_of_memory} out of memory"
        )


def main() -> None:
    """Print the lines of an experiment file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--cards", type=int, default=1)
    parser.add_argument("--busy", type=float, default=BUSY)
    parser.add_argument("--step-seconds", type=float, default=0.0)
    args = parser.parse_args()
    shown = preview.preview(
        make_plan(args.file, args.overrides, sweeps=Path("sweeps")),
        machines=Machines(cards=args.cards),
        given=Given(step_seconds=args.step_seconds, busy=args.busy),
        has_memory=True,
    )
    print(*lines(shown), sep="\n")


if __name__ == "__main__":
    main()

"""The preview of a sweep before it runs: points, duplicates, memory, hours and cost.

No trial is started. The only file written is the cache of memory predictions.
"""

import hashlib
import itertools
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from optuna.distributions import FloatDistribution, IntDistribution

from sweeper.experiment.definition import cost
from sweeper.experiment.parameter import Parameter
from sweeper.experiment.space import MAX_POINTS, Space
from sweeper.journal import store
from sweeper.journal.queue import Assignment
from sweeper.journal.record import TrialRecord
from sweeper.packing import memory, packing
from sweeper.packing.memory import Prediction
from sweeper.packing.observations import Observations
from sweeper.packing.packing import Card, Node
from sweeper.plan import demands, estimate
from sweeper.plan.estimate import Forecast, Given
from sweeper.plan.plan import Plan
from sweeper.project.points import composer, configs
from sweeper.protocol import Params, Value
from sweeper.search import algorithms, policy
from sweeper.search.history import History
from sweeper.system.identity import derive
from sweeper.system.paths import SweepPaths

MAX_DRAWS = 20  # attempts to draw a point that satisfies `where`
MAX_ASKED = 1000  # points drawn as `run` draws them, which takes 3 ms each
RANDOM = policy.Search(config={"_target_": "optuna.samplers.RandomSampler"})
MAX_DRAWN = 10_000  # points; a longer search is represented by this sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """The machines that a plan is made for; 0 and "" mean not given.

    Attributes:
        cards: number of GPUs.
        card: their type and size as `packing.find_card` reads it; "" for the
            experiment's accelerator.
        cpus_per_card: cores of the host per card.
    """

    cards: int = 0
    card: str = ""
    cpus_per_card: float = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The content of `sweeper plan`.

    Attributes:
        points: a point for each trial; at most `MAX_DRAWN` unless the search is grid.
        is_exact: whether `run` will try exactly these points.
        duplicates: points whose config equals that of an earlier one.
        busy: share of the time that one trial alone keeps a card busy.
    """

    plan: Plan
    points: tuple[Params, ...]
    is_exact: bool
    duplicates: int
    card: Card | None
    nodes: tuple[Node, ...]
    forecast: Forecast
    busy: float


def preview(
    plan: Plan, *, machines: Machines, given: Given, has_memory: bool
) -> Preview:
    """Return the preview of a checked experiment.

    Args:
        given: estimates of the command line; they override the file's `estimate`.
        has_memory: whether to predict memory, which takes some seconds per key.

    Raises:
        DemandError: the card's type is unknown.
    """
    plan, card = _planned(plan, machines)
    experiment = plan.experiment
    node = Node(cpus=float(os.cpu_count() or 1))
    if card is not None:
        node = Node(
            cpus=machines.cpus_per_card,
            gpus=1,
            accelerator=card.name,
            device_bytes=card.device_bytes,
        )
    nodes = (node,) * (max(1, machines.cards) if card else 1)
    points, is_exact = sample(plan)
    predictions: dict[str, Prediction] = {}
    if has_memory and card is not None:
        cache = SweepPaths(plan.folder).memory
        predictions |= memory.predict(experiment, plan.space, cache=cache)
    trials = _earlier_trials(plan)
    observations = Observations((card.name,) if card else ())
    observations.update(dict(enumerate(trials)) if card else {})
    for key, observed in observations.by_key.items():
        if observed.peak_bytes:
            before = predictions.get(key, Prediction(how="none"))
            predictions[key] = replace(
                before, peak_bytes=observed.peak_bytes, how="measured", note=""
            )
    peaks = {key: found.peak_bytes for key, found in predictions.items()}
    context = demands.make_context(plan, nodes, predict=lambda: peaks)
    assignment = Assignment(experiment, plan.space, context)
    said = experiment.estimate
    return Preview(
        plan=plan,
        points=tuple(points),
        is_exact=is_exact,
        duplicates=count_duplicates(plan, points) if is_exact else 0,
        card=card,
        nodes=nodes,
        busy=given.busy,
        forecast=estimate.forecast(
            [memory.memory_key(point, space=plan.space) for point in points],
            demand=lambda key: assignment.demand(key, observations.by_key),
            predictions=predictions,
            measured=_epoch_seconds(plan, trials, busy=given.busy),
            card=card,
            nodes=nodes,
            given=replace(
                given,
                step_seconds=given.step_seconds or said.step_seconds or 0.0,
                examples=given.examples or said.examples or 0,
                epochs=given.epochs or said.epochs or plan.epochs,
                batch_size=plan.batch.batch_size,
            ),
            price=cost(experiment.price, {card.name: 3600.0}) if card else 0.0,
            scale=plan.num_trials / len(points) if points else 1.0,
        ),
    )


def _planned(plan: Plan, machines: Machines) -> tuple[Plan, Card | None]:
    """Return the plan with the resources of the planned machines, and their card."""
    experiment = plan.experiment
    resources = experiment.resources
    card = packing.find_card(machines.card or resources.accelerator)
    if resources.gpus == 0:
        card = None
    update = {"accelerator": card.name} if card else {"gpus": 0, "accelerator": ""}
    resources = resources.model_copy(update=update)
    experiment = experiment.model_copy(update={"resources": resources})
    return replace(plan, experiment=experiment), card


def sample(plan: Plan) -> tuple[list[Params], bool]:
    """Return a point for each trial, and whether `run` will try exactly these points.

    There are at most `MAX_DRAWN`, unless the search is grid.
    """
    space, seeds = plan.space, len(plan.experiment.seeds)
    total = plan.num_trials
    if plan.experiment.search == "grid":
        grid = (point for point in space.points() for _ in range(seeds))
        return list(itertools.islice(grid, total)), True
    total = min(total, MAX_DRAWN)
    is_small = space.size is not None and space.size <= MAX_POINTS
    if is_small or (space.size is not None and total <= MAX_ASKED * seeds):
        distinct, is_exact = _distinct(plan, -(-total // seeds))
        repeated = [point for point in distinct for _ in range(seeds)]
        # Trials of a confirmation and of later generations repeat earlier points.
        points = list(itertools.islice(itertools.cycle(repeated), total))
        return points, is_exact and total <= len(repeated)
    random = np.random.default_rng(derive(plan.experiment.seeds[0], "plan"))
    drawn: list[Params] = [] if space.baseline is None else [space.baseline]
    while len(drawn) * seeds < total:
        drawn.append(_draw(space, random))
    return [p for p in drawn for _ in range(seeds)][:total], False


def _distinct(plan: Plan, count: int) -> tuple[list[Params], bool]:
    """Return distinct points of a finite space, and whether `run` draws the same ones.

    It does for a search that ignores results, such as random search, since the seeds
    are the same.
    """
    experiment, space = plan.experiment, plan.space
    size = space.size or 0
    if count >= size or count > MAX_ASKED:
        rest = list(space.points())
        random = np.random.default_rng(derive(experiment.seeds[0], "plan"))
        order = random.permutation(size) if count < size else range(size)
        points = [
            *space.listed_points,
            *(rest[i] for i in order if rest[i] not in space.listed_points),
        ]
        return points[:count], count >= size
    asked = algorithms.search(experiment)
    search = asked if asked.history == 0 else RANDOM
    history, records = History(space), list[TrialRecord]()
    for _ in range(count):
        record = policy.suggest(
            history.update(records), experiment=experiment, space=space, search=search
        )
        assert record is not None  # noqa: S101  # there are more than `count`
        records += [record] * len(experiment.seeds)
    return [r.params for r in records[:: len(experiment.seeds)]], search is asked


def _draw(space: Space, random: np.random.Generator) -> Params:
    point: dict[str, Value] = {}
    for _ in range(MAX_DRAWS):
        point = next(space.walk(lambda p: (_value(p, random),)))
        if space.allows(point):
            break
    return point


def _value(parameter: Parameter, random: np.random.Generator) -> Value:
    found = parameter.distribution
    if not isinstance(found, IntDistribution | FloatDistribution):
        return parameter.choices[int(random.integers(len(parameter.choices)))]
    if found.log:
        value = float(np.exp(random.uniform(np.log(found.low), np.log(found.high))))
    else:
        value = float(random.uniform(found.low, found.high))
    return round(value) if isinstance(found, IntDistribution) else value


def count_duplicates(plan: Plan, points: Sequence[Params]) -> int:
    """Return the number of points whose composed config equals that of an earlier one.

    Two variants, or two options of a group, may set the same values.
    """
    experiment = plan.experiment
    unique = list({tuple(point.items()): point for point in points}.values())
    seen = {
        hashlib.sha256(
            json.dumps(config, sort_keys=True, default=str).encode()
        ).digest()
        for _, config in configs(composer(experiment), experiment, plan.space, unique)
    }
    return len(unique) - len(seen)


def _earlier_trials(plan: Plan) -> tuple[TrialRecord, ...]:
    if not SweepPaths(plan.folder).journal.exists():
        return ()
    return store.Reader(plan.experiment, plan.folder).sweep().trials


def _epoch_seconds(
    plan: Plan, trials: Iterable[TrialRecord], *, busy: float
) -> dict[str, float]:
    """Return the seconds of an epoch alone on a card, by memory key.

    They include validation and start-up. The time of a trial that shared its card is
    divided by the number of trials on it times `busy`, if that is above 1.

    Args:
        busy: share of the time that one trial alone keeps a card busy.
    """
    seconds: dict[str, list[float]] = defaultdict(list)
    for trial in trials:
        if trial.values and trial.busy_seconds:
            key = memory.memory_key(trial.params, space=plan.space)
            slower = max(1.0, packing.per_card(trial.demand.gpus) * busy)
            seconds[key].append(trial.busy_seconds / max(trial.values) / slower)
    return {key: sum(times) / len(times) for key, times in seconds.items()}

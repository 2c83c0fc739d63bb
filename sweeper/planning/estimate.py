"""What a sweep will take: cards, hours, money and disk, from what is known of a step.

Numbers in, numbers out; where a number is assumed, its source says so.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeper.cards import packing
from sweeper.cards.packing import Card, Node
from sweeper.errors import DemandError
from sweeper.memory.prediction import Prediction
from sweeper.planning import schedule
from sweeper.planning.schedule import Slice, Task
from sweeper.text import MIB
from sweeper.trial import Demand

UTILISATION = 0.25  # of a card's peak arithmetic; convolutions in half precision
BUSY = 0.5  # of a card's time that one trial alone keeps it busy
STEPS = 100  # of an epoch, where nobody knows
EPOCHS = 10
CHECKPOINTS = 3  # last, previous and best
FILE_BYTES = MIB  # logs, metrics and pictures of a trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the user says; 0 for what he does not.

    Attributes:
        step_seconds: of one training step of a trial alone on a card.
        examples: of the training split.
        gpus: share that the file fixes, -1 for `auto`.
        price: of a card for an hour, NaN for none.
        busy: share of a card's time that one trial alone keeps it busy.
    """

    step_seconds: float = 0.0
    examples: int = 0
    epochs: int = 0
    gpus: float = -1.0
    cpus: float = 0.0
    max_per_gpu: int = packing.MAX_SLOTS
    price: float = 0.0
    busy: float = BUSY


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What is expected of the trials of one memory key.

    Attributes:
        per_card: trials that share a card; 0 on CPUs, -1 for those that fit no card.
        seconds: of one whole trial, beside its neighbours.
        source: where the time of a step comes from.
        alone: seconds of an epoch of one alone on a card.
    """

    key: str
    trials: int
    prediction: Prediction
    demand: Demand
    per_card: int
    steps: int
    epochs: int
    seconds: float
    source: str
    alone: float = 0.0

    @property
    def gpu_hours(self) -> float:
        """Of all of its trials."""
        return self.trials * self.seconds * self.demand.gpus / 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The whole sweep, if every trial runs to its end.

    `cost` is NaN if it is not known, and `disk_bytes` is None if the size of a
    checkpoint is not.
    """

    lines: tuple[Line, ...]
    slices: tuple[Slice, ...]
    gpu_hours: float
    wall_seconds: float
    bound_seconds: float
    cost: float
    disk_bytes: int | None


def forecast(
    keys: Sequence[str],
    *,
    predictions: Mapping[str, Prediction],
    measured: Mapping[str, float],
    card: Card | None,
    nodes: Sequence[Node],
    given: Given,
    scale: float = 1.0,
) -> Forecast:
    """What the trials of these keys take on these machines.

    Args:
        keys: the memory key of each trial.
        predictions: by key; a key without one has a whole card.
        measured: seconds of an epoch of a trial alone on a card, by key, from trials
            that have run.
        card: type of the cards, None for CPUs.
        scale: how many trials each of `keys` stands for.
    """
    counts = Counter(keys)
    lines = tuple(
        _line(
            key,
            trials=round(counts[key] * scale),
            prediction=predictions.get(key, Prediction(how="none")),
            measured=measured.get(key, 0.0),
            card=card,
            nodes=nodes,
            given=given,
        )
        for key in dict.fromkeys(keys)
    )
    tasks = [
        Task(label=line.key, demand=line.demand, seconds=line.seconds)
        for line in lines
        if line.per_card >= 0
        for _ in range(counts[line.key])
    ]
    slices = schedule.arrange(tasks, nodes)
    is_timed = all(line.source != "unknown" for line in lines if line.per_card > 0)
    hours = sum(line.gpu_hours for line in lines if line.per_card > 0)
    return Forecast(
        lines=lines,
        slices=tuple(slices),
        gpu_hours=hours,
        wall_seconds=schedule.makespan(slices) * scale,
        bound_seconds=schedule.lower_bound(tasks, nodes) * scale,
        cost=hours * given.price if is_timed else math.nan,
        disk_bytes=_disk(lines),
    )


def _line(
    key: str,
    *,
    trials: int,
    prediction: Prediction,
    measured: float,
    card: Card | None,
    nodes: Sequence[Node],
    given: Given,
) -> Line:
    per_card, demand = _demand(prediction, card, nodes[0], given)
    epochs = given.epochs or prediction.epochs or EPOCHS
    steps = _steps(prediction, given)
    slower = max(1.0, per_card * given.busy)
    if measured:
        alone, source = measured, "measured"
    else:
        step, source = _step_seconds(prediction, card, given)
        alone = step * steps
    seconds = alone * slower * epochs
    return Line(
        key=key,
        trials=trials,
        prediction=prediction,
        demand=demand,
        per_card=per_card,
        steps=steps,
        epochs=epochs,
        seconds=seconds,
        source=source,
        alone=alone,
    )


def _demand(
    prediction: Prediction, card: Card | None, node: Node, given: Given
) -> tuple[int, Demand]:
    """Trials of a card and what each asks for; -1 where it fits none."""
    if card is None or given.gpus == 0:
        return 0, Demand(cpus=given.cpus or 1.0)
    per_card = 1
    if given.gpus > 0:
        gpus = given.gpus
        per_card = packing.per_card(gpus)
    elif prediction.peak_bytes:
        try:
            per_card = packing.slots(
                prediction.peak_bytes,
                device_bytes=card.device_bytes,
                max_per_gpu=given.max_per_gpu,
            )
        except DemandError:
            per_card = -1
        gpus = packing.share(abs(per_card))
    else:
        gpus = 1.0
    cpus = given.cpus or packing.cpus(gpus, node_cpus=node.cpus, node_gpus=node.gpus)
    return per_card, Demand(cpus=cpus, gpus=gpus, accelerator=card.name)


def _steps(prediction: Prediction, given: Given) -> int:
    if given.examples and prediction.batch_size:
        return -(-given.examples // prediction.batch_size)
    is_seen = prediction.how in ("followed", "measured on the CPU")
    return prediction.steps if is_seen and prediction.steps else STEPS


def _step_seconds(
    prediction: Prediction, card: Card | None, given: Given
) -> tuple[float, str]:
    """Seconds of a step alone on a card, and where they come from."""
    if given.step_seconds:
        return given.step_seconds, "given"
    if card is None or not prediction.flops:
        return 0.0, "unknown"
    half, single = card.teraflops
    peak = single if prediction.precision in ("", "32-true", "32") else half
    if not peak:
        return 0.0, "unknown"
    return prediction.flops / (peak * 1e12 * UTILISATION), "from FLOPs"


def _disk(lines: Sequence[Line]) -> int | None:
    if not all(line.prediction.state_bytes for line in lines):
        return None
    return sum(
        line.trials * (CHECKPOINTS * line.prediction.state_bytes + FILE_BYTES)
        for line in lines
    )

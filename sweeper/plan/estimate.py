"""Forecast of the cards, hours, money and disk space that a sweep will take.

It is computed from the figures of one training step. Pure functions.
"""

import heapq
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sweeper.journal.record import Demand
from sweeper.packing import memory, packing
from sweeper.packing.memory import Prediction
from sweeper.packing.packing import Card, Node, Place, Room
from sweeper.system.text import MIB

UTILISATION = 0.25  # of a card's peak FLOP/s; convolutions in half precision
BUSY = 0.5  # share of the time that one trial alone keeps a card busy
STEPS = 100  # per epoch, if neither the trial nor the user gives a number
EPOCHS = 10
CHECKPOINTS = 3  # last, previous and best
FILE_BYTES = MIB  # logs, metrics and pictures of a trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Estimates by the user; 0 means not given.

    Attributes:
        step_seconds: seconds of one training step of a trial alone on a card.
        examples: size of the training split.
        epochs: epochs of a whole trial.
        batch_size: batch size of a trial whose memory key has none.
        busy: share of the time that one trial alone keeps a card busy, 0 to 1.
    """

    step_seconds: float = 0.0
    examples: int = 0
    epochs: int = 0
    batch_size: int = 0
    busy: float = BUSY


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The forecast of the trials of one memory key.

    Attributes:
        per_card: trials that share a card; 0 on CPUs, -1 if a trial fits no card.
        seconds: seconds of one whole trial that shares its card with others.
        source: source of the step time: "measured", "given", "from FLOPs" or "unknown".
        alone: seconds of an epoch of a trial alone on a card.
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
        """Card hours of all trials of the line, weighted by their shares."""
        return self.trials * self.seconds * self.demand.gpus / 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The forecast of a sweep in which no trial stops early.

    Attributes:
        bound_seconds: lower bound of the wall time.
        cost: NaN if it is unknown.
        disk_bytes: None if the size of a checkpoint is unknown.
    """

    lines: tuple[Line, ...]
    gpu_hours: float
    wall_seconds: float
    bound_seconds: float
    cost: float
    disk_bytes: int | None


def forecast(
    keys: Sequence[str],
    *,
    demand: Callable[[str], Demand],
    predictions: Mapping[str, Prediction],
    measured: Mapping[str, float],
    card: Card | None,
    nodes: Sequence[Node],
    given: Given,
    price: float = 0.0,
    scale: float = 1.0,
) -> Forecast:
    """Return the forecast of the trials of these keys on these machines.

    Args:
        keys: the memory key of each trial.
        demand: returns the demand of a key's trials.
        predictions: predictions by key; a key without one gets a whole card.
        measured: seconds of an epoch of a trial alone on a card, by key, from trials
            that have run.
        card: type of the cards, None for CPUs.
        price: price of a card per hour, NaN if it is unknown.
        scale: number of trials that each of `keys` represents.
    """
    counts = Counter(keys)
    lines = tuple(
        _line(
            key,
            trials=round(counts[key] * scale),
            demand=demand(key),
            prediction=predictions.get(key, Prediction(how="none")),
            measured=measured.get(key, 0.0),
            card=card,
            given=given,
        )
        for key in dict.fromkeys(keys)
    )
    tasks = [
        (line.demand, line.seconds)
        for line in lines
        if line.per_card >= 0
        for _ in range(counts[line.key])
    ]
    on_cards = [line for line in lines if line.per_card > 0]
    hours = sum(line.gpu_hours for line in on_cards)
    is_timed = all(line.source != "unknown" for line in on_cards)
    disk = sum(line.trials * _trial_bytes(line.prediction) for line in lines)
    return Forecast(
        lines=lines,
        gpu_hours=hours,
        wall_seconds=makespan(tasks, nodes) * scale,
        bound_seconds=lower_bound(tasks, nodes) * scale,
        cost=hours * price if is_timed else math.nan,
        disk_bytes=None if math.isnan(disk) else int(disk),
    )


def _line(
    key: str,
    *,
    trials: int,
    demand: Demand,
    prediction: Prediction,
    measured: float,
    card: Card | None,
    given: Given,
) -> Line:
    per_card = packing.per_card(demand.gpus)
    if card and not packing.fits(prediction.peak_bytes, card.device_bytes):
        per_card = -1
    epochs = given.epochs or prediction.epochs or EPOCHS
    steps = prediction.steps or STEPS
    size = prediction.batch_size or memory.family(key)[1] or given.batch_size
    if given.examples and size:
        steps = -(-given.examples // size)
    alone, source = measured, "measured"
    if not measured:
        step, source = _step_seconds(prediction, card, given)
        alone = step * steps
    return Line(
        key=key,
        trials=trials,
        prediction=prediction,
        demand=demand,
        per_card=per_card,
        steps=steps,
        epochs=epochs,
        seconds=alone * max(1.0, per_card * given.busy) * epochs,
        source=source,
        alone=alone,
    )


def _step_seconds(
    prediction: Prediction, card: Card | None, given: Given
) -> tuple[float, str]:
    """Return the seconds of a step of a trial alone on a card, and their source."""
    if given.step_seconds:
        return given.step_seconds, "given"
    half, single = card.teraflops if card else (0.0, 0.0)
    peak = single if prediction.precision in ("", "32-true", "32") else half
    if not peak or not prediction.flops:
        return 0.0, "unknown"
    return prediction.flops / (peak * 1e12 * UTILISATION), "from FLOPs"


def _trial_bytes(prediction: Prediction) -> float:
    if not prediction.state_bytes:
        return math.nan
    return CHECKPOINTS * prediction.state_bytes + FILE_BYTES


# ---- wall time; a trial is its demand and its seconds


def makespan(trials: Sequence[tuple[Demand, float]], nodes: Sequence[Node]) -> float:
    """Return the seconds until all trials have ended.

    Each trial starts as soon as a card has room for it, the largest shares first,
    among equal shares the longest trials. On equal machines, longest first takes at
    most 4/3 of the shortest time (Graham, SIAM J. Appl. Math. 17, 1969). Trials that
    no node can hold are left out.
    """
    room, empty = Room(nodes), Room(nodes)
    running: list[tuple[float, int, Demand, Place]] = []
    now = end = 0.0
    queue = sorted(trials, key=lambda trial: (-trial[0].gpus, -trial[1]))
    for number, (demand, seconds) in enumerate(queue):
        if empty.find(demand) is None:
            continue
        while (place := room.find(demand)) is None:
            now, _, ended, freed = heapq.heappop(running)
            room.give(ended, freed)
        room.take(demand, place)
        heapq.heappush(running, (now + seconds, number, demand, place))
        end = max(end, now + seconds)
    return end


def lower_bound(trials: Sequence[tuple[Demand, float]], nodes: Sequence[Node]) -> float:
    """Return a lower bound of the wall time of any schedule, in seconds.

    It is the largest of the work per card, the work per core and the longest trial.
    """
    cards = sum(node.gpus for node in nodes)
    cores = sum(node.cpus for node in nodes)
    on_cards = sum(seconds * demand.gpus for demand, seconds in trials)
    on_cores = sum(seconds * demand.cpus for demand, seconds in trials)
    longest = max((seconds for _, seconds in trials), default=0.0)
    return max(on_cards / cards if cards else 0.0, on_cores / cores, longest)

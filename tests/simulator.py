"""A whole sweep in virtual time: the real journal against a cluster that is made up.

What trials learn, how fast they are and what breaks is given; the code of a real sweep
decides which trial runs where, is resumed or is tried again.
"""

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.storages import InMemoryStorage

from sweeper.experiment.definition import Experiment
from sweeper.experiment.space import Space
from sweeper.journal.journal import Journal
from sweeper.journal.record import Demand, Failure
from sweeper.journal.run_context import RunContext
from sweeper.journal.study import directions
from sweeper.packing.memory import memory_key
from sweeper.packing.packing import Node, Place, Room, memory_fraction
from sweeper.protocol import Decision, FailureKind, Report, TrialSpec
from sweeper.system.identity import derive
from tests.helpers import start_epoch

OOM_SECONDS = 20.0  # until a trial that does not fit has said so
CARD = "card"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """How the trials of one memory key behave.

    Attributes:
        peak_bytes: what torch's allocator needs.
        epoch_seconds: of one alone on a card.
        busy: share of the card's time that one alone takes. A card is a bucket of
            tokens: trials that want more than 1 in all are slowed in proportion.
        epochs: of a whole trial.
    """

    peak_bytes: int = 0
    epoch_seconds: float = 60.0
    busy: float = 0.5
    epochs: int = 10


@dataclass(slots=True)
class Result:
    """What came of a simulated sweep.

    Attributes:
        seconds: virtual time to the end.
        share_seconds: shares of cards times the seconds of their epochs alone.
        busy_seconds: card seconds by the time that they computed.
        gpu_seconds: card seconds that are paid for, by share.
        longest: seconds of the longest trial, alone.
        epochs: that were trained, repeated ones after a loss, too.
        most: trials on one card at once.
        load: the most that was taken of a card.
    """

    seconds: float = 0.0
    share_seconds: float = 0.0
    busy_seconds: float = 0.0
    gpu_seconds: float = 0.0
    longest: float = 0.0
    epochs: int = 0
    starts: int = 0
    out_of_memory: int = 0
    lost: int = 0
    most: int = 0
    load: float = 0.0
    message: str = ""

    def bound(self, cards: int) -> float:
        """No schedule is shorter: all work on all cards, and the longest trial."""
        work = max(self.share_seconds, self.busy_seconds)
        return max(work / cards, self.longest)


@dataclass(slots=True)
class _Running:
    """A trial on a card: `left` seconds, alone, of an epoch as of `since`."""

    spec: TrialSpec
    model: Model
    demand: Demand
    place: Place
    epoch: int
    began: float
    left: float = 0.0
    since: float = 0.0
    speed: float = 1.0
    version: int = 0  # an event of an older one is stale
    epoch_began: float = 0.0


class Simulator:
    """Runs one sweep.

    Args:
        models: by memory key.
        nodes: the machines.
        learn: objective of a trial after an epoch.
        hours_to_loss: mean time until a card loses all of its trials; 0 for never.
        is_measuring: whether trials report their speed and memory.
    """

    def __init__(
        self,
        experiment: Experiment,
        space: Space,
        context: RunContext,
        *,
        models: Mapping[str, Model],
        nodes: Sequence[Node],
        folder: Path,
        learn: Callable[[TrialSpec, int], float] = lambda spec, epoch: 0.5,
        hours_to_loss: float = 0.0,
        is_measuring: bool = True,
    ) -> None:
        self.now = 0.0
        self.result = Result()
        self.journal = Journal(
            experiment,
            space,
            folder,
            context,
            clock=lambda: self.now,
            study=optuna.create_study(
                storage=InMemoryStorage(),
                study_name=experiment.name,  # Hyperband's brackets are drawn by it
                directions=directions(experiment.objectives),
            ),
        )
        self._space = space
        self._context = context
        self._models = models
        self._nodes = nodes
        self._room = Room(nodes)
        self._learn = learn
        self._hours_to_loss = hours_to_loss
        self._is_measuring = is_measuring
        self._random = random.Random(derive(experiment.seeds[0], "loss"))  # noqa: S311
        self._running: dict[str, _Running] = {}
        self._done: Counter[str] = Counter()  # epochs in a trial's checkpoint
        self._events: list[tuple[float, int, str, int]] = []
        self._count = itertools.count()

    def run(self) -> Result:
        """Run until the journal has nothing more to run."""
        if self._hours_to_loss:
            for card in range(sum(node.gpus for node in self._nodes)):
                self._schedule_loss(card)
        self._fill()
        while self._running:
            self.now, _, name, version = heapq.heappop(self._events)
            if name == CARD:
                self._lose(version)
                self._schedule_loss(version)
                self._fill()
            elif name in self._running and self._running[name].version == version:
                self._advance(name)
        self.result.seconds = self.now
        self.result.message = self.journal.stopped_by().message
        return self.result

    # ---- what placement and slots do

    def _fill(self) -> None:
        """Place a slot wherever the next trial has room, as Ray Tune is told to."""
        while (asked := self.journal.offer()) is not None:
            place = self._room.find(asked)
            name = f"slot {next(self._count)}"
            if place is None or self.journal.claim(name, asked) is None:
                return
            self._room.take(asked, place)
            self.result.load = max([self.result.load, *self._room.load()])
            self._begin(name, asked, place)

    def _begin(self, name: str, demand: Demand, place: Place) -> None:
        spec = self.journal.start(name, self._nodes[place.node].accelerator)
        trial = _Running(
            spec=spec,
            model=self._models[memory_key(spec.params, space=self._space)],
            demand=demand,
            place=place,
            epoch=max(self._done[spec.id], start_epoch(spec.lineage)) + 1,
            began=self.now,
        )
        self._running[name] = trial
        self.result.starts += 1
        self._start_epoch(trial)
        if place.cards:
            alike = sum(r.place == place for r in self._running.values())
            self.result.most = max(self.result.most, alike)

    def _release(self, name: str, *, is_alive: bool = True) -> None:
        """A slot takes the next trial of its demand, or ends."""
        ended = self._running.pop(name)
        self.result.gpu_seconds += (self.now - ended.began) * ended.demand.gpus
        if is_alive and self.journal.claim(name, ended.demand) is not None:
            self._begin(name, ended.demand, ended.place)
            return
        self._room.give(ended.demand, ended.place)
        self._share_time(ended.place)
        if is_alive:
            self._fill()

    # ---- what trials do

    def _start_epoch(self, trial: _Running) -> None:
        fits = self._fits(trial)
        trial.left = trial.model.epoch_seconds if fits else OOM_SECONDS
        trial.epoch_began = trial.since = self.now
        self._share_time(trial.place)

    def _fits(self, trial: _Running) -> bool:
        device = self._nodes[trial.place.node].device_bytes
        if not trial.place.cards or not device:
            return True
        shrunk = f"{self._context.batch.accumulation}="
        is_shrunk = any(word.startswith(shrunk) for word in trial.spec.overrides)
        need = trial.model.peak_bytes / (2 if is_shrunk else 1)
        allowed = memory_fraction(trial.demand.gpus, device_bytes=device)
        return need <= allowed * device

    def _share_time(self, place: Place) -> None:
        """Work out anew when the epochs of a card end: its speed has changed."""
        here = {n: r for n, r in self._running.items() if r.place == place}
        wanted = sum(trial.model.busy for trial in here.values())
        speed = min(1.0, 1.0 / wanted) if place.cards and wanted else 1.0
        for name, trial in here.items():
            trial.left -= (self.now - trial.since) * trial.speed
            trial.since, trial.speed = self.now, speed
            trial.version += 1
            end = self.now + max(trial.left, 0.0) / speed
            event = (end, next(self._count), name, trial.version)
            heapq.heappush(self._events, event)

    def _advance(self, name: str) -> None:
        """An epoch has ended, or the trial has found that it does not fit."""
        trial = self._running[name]
        if not self._fits(trial):
            self.result.out_of_memory += 1
            failure = Failure(kind=FailureKind.OOM, message="CUDA out of memory")
            self.journal.fail(name, failure)
            self._release(name)
            return
        self._account(trial)
        self._done[trial.spec.id] = trial.epoch
        decision = self._report(name, trial)
        if decision is Decision.PAUSE:
            self.journal.pause(name)
            self._release(name)
        elif decision is Decision.STOP or trial.epoch >= trial.model.epochs:
            self.journal.finish(name)
            self._release(name)
        else:
            trial.epoch += 1
            self._start_epoch(trial)

    def _report(self, name: str, trial: _Running) -> Decision:
        rate = 1.0 / (self.now - trial.epoch_began)
        usage = {"peak_bytes": float(trial.model.peak_bytes), "rate": rate}
        value, others = self._learn(trial.spec, trial.epoch), trial.spec.more_metrics
        report = Report(
            epoch=trial.epoch,
            values=(value, *[value for _ in others]),
            busy_seconds=self.now - trial.began,
            usage=usage if self._is_measuring and trial.demand.gpus else {},
        )
        return self.journal.report(name, report)

    def _account(self, trial: _Running) -> None:
        result, seconds = self.result, trial.model.epoch_seconds
        result.epochs += 1
        result.share_seconds += seconds * trial.demand.gpus
        result.busy_seconds += seconds * trial.model.busy
        result.longest = max(result.longest, seconds * trial.epoch)

    # ---- what breaks

    def _schedule_loss(self, card: int) -> None:
        wait = self._random.expovariate(1 / (self._hours_to_loss * 3600))
        heapq.heappush(self._events, (self.now + wait, next(self._count), CARD, card))

    def _lose(self, card: int) -> None:
        """All trials of a card die, as with a spot machine that is taken away."""
        every = [(i, n) for i, each in enumerate(self._nodes) for n in range(each.gpus)]
        index, number = every[card]
        place = Place(node=index, cards=(number,))
        for name in [n for n, r in self._running.items() if r.place == place]:
            self.result.lost += 1
            self.journal.lost(name)
            self._release(name, is_alive=False)

"""What each trial asks for, and which one is next; a function of the rows.

It writes nothing and knows no cluster but the numbers that the driver settled.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.experiment.experiment import Experiment
from sweeper.experiment.space import Space
from sweeper.journal.record import Demand, TrialRecord
from sweeper.journal.run_context import RunContext
from sweeper.packing import memory_key, oom, packing, throughput
from sweeper.packing.observations import NOTHING, Lesson, is_hopeless
from sweeper.packing.oom import Rung
from sweeper.protocol import Params
from sweeper.system.errors import DemandError


class Assignment:
    """The demands of one sweep in one start.

    Args:
        context: what the driver settled: the demand of a trial that nothing is known
            of, the predicted peaks, the cards.
    """

    def __init__(
        self, experiment: Experiment, space: Space, context: RunContext
    ) -> None:
        self._experiment = experiment
        self._space = space
        self._context = context
        self._keys: dict[str, str] = {}

    @property
    def is_mixed(self) -> bool:
        """Whether trials may ask for different shares."""
        return 0 < self._context.demand.gpus <= 1

    def key(self, record: TrialRecord) -> str:
        """Return the memory key of a trial."""
        if record.id not in self._keys:
            self._keys[record.id] = self.key_of(record.params)
        return self._keys[record.id]

    def key_of(self, params: Params) -> str:
        """The memory key of a point."""
        return memory_key.memory_key(params, space=self._space)

    def demand(self, key: str, lessons: Mapping[str, Lesson]) -> Demand:
        """What a trial of a memory key asks for, by all that is known now."""
        context, given = self._context, self._context.demand
        if not self.is_mixed:
            return given
        lesson = lessons.get(key, NOTHING)
        limit = self._limit(key, lesson)
        count = limit
        if lesson.too_many:
            count = min(count, oom.fewer(lesson.too_many))
        if context.is_auto and lesson.rates:
            worth = (throughput.best(r, limit=count) for r in lesson.rates.values())
            count = min(number for number, _ in worth)
        if count == limit and not context.is_auto:
            return given
        gpus = packing.share(count)
        cpus = given.cpus
        if context.node_gpus and self._experiment.resources.cpus == "auto":
            cpus = packing.cpus(
                gpus, node_cpus=context.node_cpus, node_gpus=context.node_gpus
            )
        return Demand(cpus=cpus, gpus=gpus, accelerator=given.accelerator)

    def _limit(self, key: str, lesson: Lesson) -> int:
        """Trials a card that memory allows; 1 where nobody knows."""
        context = self._context
        if not context.is_auto:
            return packing.per_card(context.demand.gpus)
        peak = lesson.peak_bytes or context.peaks.get(key, 0)
        if not peak or not context.device_bytes:
            return 1
        try:
            return packing.slots(
                peak,
                device_bytes=context.device_bytes,
                max_per_gpu=min(
                    self._experiment.resources.max_per_gpu,
                    packing.spread(context.trials, cards=context.cards),
                ),
            )
        except DemandError:
            return 1  # alone it is tried; a prediction may be wrong

    def next(
        self, waiting: Sequence[TrialRecord], *, lessons: Mapping[str, Lesson]
    ) -> TrialRecord | None:
        """Return the waiting trial that comes first.

        Trials that ran before; then large shares, which need a card that is nearly
        empty; then by number.
        """
        keys = {self.key(record) for record in waiting}
        demands = {key: self.demand(key, lessons) for key in keys}

        def order(record: TrialRecord) -> tuple[bool, float, int]:
            demand = demands[self.key(record)]
            return (not record.starts, -demand.gpus, record.number)

        return min(waiting, key=order, default=None)

    def is_hopeless(self, record: TrialRecord, lessons: Mapping[str, Lesson]) -> bool:
        """Return whether a trial would only run out of memory, too."""
        return self.is_mixed and is_hopeless(self.key(record), lessons)

    def rung(self, record: TrialRecord, demand: Demand) -> Rung:
        """Return the next step for a trial that ran out of memory."""
        return oom.after(
            packing.per_card(demand.gpus),
            is_shrunk=record.is_shrunk,
            may_shrink=self._experiment.oom.shrink_batch
            and self._context.batch.is_complete,
        )

    def is_laddered(self, demand: Demand) -> bool:
        """Whether running out of memory is a matter of shares, not of retries."""
        return self.is_mixed and demand.gpus > 0


def measured(
    record: TrialRecord, usage: Mapping[str, float], *, is_full: bool
) -> dict[str, Any]:
    """Return the fields of a record that a measurement of its process changes.

    Args:
        usage: peak_bytes, utilisation, and rate in steps a second, where measured.
        is_full: whether the trial's neighbours were all there.
    """
    changed: dict[str, Any] = {
        "peak_bytes": max(record.peak_bytes, int(usage.get("peak_bytes", 0)))
    }
    if "utilisation" in usage:
        total = (record.utilisation or 0.0) * record.readings + usage["utilisation"]
        readings = record.readings + 1
        changed |= {"utilisation": total / readings, "readings": readings}
    demand, card = record.demand, record.card
    if is_full and usage.get("rate") and demand.gpus:
        count = str(packing.per_card(demand.gpus))
        of_card = {**record.rates.get(card, {}), count: usage["rate"]}
        changed["rates"] = {**record.rates, card: of_card}
    return changed

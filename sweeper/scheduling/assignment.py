"""What each trial asks for, and which one is next; a function of the rows.

It writes nothing and knows no cluster but the numbers that the driver settled.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial

from sweeper.cards import ladder, packing, throughput
from sweeper.cards.ladder import Rung
from sweeper.cards.lessons import NOTHING, Lesson, is_hopeless
from sweeper.errors import DemandError
from sweeper.experiment.experiment import Experiment
from sweeper.experiment.space import Space
from sweeper.memory import memory_key
from sweeper.scheduling.launch import Launch
from sweeper.trial import Demand, Params


class Assignment:
    """The demands of one sweep in one start.

    Args:
        launch: what the driver settled: the demand of a trial that nothing is known
            of, the predicted peaks, the cards.
    """

    def __init__(self, experiment: Experiment, space: Space, launch: Launch) -> None:
        self._experiment = experiment
        self._space = space
        self._launch = launch
        self._keys: dict[str, str] = {}

    @property
    def is_mixed(self) -> bool:
        """Whether trials may ask for different shares."""
        return 0 < self._launch.demand.gpus <= 1

    def key(self, row: FrozenTrial) -> str:
        """The memory key of a row."""
        identity = row.user_attrs["id"]
        if identity not in self._keys:
            self._keys[identity] = self.key_of(row.params)
        return self._keys[identity]

    def key_of(self, params: Params) -> str:
        """The memory key of a point."""
        return memory_key.memory_key(params, space=self._space)

    def demand(self, key: str, lessons: Mapping[str, Lesson]) -> Demand:
        """What a trial of a memory key asks for, by all that is known now."""
        launch, given = self._launch, self._launch.demand
        if not self.is_mixed:
            return given
        lesson = lessons.get(key, NOTHING)
        limit = self._limit(key, lesson)
        count = limit
        if lesson.too_many:
            count = min(count, ladder.fewer(lesson.too_many))
        if launch.is_auto and lesson.rates:
            worth = (throughput.best(r, limit=count) for r in lesson.rates.values())
            count = min(number for number, _ in worth)
        if count == limit and not launch.is_auto:
            return given
        gpus = packing.share(count)
        cpus = given.cpus
        if launch.node_gpus and self._experiment.resources.cpus == "auto":
            cpus = packing.cpus(
                gpus, node_cpus=launch.node_cpus, node_gpus=launch.node_gpus
            )
        return Demand(cpus=cpus, gpus=gpus, accelerator=given.accelerator)

    def _limit(self, key: str, lesson: Lesson) -> int:
        """Trials a card that memory allows; 1 where nobody knows."""
        launch = self._launch
        if not launch.is_auto:
            return packing.per_card(launch.demand.gpus)
        peak = lesson.peak_bytes or launch.peaks.get(key, 0)
        if not peak or not launch.device_bytes:
            return 1
        try:
            return packing.slots(
                peak,
                device_bytes=launch.device_bytes,
                max_per_gpu=min(
                    self._experiment.resources.max_per_gpu,
                    packing.spread(launch.trials, cards=launch.cards),
                ),
            )
        except DemandError:
            return 1  # alone it is tried; a prediction may be wrong

    def next(
        self, waiting: Sequence[FrozenTrial], *, lessons: Mapping[str, Lesson]
    ) -> FrozenTrial | None:
        """The waiting trial that comes first.

        Trials that ran before; then large shares, which need a card that is nearly
        empty; then by number.
        """
        keys = {self.key(row) for row in waiting}
        demands = {key: self.demand(key, lessons) for key in keys}

        def order(row: FrozenTrial) -> tuple[bool, float, int]:
            is_new = not row.user_attrs.get("attempts")
            return (is_new, -demands[self.key(row)].gpus, row.number)

        return min(waiting, key=order, default=None)

    def is_hopeless(self, row: FrozenTrial, lessons: Mapping[str, Lesson]) -> bool:
        """Whether a trial would only run out of memory, too."""
        return self.is_mixed and is_hopeless(self.key(row), lessons)

    def rung(self, row: FrozenTrial, demand: Demand) -> Rung:
        """What follows now that a trial ran out of memory."""
        return ladder.after(
            packing.per_card(demand.gpus),
            is_shrunk=bool(row.user_attrs.get("is_shrunk")),
            may_shrink=self._experiment.oom.shrink_batch
            and self._launch.batch.is_complete,
        )

    def is_laddered(self, demand: Demand) -> bool:
        """Whether running out of memory is a matter of shares, not of retries."""
        return self.is_mixed and demand.gpus > 0

    def progress(
        self,
        before: Mapping[str, Any],
        usage: Mapping[str, float],
        *,
        demand: Demand,
        card: str,
        is_full: bool,
    ) -> dict[str, Any]:
        """What a trial's row keeps of what its process measured.

        Args:
            before: what it kept so far.
            usage: peak_bytes, utilisation, and rate in steps a second, where measured.
            card: type of the card that the trial is on.
            is_full: whether the trial's neighbours were all there.
        """
        kept: dict[str, Any] = {}
        peak = max(before.get("peak_bytes", 0), int(usage.get("peak_bytes", 0)))
        if peak:
            kept["peak_bytes"] = peak
        if "utilisation" in usage:
            readings = before.get("readings", 0)
            total = before.get("utilisation", 0.0) * readings + usage["utilisation"]
            kept |= {"utilisation": total / (readings + 1), "readings": readings + 1}
        elif "readings" in before:
            kept |= {name: before[name] for name in ("utilisation", "readings")}
        rates = dict(before.get("rates", {}))
        if is_full and usage.get("rate") and demand.gpus:
            count = str(packing.per_card(demand.gpus))
            rates[card] = {**rates.get(card, {}), count: usage["rate"]}
        if rates:
            kept["rates"] = rates
        return kept

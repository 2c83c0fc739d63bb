"""Placement of slots on the cluster by Ray Tune, which also notices their death.

The journal decides about trials: which one a slot runs, and when it stops.
"""

import functools
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from ray import tune
from ray.tune.search import Searcher

from sweeper.compat import ray as compat
from sweeper.driver import ray_worker
from sweeper.driver.journal_client import RemoteJournal
from sweeper.driver.ray_cluster import nodes
from sweeper.experiment.definition import Experiment
from sweeper.journal.record import Demand
from sweeper.packing.packing import Node, Room

NODES_SECONDS = 5.0  # between looks at which machines there are


class JournalSearch(Searcher):
    """Asks the journal for the next trial whenever Tune has room for a slot."""

    def __init__(self, journal: RemoteJournal, *, prefix: str) -> None:
        super().__init__()
        self._journal = journal
        self._prefix = prefix
        self._live: dict[str, Demand] = {}
        self._nodes: Sequence[Node] = ()
        self._seen_at = -math.inf

    def suggest(  # type: ignore[override]  # FINISHED is a string, which Tune omits
        self, trial_id: str
    ) -> dict[str, object] | str | None:
        """Return a slot for Tune's trial, None to wait, FINISHED at the sweep's end."""
        name = f"{self._prefix}/{trial_id}"
        asked = self._journal.offer()
        if asked is None:
            is_over = not self._live and self._journal.is_finished()
            return Searcher.FINISHED if is_over else None
        if not self._has_room(asked):
            return None
        demand = self._journal.claim(name, asked)
        if demand is None:  # another slot was first
            return None
        self._live[trial_id] = demand
        return {"slot": name, **asdict(demand)}

    def _has_room(self, asked: Demand) -> bool:
        """Return whether a card is free enough, if Ray has packed them as predicted.

        A slot that waited for room would hold its trial, and a driver that stops
        would wait for it.
        """
        if time.monotonic() > self._seen_at + NODES_SECONDS:
            self._nodes, self._seen_at = nodes(), time.monotonic()
        room = Room(self._nodes)
        for demand in sorted(self._live.values(), key=lambda d: -d.gpus):
            place = room.find(demand)
            if place is not None:
                room.take(demand, place)
        return room.find(asked) is not None

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict[str, object] | None = None,
        error: bool = False,
    ) -> None:
        """Release the trial of a slot that ended; the attempt is lost."""
        self._live.pop(trial_id, None)
        self._journal.lost(f"{self._prefix}/{trial_id}")

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the journal is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the journal is the state."""


def fit(
    journal: RemoteJournal,
    *,
    experiment: Experiment,
    address: Path,
) -> None:
    """Run slots until the journal has nothing more to run.

    Args:
        address: socket of the zygote of the driver's node.

    Raises:
        ClusterLostError: the journal's process died.
    """
    serve = functools.partial(
        ray_worker.run,
        journal_name=journal.name,
        address=str(address),
        project=str(experiment.project),
        target=experiment.target,
    )
    serve.__name__ = "slot"  # type: ignore[attr-defined]  # Tune names by it

    def resources(config: Mapping[str, object]) -> tune.PlacementGroupFactory:
        return tune.PlacementGroupFactory(
            [ray_worker.bundle(ray_worker.demand(config))]
        )

    def slot_main(config: dict[str, object]) -> None:
        serve(config)

    if compat.is_head():
        compat.use_plain_workers()
    tuner = tune.Tuner(
        tune.with_resources(slot_main, resources),
        tune_config=tune.TuneConfig(
            search_alg=JournalSearch(journal, prefix=f"{os.getpid()}"),
            num_samples=-1,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="sweep",
            storage_path=str(address.parent / "tune"),
            verbose=0,
            callbacks=compat.silence(),
            failure_config=tune.FailureConfig(max_failures=0),
        ),
    )
    try:
        tuner.fit()
    finally:
        journal.stopped_by()  # Tune hides that a dead journal is what it failed for

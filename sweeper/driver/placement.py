"""Placement of slots on the cluster by Ray Tune, which also notices their death.

The journal decides which trial a slot runs, and when it stops.
"""

import functools
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from sweeper.compat import ray as compat
from sweeper.driver import ray_worker
from sweeper.driver.cluster import ACCELERATOR, nodes
from sweeper.driver.journal_service import JournalActor, RemoteJournal
from sweeper.experiment.definition import Experiment
from sweeper.journal.record import Demand
from sweeper.packing.packing import Node, Room

NODES_SECONDS = 5.0  # between updates of the list of nodes


class JournalSearch(Searcher):
    """A search algorithm of Tune that claims a trial in the journal for each slot."""

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
        """Return the config of a slot, None to wait, FINISHED at the sweep's end."""
        name = f"{self._prefix}/{trial_id}"
        wanted = self._journal.ask(JournalActor.offer)
        if wanted is None:
            if self._live or not self._journal.ask(JournalActor.is_finished):
                return None
            return Searcher.FINISHED
        if not self._has_room(wanted):
            return None
        demand = self._journal.ask(JournalActor.claim, name, wanted)
        if demand is None:  # another slot was first
            return None
        self._live[trial_id] = demand
        return {"slot": name, **asdict(demand)}

    def _has_room(self, wanted: Demand) -> bool:
        """Return whether a node has room for a demand, beside the live slots.

        A slot without room would keep its trial reserved, and a driver that stops
        would wait for it.
        """
        if time.monotonic() > self._seen_at + NODES_SECONDS:
            self._nodes, self._seen_at = nodes(), time.monotonic()
        room = Room(self._nodes)
        for demand in sorted(self._live.values(), key=lambda d: -d.gpus):
            spot = room.find(demand)
            if spot is not None:
                room.take(demand, spot)
        return room.find(wanted) is not None

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict[str, object] | None = None,
        error: bool = False,
    ) -> None:
        """Release the trial of a slot that ended; the attempt is lost."""
        self._live.pop(trial_id, None)
        self._journal.ask(JournalActor.lost, f"{self._prefix}/{trial_id}")

    def save(self, checkpoint_path: str) -> None:
        """Do nothing, since the journal holds the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing, since the journal holds the state."""


def fit(
    journal: RemoteJournal,
    *,
    experiment: Experiment,
    address: Path,
) -> None:
    """Run slots until the journal has no more trials to run.

    Args:
        address: socket of the zygote of the driver's node.

    Raises:
        ClusterLostError: the journal's process died.
    """
    # Tune sends both functions to workers, which must not import this module.
    run_slot = functools.partial(
        ray_worker.run,
        journal_name=journal.name,
        address=str(address),
        project=str(experiment.project),
        target=experiment.target,
    )

    def slot(config: dict[str, Any]) -> None:  # Tune displays the name `slot`
        run_slot(config["slot"], has_card=config["gpus"] > 0)

    def resources(config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
        bundle = {"CPU": config["cpus"]}
        if config["gpus"]:
            bundle["GPU"] = config["gpus"]
        if config["accelerator"]:
            bundle[ACCELERATOR + config["accelerator"]] = 0.001
        return tune.PlacementGroupFactory([bundle])

    if compat.is_head():
        compat.use_plain_workers()
    tuner = tune.Tuner(
        tune.with_resources(slot, resources),
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
        # It raises the error of a dead journal, which Tune hides.
        journal.ask(JournalActor.stopped_by)

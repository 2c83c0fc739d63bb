"""Ray Tune places slots on the cluster and notices their death.

What a slot runs, when it stops and what is tried again is the journal's word.
"""

import functools
import os
import socket
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from ray import tune
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.search import Searcher

from sweeper import slot, template
from sweeper.cluster import bundle
from sweeper.experiment import Experiment
from sweeper.remote import RemoteJournal
from sweeper.trial import Demand, Launch

DEVICE_VARIABLES = ("CUDA_VISIBLE_DEVICES",)
POLL_SECONDS = 0.05


class JournalSearch(Searcher):
    """Asks the journal for the next trial whenever Tune has room for a slot."""

    def __init__(self, journal: RemoteJournal, *, slots: int, prefix: str) -> None:
        super().__init__()
        self._journal = journal
        self._slots = slots
        self._prefix = prefix
        self._live: set[str] = set()

    def suggest(  # type: ignore[override]  # FINISHED is a string, which Tune omits
        self, trial_id: str
    ) -> dict[str, object] | str | None:
        """A slot for Tune's trial, None to wait, FINISHED at the sweep's end."""
        if len(self._live) >= self._slots:
            return None
        name = f"{self._prefix}/{trial_id}"
        demand = self._journal.claim(name)
        if demand is None:
            is_over = not self._live and self._journal.is_finished()
            return Searcher.FINISHED if is_over else None
        self._live.add(trial_id)
        return {"slot": name, **asdict(demand)}

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict[str, object] | None = None,
        error: bool = False,
    ) -> None:
        """A slot ended; what it still held is lost."""
        self._live.discard(trial_id)
        self._journal.lost(f"{self._prefix}/{trial_id}")

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the state."""


class _Silence(TrialProgressCallback):
    """Keeps Tune from printing about slots; the events of trials are ours."""

    def _print(self, msg: str) -> None:
        return


def fit(
    journal: RemoteJournal,
    *,
    experiment: Experiment,
    launch: Launch,
    address: Path,
) -> None:
    """Run slots until the journal has nothing more to run.

    Args:
        address: socket of the template of the driver's node.
    """
    serve = functools.partial(
        _run_slot,
        sweep=experiment.name,
        address=str(address),
        project=str(experiment.project),
        target=experiment.target,
    )
    serve.__name__ = "slot"  # type: ignore[attr-defined]  # Tune names by it

    def resources(config: Mapping[str, object]) -> tune.PlacementGroupFactory:
        demand = _demand(config)
        return tune.PlacementGroupFactory([bundle(demand)])

    def slot_main(config: dict[str, object]) -> None:
        serve(config)

    tuner = tune.Tuner(
        tune.with_resources(slot_main, resources),
        tune_config=tune.TuneConfig(
            search_alg=JournalSearch(
                journal, slots=launch.slots, prefix=f"{os.getpid()}"
            ),
            num_samples=-1,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="sweep",
            storage_path=str(address.parent / "tune"),
            verbose=0,
            callbacks=[_Silence()],
            failure_config=tune.FailureConfig(max_failures=0),
        ),
    )
    tuner.fit()


def _demand(config: Mapping[str, object]) -> Demand:
    return Demand(
        cpus=float(str(config["cpus"])),
        gpus=float(str(config["gpus"])),
        accelerator=str(config["accelerator"]),
    )


def _run_slot(
    config: Mapping[str, object],
    *,
    sweep: str,
    address: str,
    project: str,
    target: str,
) -> None:
    """The body of one slot, in a Ray worker."""
    journal = RemoteJournal.find(sweep)
    env = {name: os.environ[name] for name in DEVICE_VARIABLES if name in os.environ}
    slot.run(
        str(config["slot"]),
        journal,
        demand=_demand(config),
        connect=functools.partial(_connect, Path(address), Path(project), target),
        env=env,
    )


def _connect(address: Path, project: Path, target: str) -> socket.socket:
    """The driver's template where it is on this node, else one of our own."""
    try:
        return template.connect(address)
    except OSError:
        return template.connect(_own_template(project, target))


@functools.cache
def _own_template(project: Path, target: str) -> Path:
    """A template of this worker's own; it ends with the worker."""
    address = Path(tempfile.mkdtemp(prefix="sweeper-")) / "template"
    process = template.launch(address, project=project, target=target)
    while not address.exists() and process.poll() is None:
        time.sleep(POLL_SECONDS)
    return address

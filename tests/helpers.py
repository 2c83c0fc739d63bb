"""Small real objects that several tests start from."""

from pathlib import Path

import yaml
from hypothesis import HealthCheck, settings

from sweeper.experiment import experiment, space
from sweeper.experiment.experiment import Experiment
from sweeper.scheduling.journal import Journal
from sweeper.scheduling.launch import Launch
from sweeper.trial import Demand

STORAGE: str | None = None  # of experiments that do not name one
LAUNCH = Launch(demand=Demand(cpus=1.0), slots=2, seed_key="", wandb_mode="none")


# Of tests that make a folder anew for each example, and write to its disk.
IN_FOLDERS = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def make_experiment(folder: Path, **keys: object) -> Experiment:
    """An experiment over x in {1, 2, 3} that maximises `acc`, but for `keys`."""
    content: dict[str, object] = {
        "name": "toy",
        "search_space": {"x": [1, 2, 3]},
        "objective": {"metric": "acc", "mode": "max"},
        **({"storage": STORAGE} if STORAGE else {}),
        **keys,
    }
    path = folder / "toy.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return experiment.load(path)


def open_journal(folder: Path, **keys: object) -> Journal:
    """The journal of such an experiment, in `folder`/sweeps/toy."""
    loaded = make_experiment(folder, **keys)
    parsed = space.parse(loaded, {})
    return Journal(loaded, parsed, folder / "sweeps" / "toy", LAUNCH)

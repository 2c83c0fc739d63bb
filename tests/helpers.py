"""Small real objects that several tests start from."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import yaml
from hypothesis import HealthCheck, settings

from sweeper.experiment import loading, space
from sweeper.experiment.definition import Experiment
from sweeper.journal.journal import Journal
from sweeper.journal.record import (
    Attempt,
    Cause,
    Demand,
    Failure,
    State,
    Sweep,
    TrialRecord,
)
from sweeper.journal.run_context import RunContext
from sweeper.plan.plan import Plan, make_plan
from sweeper.project import slot
from sweeper.protocol import Client, Lineage, Params, Report
from sweeper.system.identity import trial_id
from sweeper.system.paths import write_text

CONTEXT = RunContext(demand=Demand(cpus=1.0), slots=2, seed_key="", wandb_mode="none")
# Two slots on one card.
HALF = replace(
    CONTEXT, demand=Demand(cpus=1.0, gpus=0.5, accelerator="T4"), cards=1, slots=2
)


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
        **keys,
    }
    path = folder / "toy.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return loading.load(path)


def open_journal(folder: Path, **keys: object) -> Journal:
    """The journal of such an experiment, in `folder`/sweeps/toy."""
    loaded = make_experiment(folder, **keys)
    parsed = space.parse(loaded, {})
    return Journal(loaded, parsed, folder / "sweeps" / "toy", CONTEXT)


def attempt(
    *,
    busy_seconds: float = 0.0,
    gpus: float = 0.0,
    card: str = "",
    failure: Failure | None = None,
) -> Attempt:
    """An attempt that ended, and failed if there is a failure."""
    return Attempt(
        slot="a",
        started_at=datetime(2026, 11, 24, 12, tzinfo=UTC),
        demand=Demand(cpus=1.0, gpus=gpus),
        card=card,
        busy_seconds=busy_seconds,
        cause=Cause.FAILED if failure else Cause.FINISHED,
        failure=failure,
    )


STRANGERS = Path(__file__).parent / "strangers"  # other people's projects

CONFIGS = {
    "train.yaml": """
        defaults:
          - _self_
          - model: small
          - data: digits
        seed: 42
        layers: [1, 2, 3]
        name: ${model.kind}-${data.batch_size}
        output: ${hydra:runtime.output_dir}
        trainer: {max_epochs: 3, callbacks: {early: {patience: 2}}}
        """,
    "model/small.yaml": "{kind: small, learning_rate: 1e-3, width: 8}",
    "model/large.yaml": "{kind: large, learning_rate: 1e-4, depth: 50}",
    "data/digits.yaml": "{batch_size: 64, path: digits}",
    "data/crops.yaml": "{batch_size: 32, path: crops}",
    "callbacks/ema.yaml": "{decay: 0.999}",
    "model/head/linear.yaml": "{bias: true}",
}


def write_configs(folder: Path) -> Path:
    """Write the project with the configs of CONFIGS; return its folder."""
    (folder / "pyproject.toml").touch()
    for name, text in CONFIGS.items():
        path = folder / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [line.removeprefix("        ") for line in text.splitlines()]
        path.write_text("\n".join(lines))
    return folder


def start_epoch(lineage: Lineage | None) -> int:
    """Return the epochs that were trained before a trial began."""
    return 0 if lineage is None else lineage.start


def make_trial(
    number: int,
    params: Params,
    values: Mapping[int, float] | float,
    *,
    seed: int = 42,
    state: State = State.COMPLETE,
) -> TrialRecord:
    """A trial that reported `values` by epoch, or one value in epoch 1."""
    by_epoch = {1: values} if isinstance(values, float) else values
    return TrialRecord(
        number=number,
        id=trial_id(params, seed=seed),
        params=params,
        seed=seed,
        state=state,
        values=by_epoch,
    )


def make_sweep(folder: Path, *trials: TrialRecord, **keys: object) -> Sweep:
    """A sweep of these trials over x."""
    loaded = make_experiment(folder, **keys)
    return Sweep(experiment=loaded, trials=trials, folder=folder / "sweeps" / "toy")


def run_slot(name: str, journal: Journal, address: Path) -> None:
    """Run the trials of a journal of this process in one slot, without Ray."""
    if journal.claim(name) is None:
        return
    methods = {
        method: SimpleNamespace(remote=getattr(journal, method))
        for method in ("start", "report", "end", "stopped_by")
    }
    slot.run(
        name,
        SimpleNamespace(**methods),  # type: ignore[arg-type]  # not an actor of Ray
        wait=lambda answer: answer,
        connect=lambda: Client(str(address)),
        env={},
    )


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write files by their relative names; return the folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def journaled(folder: Path, values: tuple[float, ...] = (0.25, 0.75, 0.5)) -> Journal:
    """Return the journal of a sweep on disk whose trials have ended."""
    journal = open_journal(folder)
    for value in values:
        assert journal.claim("slot") is not None
        journal.start("slot")
        journal.report(
            "slot",
            Report(epoch=1, values=(value,), metrics={"acc": value}, busy_seconds=1.0),
        )
        journal.finish("slot")
    text = loading.dump(loading.load(folder / "toy.yaml"))
    write_text(folder / "sweeps" / "toy" / "experiment.yaml", text)
    return journal


PLANNED_CONFIG = "seed: 1\nmodel: {lr: 0.1, momentum: 0.9}\ndata: {batch_size: 4}\n"


def make_plan_of(folder: Path, **keys: object) -> Plan:
    (folder / "pyproject.toml").touch()
    (folder / "config.yaml").write_text(PLANNED_CONFIG)
    content = {
        "target": "sweeper.vision.train:train",
        "config": "config.yaml",
        "search_space": {"model.lr": [0.1, 0.2], "data.batch_size": [4, 8]},
        "objective": {"metric": "acc", "mode": "max"},
        **keys,
    }
    path = folder / "toy.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return make_plan(path, [], sweeps=folder / "sweeps")

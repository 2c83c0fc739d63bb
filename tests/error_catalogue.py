"""The messages of docs/errors.md, each made by the mistake that it answers.

`python -m tests.error_catalogue` writes them into the page (`make docs`).
"""

import os
import re
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from wandb.proto.wandb_internal_pb2 import Record, RunRecord

from sweeper import cli
from sweeper.commands import common
from sweeper.driver import cluster, driver
from sweeper.driver.prewarm import Prewarm
from sweeper.experiment import loading
from sweeper.experiment.loading import dump
from sweeper.journal import budget, journal_file, store
from sweeper.journal.record import Failure
from sweeper.packing import packing
from sweeper.packing.packing import Node
from sweeper.plan import checks, demands, plan, preflight
from sweeper.protocol import FailureKind, Report
from sweeper.reporting import export, status, tables
from sweeper.system import locks
from sweeper.system.errors import MetricError, SweeperError
from sweeper.system.paths import SweepPaths, builtin_conf, write_text
from sweeper.trial import importing
from sweeper.trial.active_trial import unknown_metric
from tests.helpers import make_experiment, make_sweep, make_trial, open_journal

PAGE = Path(__file__).parent.parent / "docs" / "errors.md"
SECTION = re.compile(r"^### (.+?)\n+```\n(.+?)\n```\n+(.+?)(?=\n#|\Z)", re.M | re.S)
WANDB_HEADER = b":W&B\xe1\xbe\x00"
SPACE = "search_space:\n  model.learning_rate: 1e-3, 3e-3\n"
OBJECTIVE = "objective: {metric: val/acc_top1, mode: max}\n"


def _plan(text: str) -> Callable[[Path], object]:
    """Make the plan of an experiment file beside sweeper's own conf."""

    def run(folder: Path) -> object:
        (folder / "pyproject.toml").touch()
        (folder / "conf").symlink_to(builtin_conf())
        path = folder / "exp.yaml"
        path.write_text(text)
        return plan.make_plan(path, (), sweeps=folder / "sweeps")

    return run


def _missing_sweep(folder: Path) -> object:
    SweepPaths(folder / "sweeps" / "lr_sweep").experiment.parent.mkdir(parents=True)
    (folder / "sweeps" / "lr_sweep" / "experiment.yaml").touch()
    return store.load_sweep(folder / "sweeps" / "lr_swep")


def _trial_of_no_sweep(folder: Path) -> object:
    trials = [make_trial(i, {"x": i}, 0.5) for i in range(2)]
    return common.find_trial(make_sweep(folder, *trials), "zzz")


def _no_value(folder: Path) -> object:
    return common.find_trial(make_sweep(folder), "best")


def _damaged(folder: Path) -> object:
    paths = SweepPaths(folder / "sweeps" / "toy")
    paths.folder.mkdir(parents=True)
    paths.journal.write_text('{"op_code": 0\n{}\n')
    return journal_file.open_file(paths.journal)


def _changed(folder: Path) -> object:
    paths = SweepPaths(folder / "sweeps" / "toy")
    driver.admit(make_experiment(folder), paths)
    journal = open_journal(folder)
    assert journal.claim("a") is not None
    journal.start("a")
    journal.report("a", Report(epoch=1, values=(0.5,)))
    text = (folder / "toy.yaml").read_text().replace("max", "min")
    (folder / "toy.yaml").write_text(text)
    driver.admit(loading.load(folder / "toy.yaml"), paths)
    return None


def _two_objectives(folder: Path) -> object:
    made = []
    for name, mode in (("phase_12", "max"), ("phase_13", "min")):
        (folder / name).mkdir()
        objective = {"metric": "val/loss", "mode": mode}
        made.append(make_sweep(folder / name, name=name, objective=objective))
    return tables.rank_all(made)


def _no_checkpoint(folder: Path) -> object:
    sweep = make_sweep(folder, make_trial(0, {"x": 1}, 0.5))
    return export.copy(sweep, sweep.trials[0], folder / "out")


def _not_empty(folder: Path) -> object:
    sweep = make_sweep(folder, make_trial(0, {"x": 1}, 0.5))
    paths = sweep.paths.trial(sweep.trials[0].id)
    paths.checkpoints.mkdir(parents=True)
    paths.best.touch()
    return export.copy(sweep, sweep.trials[0], folder)


def _no_card(folder: Path) -> object:
    resources = {"gpus": 1, "cpus": 4, "accelerator": "A100"}
    machines = [Node(cpus=8.0, gpus=1, accelerator="T4"), Node(cpus=2.0)]
    return demands.check(make_experiment(folder, resources=resources), machines)


def _held(folder: Path) -> object:
    made = _plan(SPACE + OBJECTIVE + "name: lr_sweep\n")(folder)
    assert isinstance(made, plan.Plan)
    SweepPaths(made.folder).folder.mkdir(parents=True)
    with locks.hold(SweepPaths(made.folder).lock), Prewarm() as prewarm:
        return driver.run(
            made,
            prewarm=prewarm,
            options=cluster.ClusterOptions(),
            display=status.Display(),
        )


def _command(*words: str, sweep: bool = True) -> Callable[[Path], object]:
    """Run a command beside a sweep `toy`: one trial has failed, one has ended."""

    def run(folder: Path) -> object:
        if sweep:
            journal = open_journal(folder)
            write_text(
                SweepPaths(folder / "sweeps" / "toy").experiment,
                dump(make_experiment(folder)),
            )
            assert journal.claim("a") is not None
            journal.start("a")
            journal.fail("a", Failure(kind=FailureKind.ERROR, message="ValueError: x"))
            assert journal.claim("a") is not None
            journal.start("a")
            journal.report("a", Report(epoch=1, values=(0.5,)))
            journal.finish("a")
        os.chdir(folder)
        args = cli.build_parser().parse_args([*words, "--sweeps", "sweeps"])
        return args.function(args)

    return run


def _no_login(folder: Path) -> object:
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL"):
        os.environ.pop(name, None)
    os.environ["HOME"] = os.environ["WANDB_CONFIG_DIR"] = str(folder)
    run = folder / "sweeps/toy/trials/93ce0b8ba2/wandb/offline-run-1-93ce0b8ba2"
    run.mkdir(parents=True)
    record = Record(num=1, run=RunRecord(run_id="93ce0b8ba2")).SerializeToString()
    whole = b"\x01"  # of a record that is one piece, as in LevelDB's logs
    head = struct.pack("<IH", zlib.crc32(whole + record), len(record))
    (run / "run-93ce0b8ba2.wandb").write_bytes(WANDB_HEADER + head + whole + record)
    return _command("sync", "toy")(folder)


def _database(folder: Path) -> object:
    return make_experiment(folder, storage="sqlite:///journal.db")


def _misspelt_metric(_: Path) -> object:
    raise MetricError(unknown_metric("val/acc", {"val/acc_top1": 0.5, "val/loss": 1.0}))


def _failing_alike(_: Path) -> object:
    failure = Failure(kind=FailureKind.ERROR, message="KeyError: 'label'")
    ids = ("3f9a1c2b07", "93ce0b8ba2", "b7e7742aa8")
    raise SweeperError(budget.alike_message(ids, failure, sweep="lr_sweep"))


def _refused(folder: Path) -> object:
    made = _plan(SPACE + OBJECTIVE + "name: lr_sweep\n")(folder)
    assert isinstance(made, plan.Plan)
    found = checks.Finding(
        topic="data=jersey",
        is_fine=False,
        text="FileNotFoundError: no images in data/jersey",
        is_certain=True,
        traceback="Traceback ...",
    )
    return preflight.admit(made, [found], say=print)


def _raising_project(folder: Path) -> object:
    (folder / "raising.py").write_text("raise ValueError('no such resolver: env')\n")
    return importing.register("raising:train", folder)


CASES: dict[str, Callable[[Path], object]] = {
    "A file that is not YAML": _plan("search_space: {x: [1, 2}\n"),
    "A key twice": _plan(SPACE + OBJECTIVE + OBJECTIVE),
    "An unknown key": _plan(SPACE + OBJECTIVE + "sceduler: asha\n"),
    "A setting of Hydra's own sweeper": _plan(
        "hydra: {sweeper: {direction: minimize, params: "
        "{model.learning_rate: '1e-3, 3e-3'}}}\n"
    ),
    "A missing key": _plan(SPACE),
    "A value of another kind": _plan(SPACE + OBJECTIVE + "seeds: many\n"),
    "An unknown search": _plan(SPACE + OBJECTIVE + "search: tpee\n"),
    "An unknown scheduler": _plan(SPACE + OBJECTIVE + "scheduler: ahsa\n"),
    "A grid over an interval": _plan(
        "search_space: {model.learning_rate: 'interval(1e-5, 1e-2)'}\n" + OBJECTIVE
    ),
    "A search without an end": _plan(
        "search_space: {model.learning_rate: 'interval(1e-5, 1e-2)'}\n"
        + OBJECTIVE
        + "search: random\n"
    ),
    "A key that the config lacks": _plan(
        "search_space: {model.learning_rat: [1e-3]}\n" + OBJECTIVE
    ),
    "A group that has no such option": _plan(
        "search_space: {model: 'resnet18, resnet51'}\n" + OBJECTIVE
    ),
    "A condition that names no parameter": _plan(
        SPACE + OBJECTIVE + "where: learning_rate < 1\n"
    ),
    "A condition that does more than compare": _plan(
        SPACE + OBJECTIVE + "where: \"open('x') == 1\"\n"
    ),
    "A condition that reads a later parameter": _plan(
        "search_space:\n"
        "  model.focal_gamma: {when: model.loss == focal, values: [1, 2]}\n"
        "  model.loss: [cross_entropy, focal]\n" + OBJECTIVE
    ),
    "A condition that never holds": _plan(
        "search_space:\n"
        "  model.loss: [cross_entropy, focal]\n"
        "  model.focal_gamma: {when: model.loss == 'foca', values: [1, 2]}\n"
        + OBJECTIVE
    ),
    "A point with a parameter that it cannot have": _plan(
        "search_space:\n"
        "  model.loss: [cross_entropy, focal]\n"
        "  model.focal_gamma: {when: model.loss == focal, values: [1, 2]}\n"
        "baseline: {model.loss: cross_entropy, model.focal_gamma: 1}\n" + OBJECTIVE
    ),
    "Several objectives where one is needed": _plan(
        SPACE
        + "objective:\n"
        + "  - {metric: val/acc_top1, mode: max}\n"
        + "  - {metric: model/parameters, mode: min}\n"
        + "scheduler: asha\n"
    ),
    "A zip of unequal lengths": _plan(
        "search_space:\n  pair: zip(model.learning_rate=choice(1e-3, 1e-4), "
        "data.batch_size=choice(8, 16, 32))\n" + OBJECTIVE
    ),
    "An interval that goes down": _plan(
        "search_space: {model.learning_rate: 'interval(1e-2, 1e-5)'}\n" + OBJECTIVE
    ),
    "A baseline outside of the space": _plan(
        SPACE + OBJECTIVE + "baseline: {model.learning_rate: 5}\n"
    ),
    "A primary config that is not there": _plan(
        SPACE + OBJECTIVE + "config: conf/trian.yaml\n"
    ),
    "A target that is not named": _plan(SPACE + OBJECTIVE + "config: main.yaml\n"),
    "A word among numbers": _plan(
        "search_space:\n  data.batch_size: [32, big]\n" + OBJECTIVE
    ),
    "A target that cannot be imported": lambda _: importing.load(
        "my_projct.train:main"
    ),
    "A target without the function": lambda _: importing.load("json:dunp"),
    "A project that raises at its import": _raising_project,
    "An error that every trial would meet": _refused,
    "An objective that is not logged": _misspelt_metric,
    "Trial after trial failing alike": _failing_alike,
    "A sweep of another name": _missing_sweep,
    "A trial of another id": _trial_of_no_sweep,
    "No value yet": _no_value,
    "A damaged journal": _damaged,
    "A sweep that runs already": _held,
    "Resources that no machine has": _no_card,
    "A file that describes another sweep": _changed,
    "Sweeps that cannot be compared": _two_objectives,
    "A trial without a checkpoint": _no_checkpoint,
    "A folder that is not empty": _not_empty,
    "A card that is not known": lambda _: packing.find_card("RTX4090"),
    "A card of no size": lambda _: packing.find_card("RTX4090:big"),
    "A cluster that does not answer": lambda _: cluster.ClusterOptions(
        address="127.0.0.1:1"
    ).check(),
    "An option of a cluster that runs already": lambda _: cluster.ClusterOptions(
        address="auto", cpus=2
    ).check(),
    "Nothing to try again": _command("retry", "toy", "1"),
    "A database in place of the journal": _database,
    "Runs that wait for a login": _no_login,
    "A table that is not text": _command("export", "toy", "--format", "parquet"),
    "Nothing logged yet": _command("logs", "toy", "0"),
    "A project that is not there": _command("init", "my_projct", sweep=False),
    "A file that would be overwritten": _command(
        *("init", ".", "--output", "toy.yaml"), sweep=True
    ),
    "A project without Hydra": _command("init", ".", sweep=False),
    "A checkpoint that is not there": _command(
        "predict", "best.ckpt", "a.png", sweep=False
    ),
    "A predictor that is not there": _command(
        *("predict", "best.ckpt", "a.png", "--predictor", "my_projct:predict"),
        sweep=False,
    ),
}


def message(case: str, folder: Path) -> str:
    """Return the message of a case, with places relative to `folder`."""
    with pytest.raises(SweeperError) as caught:
        CASES[case](folder)
    text = str(caught.value).replace(f"{folder}/", "").replace(str(folder), "out")
    text = re.sub(r"process \d+ on \S+", "process 4711 on gpu-3", text)
    text = re.sub(r"since [^;]+;", "since 2026-11-24T12:00:00+00:00;", text)
    return re.sub(r"kill \d+", "kill 4711", text)


def messages_on_page() -> dict[str, str]:
    """Return the message below each title of docs/errors.md."""
    return {title: text for title, text, _ in SECTION.findall(PAGE.read_text())}


def write() -> None:
    """Replace the messages on the page by those that sweeper prints."""
    page = PAGE.read_text()
    for title, text in messages_on_page().items():
        before, folder, environment = (
            f"### {title}\n\n```\n",
            os.getcwd(),
            dict(os.environ),
        )
        with tempfile.TemporaryDirectory() as scratch:
            now = message(title, Path(scratch))
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        page = page.replace(f"{before}{text}\n```", f"{before}{now}\n```")
    PAGE.write_text(page)


if __name__ == "__main__":
    write()

"""The way of a report to the disk, and a slot's idle time between two trials."""

import itertools
import json
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import ray

from bench import measure
from bench.overhead import PROJECT
from bench.page import Goal, Section, table
from sweeper.experiment import space
from sweeper.experiment.loading import load
from sweeper.journal.journal import Journal
from sweeper.journal.record import Demand
from sweeper.journal.run_context import RunContext
from sweeper.project import slot
from sweeper.protocol import (
    Client,
    Decision,
    Ended,
    Exited,
    Left,
    Report,
    Run,
    Server,
    TrialSpec,
)
from sweeper.trial.active_trial import ActiveTrial

TRIALS = 25
IDLE = (
    "CPU of the next trial's process, which knows its values when the last one has "
    "ended: 0.05 Hydra's `run_job` before it calls the target (it copies the config "
    "four times and writes `.hydra/`), 0.03 files of the trial, 0.03 its config; the "
    "journal's call, with its three writes, takes 0.02 (time stamps in slot and trial)"
)
EXPERIMENT = """
name: short
target: short:train
config: conf/train.yaml
project: {project}
search_space: {{learning_rate: "interval(0.001, 0.1)"}}
search: random
budget: {{trials: {trials}}}
objective: {{metric: acc, mode: max}}
resources: {{gpus: 0}}
wandb: none
preflight: false
"""


def idle_seconds(folder: Path) -> list[float]:
    """Run short trials in one slot; return the times from one's end to the next."""
    file = _experiment(folder)
    run = [sys.executable, "-m", "sweeper", "run", str(file)]
    words = [*run, "--sweeps", str(folder), "--num-cpus", "1", "--quiet"]
    measure.run([words], cwd=folder, env={"OMP_NUM_THREADS": "1"})
    files = sorted(folder.rglob("times.json"))
    if len(files) != TRIALS:
        raise RuntimeError(f"{len(files)} trials of {TRIALS} ran")
    times = sorted(
        (json.loads(f.read_text()) for f in files), key=lambda t: t["called"]
    )
    pairs = itertools.pairwise(times)
    return [after["called"] - before["ended"] for before, after in pairs]


def _experiment(folder: Path) -> Path:
    file = folder / "short.yaml"
    file.write_text(EXPERIMENT.format(project=PROJECT, trials=TRIALS))
    return file


class Handoffs:
    """A profile function: our functions that are on the stack when a report leaves.

    Args:
        root: name of the first function that has the report in this process.
        is_handoff: whether a call takes it away: to a socket, to Ray, to the disk.
    """

    def __init__(self, root: str, is_handoff: Callable[[str], bool]) -> None:
        self._root = root
        self._is_handoff = is_handoff
        self.ways: list[list[str]] = []

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        """Take an event of `sys.setprofile`."""
        name = str(getattr(argument, "__name__", ""))
        is_call = event == "call"
        if not self._is_handoff(frame.f_code.co_qualname if is_call else name):
            return
        names: list[str] = []
        current: FrameType | None = frame
        while current is not None:
            if str(current.f_globals.get("__name__", "")).startswith("sweeper."):
                names.insert(0, current.f_code.co_qualname)
            if names and names[0] == self._root:
                self.ways.append(names)
                return
            current = current.f_back

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Profile this thread in the block."""
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(None)

    def longest(self) -> list[str]:
        """Return the functions of the longest way."""
        return max(self.ways, key=len)


class _Journal:
    """The far end of a slot's calls: a journal with one trial."""

    def __init__(self, spec: TrialSpec) -> None:
        self._spec = spec

    def start(self, slot: str, card: str) -> TrialSpec:
        return self._spec

    def report(self, slot: str, report: Report) -> Decision:
        return Decision.CONTINUE

    def end(self, slot: str, ended: Ended, card: str) -> None:
        return


def _train(spec: TrialSpec, zygote: Server, handoffs: Handoffs) -> None:
    """Be the zygote and the process of a trial: report one epoch, then end."""
    run = None
    while not isinstance(run, Run):
        peer, run = zygote.wait()[0][0]
    with Client(run.address) as client:
        trial = ActiveTrial(spec=spec, ask=client.ask)
        with handoffs.counted():
            trial.report(Report(epoch=1, metrics={spec.metric: 0.5}))
        client.tell(Ended(event="finished"))
        client.tell(Left())
    peer.answer(Exited(code=0))


def way_of_a_report(folder: Path) -> list[str]:
    """Return our functions that a report passes, from `report` to the disk."""
    loaded = load(_experiment(folder))
    context = RunContext(
        demand=Demand(cpus=1.0), slots=1, seed_key="seed", wandb_mode="none"
    )
    journal = Journal(loaded, space.parse(loaded, {}), folder / "short", context)
    if journal.claim("a") is None:
        raise RuntimeError("there is no trial")
    spec = journal.start("a")
    Path(spec.folder).mkdir(parents=True)
    in_trial = Handoffs("ActiveTrial.report", "sendall".__eq__)
    in_slot = Handoffs("run", "ActorMethod.remote".__eq__)
    in_journal = Handoffs("Journal.report", ("fsync", "fdatasync").__contains__)

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    with Server() as zygote:
        thread = threading.Thread(target=_train, args=(spec, zygote, in_trial))
        thread.start()
        with in_slot.counted():
            slot.run(
                "a",
                ray.remote(_Journal).remote(spec),
                wait=ray.get,
                connect=lambda: Client(zygote.address),
                env={},
            )
        thread.join()
    ray.shutdown()
    with in_journal.counted():
        journal.report("a", Report(epoch=1, metrics={"acc": 0.5}, values=(0.5,)))
    return [*in_trial.longest(), *in_slot.longest(), *in_journal.longest()]


def section(count: int) -> Section:
    """Count a report's functions and measure the slot's idle time, `count` times."""
    idle: list[float] = []
    for _ in range(count):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            idle += idle_seconds(Path(folder))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        way = way_of_a_report(Path(folder))
    median, least = statistics.median(idle), min(idle)
    rows = [[str(number), f"`{name}`"] for number, name in enumerate(way, 1)]
    lines = [
        f"{count} x {TRIALS} short trials in one slot, from the end of one target to "
        f"the call of the next: {median:.2f} s in the median, {least:.2f} s at least.",
        "",
        "Functions of ours that a report passes (`sys.setprofile`: those on the stack "
        "when it leaves the trial, the slot and the journal's process):",
        "",
        *table(["", "function"], rows),
    ]
    idle_goal = Goal(
        text="idle time of a slot", value=median, limit=0.1, unit="s", reason=IDLE
    )
    way_goal = Goal(text="functions that a report passes", value=len(way), limit=6)
    return Section(
        title="Between a trial and the journal",
        lines=lines,
        goals=[idle_goal, way_goal],
    )

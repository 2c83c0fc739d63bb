"""What a result costs in a long sweep, without training: the journal and its peers.

Every trial reports ten times. CPU time, since the disk of a shared machine is noisy;
each way keeps its promise: whatever it has answered is on disk.
"""

import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

REPORTS = 10
SIZES = (100, 1000, 10_000)


def sweeper(folder: Path, count: int, search: str) -> dict[str, float]:
    """sweeper's journal: claim, start, report, finish; then a resume."""
    import yaml

    from sweeper.definition import experiment
    from sweeper.reports import Report
    from sweeper.scheduling.journal import Journal
    from sweeper.scheduling.launch import Launch
    from sweeper.search_space import space
    from sweeper.trial import Demand

    axes = round(math.log10(count))  # of ten values each: a space as people write it
    points = {f"x{axis}": list(range(10)) for axis in range(axes)}
    drawn = {"x": "interval(0, 1)", "y": "interval(0, 1)"}
    content = {
        "name": "bench",
        "search_space": points if search == "grid" else drawn,
        "objective": {"metric": "acc", "mode": "max"},
        "search": search,
        "budget": {"trials": count},
    }
    file = folder / "bench.yaml"
    file.write_text(yaml.safe_dump(content))
    loaded = experiment.load(file)
    parsed = space.parse(loaded, {})
    launch = Launch(demand=Demand(cpus=1.0), slots=2, seed_key="", wandb_mode="none")
    sweep = folder / "sweeps" / "bench"
    journal = Journal(loaded, parsed, sweep, launch)
    begin = time.process_time()
    done = 0
    while journal.claim("slot") is not None:
        journal.start("slot")
        for epoch in range(1, REPORTS + 1):
            value = 0.5 + epoch / 100
            report = Report(
                epoch=epoch,
                values=(value,),
                metrics={"acc": value, "loss": 1 - value},
                busy_seconds=float(epoch),
            )
            journal.report("slot", report)
        journal.finish("slot")
        done += 1
    spent = time.process_time() - begin
    assert done == count
    begin = time.process_time()
    again = Journal(loaded, parsed, sweep, launch)
    assert again.claim("slot") is None
    assert again.is_finished()
    resumed = time.process_time() - begin
    size = (sweep / "journal.jsonl").stat().st_size
    return _row(spent, count, resumed, size)


def optuna_study(folder: Path, count: int, kind: str) -> dict[str, float]:
    """Optuna's own loop over a storage of its documentation."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    file = folder / "study"

    def storage() -> object:
        if kind == "journal":
            return JournalStorage(JournalFileBackend(str(file)))
        return f"sqlite:///{file}"

    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(
        storage=storage(), study_name="bench", sampler=sampler, direction="maximize"
    )

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("x", 0, 1)
        trial.suggest_float("y", 0, 1)
        for epoch in range(1, REPORTS + 1):
            trial.report(0.5 + epoch / 100, epoch)
        return 0.6

    begin = time.process_time()
    study.optimize(objective, n_trials=count)
    spent = time.process_time() - begin
    begin = time.process_time()
    again = optuna.load_study(storage=storage(), study_name="bench")
    assert len(again.get_trials(deepcopy=False)) == count
    resumed = time.process_time() - begin
    return _row(spent, count, resumed, file.stat().st_size)


def floor(folder: Path, count: int, _: str) -> dict[str, float]:
    """The floor: a line for each report, appended and synced."""
    file = folder / "lines.jsonl"
    begin = time.process_time()
    with file.open("a") as lines:
        for number in range(count):
            for epoch in range(1, REPORTS + 1):
                row = {"trial": number, "epoch": epoch, "acc": 0.5 + epoch / 100}
                lines.write(json.dumps(row) + "\n")
                lines.flush()
                os.fsync(lines.fileno())
    spent = time.process_time() - begin
    begin = time.process_time()
    assert len(list(map(json.loads, file.read_text().splitlines()))) == count * REPORTS
    return _row(spent, count, time.process_time() - begin, file.stat().st_size)


def _row(spent: float, count: int, resumed: float, size: int) -> dict[str, float]:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "ms_a_result": spent / count / REPORTS * 1e3,
        "resume_seconds": resumed,
        "bytes_a_trial": size / count,
        "peak_bytes": float(peak),
    }


WAYS: dict[str, tuple[Callable[[Path, int, str], dict[str, float]], str, int]] = {
    "sweeper, grid": (sweeper, "grid", 10_000),
    "sweeper, random": (sweeper, "random", 10_000),
    "sweeper, TPE": (sweeper, "tpe", 1000),
    "Optuna, random, file journal": (optuna_study, "journal", 1000),
    "Optuna, random, SQLite": (optuna_study, "sqlite", 100),
    "floor: synced lines": (floor, "", 10_000),
}


def measure(way: str, count: int) -> dict[str, float]:
    """One way in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.scheduling", way, str(count)],
        capture_output=True,
        text=True,
        check=True,
    )
    row: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return row


def main() -> None:
    way, count = sys.argv[1], int(sys.argv[2])
    function, kind, _ = WAYS[way]
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(function(Path(folder), count, kind)))


if __name__ == "__main__":
    main()

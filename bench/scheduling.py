"""What a result costs in a long sweep, without training: the journal and its peers.

Every trial reports ten times, and all ways keep the promise that whatever they have
answered is on disk, but for Ray Tune, which writes its state now and then. sweeper's
journal, Optuna's loop and the floor are measured alone, without processes of trials;
"run" is the whole of `sweeper run`, a fresh process for each trial, as is Ray Tune's.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench import reasons
from bench.clocks import REPORTS, now, row, since
from bench.page import MIB, Goal, Section, table
from bench.whole import ray_tune, sweeper_run


def sweeper(folder: Path, count: int, **how: Any) -> dict[str, float]:
    """sweeper's journal."""
    from bench import journal  # here: it counts in no other way's memory

    return journal.measured(folder, count, **how)


def followed(folder: Path, count: int) -> dict[str, float]:
    """sweeper's journal over a grid; then a driver looks on in a process of its own."""
    measured = sweeper(folder, count, search="grid")
    command = [sys.executable, "-m", "bench.follow", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    driver: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {**measured, **driver}


def optuna_study(folder: Path, count: int, *, kind: str) -> dict[str, float]:
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

    sampler = optuna.samplers.TPESampler(seed=0)
    study = optuna.create_study(
        storage=storage(), study_name="bench", sampler=sampler, direction="maximize"
    )

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("x", 0, 1)
        trial.suggest_float("y", 0, 1)
        for epoch in range(1, REPORTS + 1):
            trial.report(0.5 + epoch / 100, epoch)
        return 0.6

    begin = now()
    study.optimize(objective, n_trials=count)
    spent = since(begin)
    begin = now()
    again = optuna.load_study(storage=storage(), study_name="bench")
    assert len(again.get_trials(deepcopy=False)) == count
    resumed = since(begin)
    return row(spent, count, resumed, file.stat().st_size)


def floor(folder: Path, count: int) -> dict[str, float]:
    """The floor: a line for each report, appended and synced."""
    file = folder / "lines.jsonl"
    begin = now()
    with file.open("a") as lines:
        for number in range(count):
            for epoch in range(1, REPORTS + 1):
                said = {"trial": number, "epoch": epoch, "acc": 0.5 + epoch / 100}
                lines.write(json.dumps(said) + "\n")
                lines.flush()
                os.fsync(lines.fileno())
    spent = since(begin)
    begin = now()
    assert len(list(map(json.loads, file.read_text().splitlines()))) == count * REPORTS
    return row(spent, count, since(begin), file.stat().st_size)


Way = Callable[[Path, int], dict[str, float]]
GRID, HOURS = "sweeper, grid", "sweeper, grid on cards, limits on hours and cost"
LATE = ", after 9,000 others"
LIMITS = {"gpu_hours": 1e6, "wall_hours": 1e6, "cost": 1e6}
WAYS: dict[str, Way] = {
    GRID: followed,
    HOURS: partial(sweeper, search="grid", limits=LIMITS),
    HOURS + LATE: partial(sweeper, search="grid", limits=LIMITS, before=9000),
    "sweeper, random, after 4,500 others": partial(
        sweeper, search="random", before=4500
    ),
    "sweeper, TPE": partial(sweeper, search="tpe"),
    "sweeper, TPE, after 4,500 others": partial(sweeper, search="tpe", before=4500),
    "sweeper run, a process a trial": sweeper_run,
    "Ray Tune, reuse_actors": ray_tune,
    "Optuna TPE, file journal": partial(optuna_study, kind="journal"),
    "Optuna TPE, SQLite": partial(optuna_study, kind="sqlite"),
    "floor: synced lines": floor,
}
# What is measured; the first in every round, the second once, since it takes long.
EACH_ROUND = (
    (GRID, 100),
    (GRID, 1000),
    ("floor: synced lines", 1000),
)
ONCE = (
    (GRID, 10_000),
    (HOURS, 1000),
    (HOURS + LATE, 1000),
    ("sweeper, random, after 4,500 others", 500),
    ("sweeper, TPE", 1000),
    ("sweeper, TPE, after 4,500 others", 500),
    ("sweeper run, a process a trial", 100),
    ("Ray Tune, reuse_actors", 1000),
    ("Optuna TPE, file journal", 1000),
    ("Optuna TPE, SQLite", 100),
)


def measure(way: str, count: int) -> dict[str, float]:
    """One way in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.scheduling", way, str(count)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


Found = Mapping[tuple[str, int], Sequence[Mapping[str, float]]]


def median(found: Found, way: str, count: int, name: str) -> float:
    """The median of one number over the rounds."""
    return statistics.median(each[name] for each in found[way, count])


def goals(found: Found) -> list[Goal]:
    """What a long sweep is to keep within."""
    mine = GRID
    # Both of the first round: the long one runs once.
    flat = found[mine, 10_000][0]["cpu_ms"] / found[mine, 1000][0]["cpu_ms"]
    limited = found[HOURS + LATE, 1000][0]["cpu_ms"] / found[HOURS, 1000][0]["cpu_ms"]
    memory = median(found, mine, 10_000, "peak_bytes") / MIB
    drivers = [found[mine, count][0]["driver_bytes"] for count in (10_000, 1000)]
    return [
        Goal(
            text="a result at 1,000 trials",
            value=median(found, mine, 1000, "wall_ms"),
            limit=3,
            unit="ms",
        ),
        Goal(
            text="a result at 10,000 trials beside one at 1,000, CPU",
            value=flat,
            limit=1.3,
        ),
        Goal(
            text="the same of trials on cards, with limits on hours and cost, CPU",
            value=limited,
            limit=1.3,
        ),
        Goal(
            text="resume of 10,000 finished trials",
            value=median(found, mine, 10_000, "resume_seconds"),
            limit=3,
            unit="s",
            reason=reasons.RESUME,
        ),
        Goal(
            text="memory of the journal's process at 10,000 trials",
            value=memory,
            limit=512,
            unit="MiB",
        ),
        Goal(
            text="memory of the driver at 10,000 trials beside that at 1,000",
            value=drivers[0] / drivers[1],
            limit=1.3,
        ),
    ]


def section(rounds: int, largest: int) -> Section:
    """Every way and size; those of `EACH_ROUND` in turn."""
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    for number in range(rounds):
        for way, count in (*EACH_ROUND, *(ONCE if number == 0 else ())):
            if count > largest:
                continue
            try:
                measured = measure(way, count)
            except subprocess.SubprocessError as error:
                text = getattr(error, "stderr", None) or error
                print(f"{way} {count}: left out: {text}", file=sys.stderr, flush=True)
                continue
            found.setdefault((way, count), []).append(measured)
            print(f"scheduling: {way}, {count} trials: {measured}", flush=True)
    head = ["", "trials", "wall ms a result", "CPU ms", "resume s", "bytes a trial"]
    rows = []
    for (way, count), each in found.items():
        numbers = {name: median(found, way, count, name) for name in each[0]}
        cells = [
            f"{numbers['wall_ms']:.2f}",
            f"{numbers['cpu_ms']:.2f}",
            f"{numbers['resume_seconds']:.2f}",
            f"{numbers['bytes_a_trial']:.0f}",
            f"{numbers['peak_bytes'] / MIB:.0f}",
            f"{numbers.get('driver_bytes', math.nan) / MIB:.0f}",
            f"{numbers.get('closed_bytes', math.nan) / MIB:.0f}",
        ]
        known = ["" if cell == "nan" else cell for cell in cells]
        rows.append([way, f"{count}", *known, f"{len(each)}"])
    return Section(
        title=f"A result in a long sweep ({REPORTS} reports a trial)",
        lines=table([*head, "peak MiB", "driver MiB", "with its report", "runs"], rows),
        goals=goals(found) if largest >= 10_000 else (),
    )


def main() -> None:
    way, count = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        print(json.dumps(WAYS[way](Path(folder), count)))


if __name__ == "__main__":
    main()

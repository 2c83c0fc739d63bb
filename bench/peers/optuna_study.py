"""Optuna with a database: run this once, or twice at the same time."""

import fcntl
import sys
from pathlib import Path

import optuna
import work


def objective(trial: optuna.Trial) -> float:
    width = trial.suggest_categorical("width", work.WIDTHS)
    rate = trial.suggest_categorical("rate", work.RATES)
    values: list[float] = []

    def report(epoch: int, value: float) -> None:
        trial.report(value, epoch)
        values.append(value)

    work.fit(out / f"{trial.number}", width=width, rate=rate, report=report)
    return values[-1]


if __name__ == "__main__":
    out = Path(sys.argv[1])
    count = int(sys.argv[2])
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with (out / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two processes cannot make tables at once
        study = optuna.create_study(
            study_name="bench",
            storage=f"sqlite:///{out}/study.db",
            load_if_exists=True,
            direction="maximize",
            sampler=optuna.samplers.GridSampler(
                {"width": work.WIDTHS, "rate": work.RATES}, seed=0
            ),
        )
    study.optimize(objective, n_trials=count)

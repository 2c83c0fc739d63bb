"""Syne Tune's local backend: this file starts itself once a trial."""

import sys
from pathlib import Path


def trial(out: Path, width: int, rate: float) -> None:
    import work
    from syne_tune import Reporter

    reporter = Reporter()

    def report(epoch: int, value: float) -> None:
        reporter(epoch=epoch, acc=value)

    work.fit(out / f"{width}_{rate}", width=width, rate=rate, report=report)


def sweep(out: Path) -> None:
    from syne_tune import StoppingCriterion, Tuner
    from syne_tune.backend import LocalBackend
    from syne_tune.config_space import choice
    from syne_tune.optimizer.baselines import RandomSearch

    grid = [
        {"width": width, "rate": rate}
        for width in (16, 32, 48, 64)
        for rate in (1e-3, 2e-3, 5e-3, 1e-2)
    ]
    space = {
        "width": choice([16, 32, 48, 64]),
        "rate": choice([1e-3, 2e-3, 5e-3, 1e-2]),
        "out": str(out),
    }
    tuner = Tuner(
        trial_backend=LocalBackend(entry_point=__file__),
        scheduler=RandomSearch(space, metrics=["acc"], points_to_evaluate=grid),
        stop_criterion=StoppingCriterion(max_num_trials_started=16),
        n_workers=2,
        sleep_time=0.1,
        wait_trial_completion_when_stopping=True,
        save_tuner=False,
    )
    tuner.run()


if __name__ == "__main__":
    given = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=False))
    if "--width" in given:
        trial(Path(given["--out"]), int(given["--width"]), float(given["--rate"]))
    else:
        sweep(Path(sys.argv[1]))

"""Syne Tune's local backend: this file starts itself once a trial."""

import os
import sys
from pathlib import Path


def trial(folder: Path, width: int, rate: float) -> None:
    import work
    from syne_tune import Reporter

    reporter = Reporter()

    def report(epoch: int, value: float) -> None:
        reporter(epoch=epoch, acc=value)

    work.fit(folder, width=width, rate=rate, report=report)


def sweep(out: Path) -> None:
    os.environ["SYNETUNE_FOLDER"] = str(out)  # else it writes to the home folder
    from syne_tune import StoppingCriterion, Tuner
    from syne_tune.backend import LocalBackend
    from syne_tune.config_space import choice
    from syne_tune.optimizer.schedulers.searchers.searcher import BaseSearcher
    from syne_tune.optimizer.schedulers.single_objective_scheduler import (
        SingleObjectiveScheduler,
    )

    class Grid(BaseSearcher):
        """Each point once, then none.

        RandomSearch would go on with points that it draws: its stop criterion is met
        once more than so many trials have started, and looked at between rounds only.
        """

        def suggest(self) -> dict[str, object] | None:
            return self._next_points_to_evaluate()

    widths, rates = (16, 32, 48, 64), (1e-3, 2e-3, 5e-3, 1e-2)
    space = {"width": choice(list(widths)), "rate": choice(list(rates))}
    grid = [{"width": width, "rate": rate} for width in widths for rate in rates]
    tuner = Tuner(
        trial_backend=LocalBackend(entry_point=__file__),
        scheduler=SingleObjectiveScheduler(
            space,
            metric="acc",
            do_minimize=False,
            searcher=Grid(space, points_to_evaluate=grid),
        ),
        stop_criterion=StoppingCriterion(max_num_trials_started=len(grid)),
        n_workers=2,
        sleep_time=0.1,
        save_tuner=False,
    )
    tuner.run()


if __name__ == "__main__":
    given = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=False))
    if "--st_checkpoint_dir" in given:
        folder = Path(given["--st_checkpoint_dir"])  # of this trial alone
        trial(folder, int(given["--width"]), float(given["--rate"]))
    else:
        sweep(Path(sys.argv[1]))

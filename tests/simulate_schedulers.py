"""Simulated sweeps on recorded curves: what a scheduler finds for a budget of epochs.

    python -m tests.simulate_schedulers

The curves have the shape of public learning-curve benchmarks (a power law to an
asymptote, with noise; many bad settings, few good ones) and are made here.
"""

import heapq
import tempfile
import warnings
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner

from sweeper.experiment import space
from sweeper.experiment.definition import Experiment
from sweeper.journal.record import State
from sweeper.journal.study import again
from sweeper.protocol import Decision
from sweeper.search import schedulers as rules
from sweeper.search.schedulers import Asha, Patience, Pruner, Resume
from tests.helpers import make_experiment
from tests.judged import Judged

EPOCHS = 27
WORKERS = 8
Curves = NDArray[np.float64]
Stops = Callable[[int, int, float], bool]  # (trial, epoch, value) -> it ends


class Scheduler:
    """sweeper's decisions over records, as the journal asks for them."""

    def __init__(self, scheduler: rules.Scheduler) -> None:
        self._scheduler = scheduler
        self._experiment = _experiment()
        self._trials = Judged(self._experiment, scheduler)
        self._numbers: dict[int, int] = {}

    def stops(self, trial: int, epoch: int, value: float) -> bool:
        """Whether a trial ends after an epoch."""
        if trial not in self._numbers:
            self._numbers[trial] = self._trials.add(point=trial)
        number = self._numbers[trial]
        if self._trials.records[number].state.is_final:  # promoted: it resumes
            record = again(self._trials.records[number])
            self._trials.put(replace(record, state=State.RUNNING))
        decision = self._trials.report(number, epoch, value)
        is_over = decision is Decision.STOP or epoch == EPOCHS
        if is_over:
            state = State.COMPLETE if epoch == EPOCHS else State.PRUNED
            self._trials.end(number, state, value)
        return is_over

    def promoted(self) -> int | None:
        """A stopped trial that goes on now, None for none."""
        action = self._scheduler.next_trial(
            self._trials.records,
            experiment=self._experiment,
            space=space.parse(self._experiment, {}),
            new=lambda: None,
        )
        if not isinstance(action, Resume):
            return None
        return int(str(action.record.params["x"]))


def _experiment() -> Experiment:
    with tempfile.TemporaryDirectory() as folder:
        return make_experiment(Path(folder))


def curves(n: int, seed: int) -> Curves:
    """(n, EPOCHS) accuracies of n settings."""
    rng = np.random.default_rng(seed)
    top = 0.95 * rng.beta(4, 2, size=(n, 1))
    rate = rng.uniform(0.4, 1.6, size=(n, 1))
    epochs = np.arange(1, EPOCHS + 1)
    noise = rng.normal(size=(n, EPOCHS)) * 0.01
    return top - 0.6 * top * epochs**-rate + noise


def run(
    of: Curves,
    stops: Stops,
    *,
    budget: int,
    promoted: Callable[[], int | None] = lambda: None,
) -> tuple[float, int]:
    """Best value of all reports, and the trials started.

    Eight workers take the settings in order; each epoch takes as long as the setting
    is slow (a function of its number), so reports arrive out of order.

    Args:
        of: the curves of all settings.
        stops: the scheduler.
        budget: epochs in all.
        promoted: a stopped trial that goes on before a new one starts.
    """
    saved: dict[int, int] = {}
    best, started, used = 0.0, 0, 0
    queue: list[tuple[float, int, int]] = []
    while started < min(WORKERS, len(of)):
        heapq.heappush(queue, (_seconds(started), started, 1))
        started += 1
    while queue and used < budget:
        now, trial, epoch = heapq.heappop(queue)
        used += 1
        value = float(of[trial, epoch - 1])
        best = max(best, value)
        saved[trial] = epoch
        if not stops(trial, epoch, value) and epoch < EPOCHS:
            heapq.heappush(queue, (now + _seconds(trial), trial, epoch + 1))
        elif (again := promoted()) is not None:
            heapq.heappush(queue, (now + _seconds(again), again, saved[again] + 1))
        elif started < len(of):
            heapq.heappush(queue, (now + _seconds(started), started, 1))
            started += 1
    return best, started


def _seconds(trial: int) -> float:
    return 1 + (trial * 7919 % 13) / 13


class _Named:
    """All that Ray's bracket asks of a trial."""

    def __init__(self, trial: int) -> None:
        self.trial_id = str(trial)


def rays() -> Stops:
    """Ray Tune's ASHA, by its own rungs."""
    from ray.tune.schedulers import AsyncHyperBandScheduler

    made = AsyncHyperBandScheduler(max_t=EPOCHS, grace_period=1, reduction_factor=3)
    (bracket,) = made._brackets

    def stops(trial: int, epoch: int, value: float) -> bool:
        return bool(bracket.on_result(_Named(trial), epoch, value) == made.STOP)

    return stops


def schedulers() -> dict[str, Callable[[], rules.Scheduler]]:
    """What is compared: the files of conf/scheduler, for this number of epochs."""
    return {
        "asha": Asha,
        "asha, bracket 1": lambda: Asha(min_early_stopping_rate=1),
        "asha_promote": lambda: Asha(promote=True),
        "hyperband": lambda: Pruner(
            HyperbandPruner(min_resource=1, max_resource=EPOCHS, reduction_factor=3)
        ),
        "median": lambda: Pruner(MedianPruner(n_startup_trials=4, n_warmup_steps=1)),
        "patience": lambda: Patience(patience=10),
        "none": lambda: Pruner(NopPruner()),
    }


def compare(
    n: int, *, budget: int, seeds: int, names: Collection[str]
) -> dict[str, list[float]]:
    """Regret (best value that there is minus what was found) by scheduler."""
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        of = curves(n, seed)
        best, _ = run(of, rays(), budget=budget)
        found.setdefault("Ray Tune's ASHA", []).append(float(of.max()) - best)
        for name in names:
            pruner = schedulers()[name]()
            made = Scheduler(pruner)
            best, _ = run(of, made.stops, budget=budget, promoted=made.promoted)
            found.setdefault(name, []).append(float(of.max()) - best)
    return found


def main() -> None:
    """Print mean regrets as a Markdown table."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", ExperimentalWarning)
    budgets = (500, 1000, 2000)
    found = {b: compare(1000, budget=b, seeds=5, names=schedulers()) for b in budgets}
    print("| scheduler | " + " | ".join(f"{b} epochs" for b in budgets) + " |")
    print("|---|" + "---|" * len(budgets))
    for name in found[budgets[0]]:
        cells = [f"{np.mean(found[b][name]):.3f}" for b in budgets]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()

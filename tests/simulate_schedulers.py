"""Simulated sweeps on recorded curves: what a scheduler finds for a budget of epochs.

    python -m tests.simulate_schedulers

The curves have the shape of public learning-curve benchmarks (a power law to an
asymptote, with noise; many bad settings, few good ones) and are made here.
"""

import heapq
import warnings
from collections.abc import Callable, Collection

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial

from sweeper.search.asha import Asha
from sweeper.search.policy import Patience, decide
from sweeper.storage.attributes import newest
from sweeper.trial import Decision

EPOCHS = 27
WORKERS = 8
Curves = NDArray[np.float64]
Stops = Callable[[int, int, float], bool]  # (trial, epoch, value) -> it ends


class Scheduler:
    """sweeper's decisions over a study, as the journal asks for them."""

    def __init__(self, pruner: BasePruner) -> None:
        self._pruner = pruner
        self._study = optuna.create_study(
            storage=InMemoryStorage(), direction="maximize"
        )
        self._rows: dict[int, int] = {}

    def stops(self, trial: int, epoch: int, value: float) -> bool:
        """Whether a trial ends after an epoch."""
        storage = self._study._storage
        row = self._row(trial)
        storage.set_trial_intermediate_value(row, epoch, value)
        frozen = storage.get_trial(row)
        is_over = (
            decide(self._study, frozen, scheduler=self._pruner) is Decision.STOP
            or epoch == EPOCHS
        )
        if is_over:
            state = TrialState.COMPLETE if epoch == EPOCHS else TrialState.PRUNED
            storage.set_trial_state_values(row, state, [value])
        return is_over

    def _row(self, trial: int) -> int:
        """The row of a trial; one that has ended gets another, as in the journal."""
        storage = self._study._storage
        old = storage.get_trial(self._rows[trial]) if trial in self._rows else None
        if old is None or old.state.is_finished():
            again = create_trial(
                state=TrialState.RUNNING,
                user_attrs={"id": trial},
                intermediate_values={} if old is None else old.intermediate_values,
            )
            study_id = self._study._study_id
            self._rows[trial] = storage.create_new_trial(study_id, again)
        return self._rows[trial]

    def promoted(self) -> int | None:
        """A stopped trial that goes on now, where the scheduler has such."""
        if not isinstance(self._pruner, Asha) or not self._pruner.is_promoting:
            return None
        rows = newest(self._study.get_trials(deepcopy=False))
        found = self._pruner.promoted(rows, is_max=True)
        return None if found is None else int(found.user_attrs["id"])


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


def schedulers() -> dict[str, Callable[[], BasePruner]]:
    """What is compared: the files of conf/scheduler, for this number of epochs."""
    return {
        "asha": Asha,
        "asha, bracket 1": lambda: Asha(min_early_stopping_rate=1),
        "asha_promote": lambda: Asha(promote=True),
        "hyperband": lambda: HyperbandPruner(
            min_resource=1, max_resource=EPOCHS, reduction_factor=3
        ),
        "median": lambda: MedianPruner(n_startup_trials=4, n_warmup_steps=1),
        "patience": lambda: Patience(None, patience=10),
        "none": NopPruner,
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

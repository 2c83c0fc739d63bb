"""Simulated sweeps on recorded curves: what a scheduler finds for a budget of epochs.

    python -m tests.simulate_schedulers

The curves have the shape of public learning-curve benchmarks (a power law to an
asymptote, with noise; many bad settings, few good ones) and are made here.
"""

import heapq
from collections.abc import Callable

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.pruners import BasePruner, HyperbandPruner, SuccessiveHalvingPruner
from optuna.storages import InMemoryStorage

from sweeper.search.policy import decide
from sweeper.trial import Decision

EPOCHS = 27
WORKERS = 8
Curves = NDArray[np.float64]
Stops = Callable[[int, int, float], bool]  # (trial, epoch, value) -> it ends


def curves(n: int, seed: int) -> Curves:
    """(n, EPOCHS) accuracies of n settings."""
    rng = np.random.default_rng(seed)
    top = 0.95 * rng.beta(4, 2, size=(n, 1))
    rate = rng.uniform(0.4, 1.6, size=(n, 1))
    epochs = np.arange(1, EPOCHS + 1)
    noise = rng.normal(size=(n, EPOCHS)) * 0.01
    return top - 0.6 * top * epochs**-rate + noise


def run(of: Curves, stops: Stops, *, budget: int) -> tuple[float, int]:
    """Best final value among trials run whole or not, and the trials started.

    Eight workers take the settings in order; each epoch takes as long as the setting
    is slow (a function of its number), so reports arrive out of order.
    """
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
        if not stops(trial, epoch, value) and epoch < EPOCHS:
            heapq.heappush(queue, (now + _seconds(trial), trial, epoch + 1))
        elif started < len(of):
            heapq.heappush(queue, (now + _seconds(started), started, 1))
            started += 1
    return best, started


def _seconds(trial: int) -> float:
    return 1 + (trial * 7919 % 13) / 13


def ours(pruner: BasePruner) -> Stops:
    """sweeper's decision over a study, as the journal asks for it."""
    study = optuna.create_study(storage=InMemoryStorage(), direction="maximize")
    rows: dict[int, int] = {}

    def stops(trial: int, epoch: int, value: float) -> bool:
        storage = study._storage
        if trial not in rows:
            rows[trial] = study.ask()._trial_id
        storage.set_trial_intermediate_value(rows[trial], epoch, value)
        frozen = storage.get_trial(rows[trial])
        return decide(study, frozen, scheduler=pruner) is Decision.STOP

    return stops


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


def asha() -> BasePruner:
    """The scheduler of conf/scheduler/asha.yaml."""
    return SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)


def hyperband() -> BasePruner:
    """ASHA with four brackets, as conf/scheduler/hyperband.yaml."""
    return HyperbandPruner(min_resource=1, max_resource=EPOCHS, reduction_factor=3)


def compare(n: int, *, budget: int, seeds: int) -> dict[str, list[float]]:
    """Regret (best asymptote that there is minus what was found) by scheduler."""
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        of = curves(n, seed)
        makers: dict[str, Stops] = {
            "sweeper asha": ours(asha()),
            "sweeper hyperband": ours(hyperband()),
            "ray asha": rays(),
            "none": lambda trial, epoch, value: False,
        }
        for name, stops in makers.items():
            best, _ = run(of, stops, budget=budget)
            found.setdefault(name, []).append(float(of.max()) - best)
    return found


def main() -> None:
    """Print mean regrets."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for budget in (500, 1000, 2000):
        found = compare(1000, budget=budget, seeds=5)
        print(budget, {name: round(float(np.mean(v)), 4) for name, v in found.items()})


if __name__ == "__main__":
    main()

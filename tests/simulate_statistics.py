"""Simulated sweeps with a known truth: how often the leaderboard is right.

    python -m tests.simulate_statistics [--sweeps 400]

It goes the way of a real sweep: trials with seeds and single answers, ranked by
`leaderboard.rank` and judged by `verdict`. docs/statistics.md shows its figures.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sweeper.journal.record import State, Sweep, TrialRecord
from sweeper.statistics.insight import verdict
from sweeper.statistics.leaderboard import rank
from sweeper.system.correctness import Correctness
from sweeper.system.identity import trial_id
from tests.helpers import make_experiment


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is true of a simulated sweep.

    Attributes:
        means: true score of each suggestion, in standard deviations of one seed.
        stds: of one seed, for each suggestion.
        seeds: of each suggestion.
        common: standard deviation of what a seed adds to every suggestion alike.
        examples: validation examples with stored answers; 0 for scores only.
        taste: how much suggestions of equal quality differ in which examples they
            get right; seeds do not show it, another validation set would.
    """

    name: str
    means: Sequence[float]
    stds: Sequence[float] = ()
    seeds: int = 5
    common: float = 0.0
    examples: int = 0
    taste: float = 0.0


def sweep(world: World, rng: np.random.Generator, folder: Path) -> Sweep:
    """One sweep of a world."""
    rows, n = len(world.means), world.seeds
    stds = np.array(world.stds or [1.0] * rows)
    noise = rng.normal(size=(rows, n)) * stds[:, None]
    scores = np.array(world.means)[:, None] + noise
    scores = scores + world.common * rng.normal(size=(1, n))
    answers = None
    if world.examples:
        difficulty = rng.normal(size=(1, 1, world.examples)) * 1.5
        taste = rng.normal(size=(rows, 1, world.examples)) * world.taste
        luck = rng.normal(size=(rows, n, world.examples)) * 0.5
        answers = 1.5 + 0.05 * scores[:, :, None] + taste + luck > difficulty
        scores = answers.mean(axis=2)
    trials = []
    for i in range(rows):
        for seed in range(n):
            value = float(scores[i, seed])
            correct = (
                "".join("01"[int(a)] for a in answers[i, seed])
                if (answers is not None)
                else ""
            )
            params = {"x": i}
            trials.append(
                TrialRecord(
                    number=len(trials),
                    id=trial_id(params, seed=seed),
                    params=params,
                    seed=seed,
                    state=State.COMPLETE,
                    values={1: value},
                    correctness=Correctness(epoch=1, value=value, correct=correct)
                    if correct
                    else None,
                )
            )
    loaded = make_experiment(folder, baseline={"x": 0})
    return Sweep(experiment=loaded, trials=tuple(trials), folder=folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Shares of simulated sweeps.

    Attributes:
        winner: that name a winner.
        wrong: that call a row worse than the best although it is not.
        right: that name the winner that there is.
    """

    winner: float
    wrong: float
    right: float


def simulate(world: World, *, sweeps: int, seed: int = 0) -> Result:
    """The shares of `sweeps` sweeps of a world."""
    rng = np.random.default_rng(seed)
    winner = wrong = right = 0
    truth = np.array(world.means)
    best = int(truth.argmax())
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(sweeps):
            made = sweep(world, rng, Path(folder))
            rows = rank(made)
            found = verdict(rows, made.experiment.objective)
            index = [int(str(row.params["x"])) for row in rows]
            winner += found.winner is not None
            right += found.winner is not None and index[0] == best
            wrong += any(
                row.is_worse and truth[i] >= truth[index[0]]
                for row, i in zip(rows, index, strict=True)
            )
    return Result(winner=winner / sweeps, wrong=wrong / sweeps, right=right / sweeps)


def equal(k: int) -> list[float]:
    """The means of k suggestions without a difference."""
    return [0.0] * k


def one_better(k: int, by: float) -> list[float]:
    """The means of k suggestions of which one is better by `by` standard deviations."""
    return [by, *[0.0] * (k - 1)]


NULL = [
    *(
        World(name=f"{k} equal, {n} seeds", means=equal(k), seeds=n)
        for k in (2, 4, 8, 20)
        for n in (2, 3, 5)
    ),
    World(name="8 equal, seed effects", means=equal(8), common=3.0),
    World(name="8 equal, one with 3 x the noise", means=equal(8), stds=[3, *[1] * 7]),
    World(name="2 best equal, 6 far worse", means=[0, 0, *[-5.0] * 6]),
    World(
        name="the same, the best with 4 x the noise",
        means=[0, 0, *[-20.0] * 6],
        stds=[4, 4, *[1] * 6],
    ),
    World(
        name="3 rows, the 2 best equal with 4 x the noise",
        means=[0, 0, -20],
        stds=[4, 4, 1],
    ),
    World(name="4 equal, 360 answers", means=equal(4), examples=360),
    World(name="the same, other tastes", means=equal(4), examples=360, taste=0.7),
]
EFFECT = [
    World(
        name=f"best of {k} by {by:g} sigma, {n} seeds", means=one_better(k, by), seeds=n
    )
    for by in (2.0, 3.0)
    for k in (2, 4, 8)
    for n in (3, 5, 10)
]


def main() -> None:
    """Print a Markdown table of each list of worlds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweeps", type=int, default=400)
    sweeps = parser.parse_args().sweeps
    print(f"| no real winner ({sweeps} sweeps each) | names one | a false `worse` |")
    print("|---|---|---|")
    for world in NULL:
        result = simulate(world, sweeps=sweeps)
        print(
            f"| {world.name} | {result.winner:.1%} | {result.wrong:.1%} |", flush=True
        )
    print("\n| there is a winner | finds it | a false `worse` |")
    print("|---|---|---|")
    for world in EFFECT:
        result = simulate(world, sweeps=sweeps)
        print(f"| {world.name} | {result.right:.0%} | {result.wrong:.1%} |", flush=True)


if __name__ == "__main__":
    main()

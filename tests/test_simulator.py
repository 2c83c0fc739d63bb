"""The real journal in virtual time: every card full, none overfull, nothing lost."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeper.experiment import space
from sweeper.journal.record import Demand
from sweeper.packing.observations import Observations, best_per_card
from sweeper.packing.packing import CARDS, CONTEXT_BYTES, HEADROOM, Node
from sweeper.protocol import TrialSpec
from tests.helpers import CONTEXT, make_experiment
from tests.simulator import Model, Result, Simulator

T4 = CARDS["T4"].device_bytes
SMALL, MIDDLE, LARGE = "batch_size=8", "batch_size=16", "batch_size=32"


def _peak(per_card: int) -> int:
    """The most that a trial may need for so many to share a card."""
    return int((T4 / per_card - CONTEXT_BYTES) / HEADROOM) - 1


def _simulate(folder: Path, models: Mapping[str, Model], **keys: Any) -> Result:
    return _simulator(folder, models, **keys).run()


def _simulator(
    folder: Path,
    models: Mapping[str, Model],
    *,
    cards: int,
    trials_each: int,
    hours_to_loss: float = 0.0,
    is_measuring: bool = True,
    **keys: object,
) -> Simulator:
    nodes = [Node(cpus=4.0, gpus=1, accelerator="T4", device_bytes=T4)] * cards
    sizes = [int(key.partition("=")[2]) for key in models]
    keys = {
        "search_space": {
            "batch_size": sizes,
            "lr": [i / 1000 for i in range(1, trials_each + 1)],
        },
        **keys,
    }
    experiment = make_experiment(folder, **keys)
    resources = experiment.resources
    is_auto = resources.gpus == "auto"
    gpus = 1.0 if resources.gpus == "auto" else resources.gpus
    context = replace(
        CONTEXT,
        demand=Demand(cpus=4.0 * gpus, gpus=gpus),
        slots=4 * cards,
        is_auto=is_auto,
        peaks={key: model.peak_bytes for key, model in models.items()},
        device_bytes=T4,
        cards=cards,
        node_cpus=4.0,
        node_gpus=1,
    )
    return Simulator(
        experiment,
        space.parse(experiment, {}),
        context,
        models=models,
        nodes=nodes,
        folder=folder / "simulated",
        learn=_curve,
        hours_to_loss=hours_to_loss,
        is_measuring=is_measuring,
    )


def _curve(spec: TrialSpec, epoch: int) -> float:
    return float(spec.params["lr"]) * (1 - math.exp(-epoch / 3))  # type: ignore[arg-type]


MIXES = {
    "one size, four a card": {SMALL: Model(peak_bytes=_peak(4), busy=0.2)},
    "quarters, halves and whole cards": {
        SMALL: Model(peak_bytes=_peak(4), busy=0.2, epoch_seconds=30),
        MIDDLE: Model(peak_bytes=_peak(2), busy=0.4, epoch_seconds=60),
        LARGE: Model(peak_bytes=_peak(1), busy=0.8, epoch_seconds=120),
    },
    "thirds, halves and eighths, long small ones": {
        SMALL: Model(peak_bytes=_peak(8), busy=0.1, epoch_seconds=300),
        MIDDLE: Model(peak_bytes=_peak(3), busy=0.3, epoch_seconds=60),
        LARGE: Model(peak_bytes=_peak(2), busy=0.5, epoch_seconds=90),
    },
}


@pytest.mark.parametrize("mix", MIXES)
def test_the_makespan_is_within_15_percent_of_the_lower_bound(
    tmp_path: Path, mix: str
) -> None:
    models = MIXES[mix]
    found = _simulate(
        tmp_path, models, cards=4, trials_each=96 // len(models), is_measuring=False
    )
    assert found.starts == 96
    assert found.out_of_memory == 0
    assert found.load <= 1.0 + 1e-9
    assert found.seconds <= 1.15 * found.bound(4)


def test_a_card_never_holds_more_trials_than_fit(tmp_path: Path) -> None:
    models = {SMALL: Model(peak_bytes=_peak(5)), MIDDLE: Model(peak_bytes=_peak(3))}
    found = _simulate(tmp_path, models, cards=2, trials_each=12, is_measuring=False)
    assert found.most == 5
    assert found.load <= 1.0 + 1e-9


def test_losses_repeat_epochs_and_lose_no_trial(tmp_path: Path) -> None:
    models = {SMALL: Model(peak_bytes=_peak(4), epoch_seconds=600, epochs=6)}
    found = _simulate(
        tmp_path,
        models,
        cards=2,
        trials_each=24,
        hours_to_loss=2.0,
        retry={"lost": 100},
    )
    assert found.lost > 0
    assert found.epochs == 24 * 6  # reported ones; a lost epoch was never reported
    assert found.starts == 24 + found.lost


def test_wrong_predictions_are_mended_by_the_ladder(tmp_path: Path) -> None:
    models = {SMALL: Model(peak_bytes=_peak(2))}
    right = _simulate(tmp_path, models, cards=2, trials_each=16)
    wrong = _simulate(
        tmp_path,
        models,
        cards=2,
        trials_each=16,
        resources={"gpus": 0.25},
    )
    assert right.out_of_memory == 0
    assert wrong.epochs == right.epochs
    assert 0 < wrong.out_of_memory <= 8  # those that had started by then
    assert wrong.seconds < right.seconds * 1.1


def test_a_budget_of_hours_ends_a_simulated_sweep(tmp_path: Path) -> None:
    models = {SMALL: Model(peak_bytes=_peak(4))}
    found = _simulate(
        tmp_path, models, cards=1, trials_each=40, budget={"gpu_hours": 0.5}
    )
    assert "budget.gpu_hours" in found.message
    assert found.starts < 40


def test_packing_by_memory_beats_one_trial_a_card(tmp_path: Path) -> None:
    models = MIXES["thirds, halves and eighths, long small ones"]
    seconds = {
        str(gpus): _simulate(
            tmp_path, models, cards=4, trials_each=16, resources={"gpus": gpus}
        ).seconds
        for gpus in ("auto", 1.0)
    }
    assert seconds["auto"] < 0.5 * seconds["1.0"]


@pytest.mark.parametrize(
    ("busy", "best"),
    # One more is worth it while it raises the sum by 5 %: 4 trials that want 0.3 of a
    # card each do 3.33 of their own speed together, and 3 do 3.
    [(1.0, 1), (0.97, 1), (0.5, 2), (0.3, 4), (0.13, 8), (0.05, 8)],
)
def test_the_guard_finds_how_many_trials_a_bucket_of_tokens_is_worth(
    tmp_path: Path, busy: float, best: int
) -> None:
    models = {SMALL: Model(peak_bytes=_peak(8), busy=busy, epochs=2)}
    simulator = _simulator(tmp_path, models, cards=2, trials_each=120)
    assert simulator.run().most == 8  # as many as memory holds, at first
    records = simulator.journal._store.all()
    observations = Observations()
    observations.update(dict(enumerate(records)))
    rates = observations.by_key[SMALL].rates
    assert best_per_card(rates["T4"], limit=8) == (best, True)
    assert {record.demand.gpus for record in records[-10:]} == {1 / best}


@pytest.mark.parametrize("scheduler", ["asha", "hyperband"])
def test_a_simulated_sweep_repeats_itself(tmp_path: Path, scheduler: str) -> None:
    models = {SMALL: Model(peak_bytes=_peak(4), epochs=9)}
    keys = {"scheduler": scheduler, "objective": {"metric": "acc", "mode": "min"}}
    first, second = (
        _simulate(tmp_path, models, cards=1, trials_each=20, **keys) for _ in range(2)
    )
    assert first == second
    assert first.epochs < 20 * 9


@pytest.mark.slow
@pytest.mark.long
def test_a_thousand_trials_on_64_cards(tmp_path: Path) -> None:
    models = MIXES["quarters, halves and whole cards"]
    found = _simulate(tmp_path, models, cards=64, trials_each=334, scheduler="asha")
    assert found.starts == 1002
    assert found.load <= 1.0 + 1e-9

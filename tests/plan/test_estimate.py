"""The forecast of a sweep: its shares, hours, money and wall time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.journal.record import Demand
from sweeper.packing import packing
from sweeper.packing.memory import Prediction
from sweeper.packing.packing import CARDS, Node
from sweeper.plan import estimate
from sweeper.plan.estimate import Given
from sweeper.system.text import GIB, MIB


def test_a_forecast_adds_up() -> None:
    """Four trials of 2 GiB on two T4s, of 100 steps of 0.1 s, alone half busy."""
    card = CARDS["T4"]
    node = Node(cpus=4.0, gpus=1, accelerator="T4", device_bytes=card.device_bytes)
    found = estimate.forecast(
        ["a"] * 10,
        predictions={
            "a": Prediction(
                how="followed", peak_bytes=2 * GIB, state_bytes=MIB, batch_size=10
            )
        },
        measured={},
        card=card,
        nodes=[node, node],
        given=Given(step_seconds=0.1, examples=1000, epochs=1),
        demand=lambda _: Demand(cpus=0.8, gpus=0.2, accelerator="T4"),
        price=0.5,
    )
    (line,) = found.lines
    assert line.per_card == 5  # of 14.56 GiB, each 2.3 GiB and a context of 0.5
    assert line.seconds == pytest.approx(0.1 * 100 * 5 * estimate.BUSY)
    assert found.wall_seconds == pytest.approx(line.seconds)
    assert found.gpu_hours == pytest.approx(10 * line.seconds / 5 / 3600)
    assert found.cost == pytest.approx(found.gpu_hours * 0.5)
    assert found.disk_bytes == 10 * (3 * MIB + MIB)


def test_a_trial_that_fits_no_card_is_told_and_not_scheduled() -> None:
    card = CARDS["T4"]
    node = Node(cpus=4.0, gpus=1, accelerator="T4", device_bytes=card.device_bytes)
    found = estimate.forecast(
        ["big"],
        predictions={"big": Prediction(how="followed", peak_bytes=20 * GIB)},
        measured={},
        card=card,
        nodes=[node],
        given=Given(step_seconds=0.1),
        demand=lambda _: Demand(cpus=4.0, gpus=1.0, accelerator="T4"),
    )
    assert found.lines[0].per_card == -1
    assert found.wall_seconds == 0


@given(
    trials=st.lists(
        st.tuples(st.sampled_from([1, 2, 3, 4, 5, 7, 16]), st.floats(1.0, 50.0)),
        min_size=1,
        max_size=40,
    ),
    cards=st.integers(1, 4),
)
def test_a_schedule_takes_between_its_bound_and_one_trial_after_another(
    trials: list[tuple[int, float]], cards: int
) -> None:
    nodes = [Node(cpus=16.0, gpus=cards)]
    demands = [
        (Demand(cpus=0.1, gpus=packing.share(count)), seconds)
        for count, seconds in trials
    ]
    seconds = estimate.makespan(demands, nodes)
    assert seconds >= estimate.lower_bound(demands, nodes) - 1e-6
    assert seconds <= sum(seconds for _, seconds in trials) + 1e-6


def test_equal_trials_take_the_shortest_time_there_is() -> None:
    nodes = [Node(cpus=8.0, gpus=4)]
    trials = [(Demand(cpus=0.5, gpus=0.25), 10.0)] * 32
    assert estimate.makespan(trials, nodes) == 20.0
    assert estimate.lower_bound(trials, nodes) == 20.0


def test_whole_cards_are_taken_before_parts_of_them() -> None:
    nodes = [Node(cpus=8.0, gpus=2)]
    half, whole = Demand(cpus=1.0, gpus=0.5), Demand(cpus=1.0, gpus=1.0)
    trials = [(half, 30.0), (half, 30.0), (whole, 10.0), (whole, 10.0)]
    assert estimate.makespan(trials, nodes) == 40.0
    trials = [(half, 30.0), (half, 30.0), (whole, 10.0)]
    assert estimate.makespan(trials, nodes) == 30.0

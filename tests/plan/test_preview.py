"""What `sweeper plan` says before anything runs."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from sweeper import cli
from sweeper.packing import memory
from sweeper.plan import plan_view, preview
from sweeper.plan.estimate import Given
from sweeper.plan.plan import Plan
from sweeper.plan.preview import Machines
from tests import simulate_packing
from tests.helpers import make_plan_of


def _preview(plan: Plan, **given: float) -> preview.Preview:
    return preview.preview(
        plan, machines=Machines(), given=Given(**given), has_memory=False
    )


def test_each_seed_of_each_point_is_a_trial(tmp_path: Path) -> None:
    found = _preview(make_plan_of(tmp_path, seeds=[1, 2]))
    assert len(found.points) == 8
    assert found.is_exact
    assert found.duplicates == 0


def test_variants_that_say_the_same_are_duplicates(tmp_path: Path) -> None:
    plan = make_plan_of(
        tmp_path,
        search_space={"data.batch_size": [4, 8]},
        variants={"a": [], "b": ["model.lr=0.1"], "c": ["model.lr=0.2"]},
    )
    assert _preview(plan).duplicates == 2


def test_a_search_that_draws_is_planned_by_points_like_its_own(tmp_path: Path) -> None:
    plan = make_plan_of(
        tmp_path,
        search="random",
        search_space={
            "model.lr": "tag(log, interval(1e-5, 1))",
            "data.batch_size": [4],
        },
        budget={"trials": 30},
    )
    found = _preview(plan)
    assert len(found.points) == 30
    assert not found.is_exact
    assert len({point["model.lr"] for point in found.points}) == 30


@pytest.mark.parametrize(
    ("space", "num_keys"),
    [
        ({"model.lr": [0.1, 0.2], "data.batch_size": [4, 8]}, 2),
        ({"model.lr": "interval(0.1, 0.5)", "data.batch_size": [4, 8]}, 2),
        ({"model.momentum": [0.0, 0.5, 0.9], "data.batch_size": [4]}, 2),
        ({"data.batch_size": "interval(1, 64)"}, 1),
    ],
)
def test_trials_that_differ_in_learning_only_share_a_memory_key(
    tmp_path: Path, space: dict[str, object], num_keys: int
) -> None:
    plan = make_plan_of(
        tmp_path, search_space=space, search="random", budget={"trials": 9}
    )
    assert len(memory.examples(plan.space)) == num_keys
    points, _ = preview.sample(plan)
    keys = {memory.memory_key(point, space=plan.space) for point in points}
    assert keys <= set(memory.examples(plan.space))


def test_the_command_prints_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_plan_of(
        tmp_path, resources={"gpus": 0.25, "accelerator": "T4"}, price={"T4": 0.35}
    )
    code = cli.main(
        [
            *("plan", str(tmp_path / "toy.yaml"), "--json", "--no-memory"),
            *("--cards", "2", "--step-seconds", "0.1", "--sweeps", str(tmp_path / "s")),
        ]
    )
    data = json.loads(capsys.readouterr().out)
    assert code == 0
    assert data["trials"] == 4
    assert data["cards"] == 2
    assert {line["share"] for line in data["keys"]} == {0.25}
    assert data["cost"] == pytest.approx(data["gpu_hours"] * 0.35)
    assert data["wall_seconds"] >= data["lower_bound_seconds"]


@pytest.mark.parametrize(
    ("price", "hourly"),
    [
        ({"A100": 0.7, "T4": 0.35}, 0.7),
        ({"T4": 0.35}, None),  # the price of another card is not its own
        ({"T4": 0.35, "L4": 0.7}, None),
        ({}, None),
    ],
)
def test_a_plan_has_the_price_that_the_budget_has(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    price: dict[str, float],
    hourly: float | None,
) -> None:
    make_plan_of(tmp_path, resources={"gpus": 0.25}, price=price)
    words = ["--json", "--no-memory", "--card", "A100", "--step-seconds", "0.1"]
    where = ["--sweeps", str(tmp_path / "s")]
    assert cli.main(["plan", str(tmp_path / "toy.yaml"), *words, *where]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["gpu_hours"] > 0
    cost = None if hourly is None else pytest.approx(data["gpu_hours"] * hourly)
    assert data["cost"] == cost


def test_an_unknown_card_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_plan_of(tmp_path)
    code = cli.main(["plan", str(tmp_path / "toy.yaml"), "--card", "X9"])
    assert code == 2
    assert "no card of that name is known; known: T4" in capsys.readouterr().err


def test_a_simulation_says_what_the_scheduler_saves_and_packing_gains(
    tmp_path: Path,
) -> None:
    plan = make_plan_of(
        tmp_path,
        search_space={"data.batch_size": [4, 8], "model.lr": [i / 9 for i in range(9)]},
        resources={"gpus": 0.25, "accelerator": "T4"},
        scheduler="asha",
    )
    for busy in (0.25, 1.0):
        preview = _preview(plan, epochs=9, step_seconds=0.1, busy=busy)
        worst, saved, one = (
            simulate_packing.simulate(preview, gpus, learn=learn)
            for gpus, learn in (
                (0.25, simulate_packing.rising),
                (0.25, simulate_packing.bell),
                (1.0, simulate_packing.rising),
            )
        )
        assert saved.epochs < worst.epochs == 18 * 9
        assert (worst.most, one.most) == (4, 1)
        # Packing gains what a trial alone leaves idle.
        assert worst.bound(1) == pytest.approx(one.seconds / (4 if busy < 1 else 1))


@pytest.mark.slow
def test_ten_thousand_trials_are_planned_and_shown(tmp_path: Path) -> None:
    """How long that takes is measured by the benchmarks."""
    plan = make_plan_of(
        tmp_path,
        search_space={
            "data.batch_size": [4, 8],
            "model.lr": [i / 5001 for i in range(1, 5001)],
        },
        resources={"gpus": 0.25, "accelerator": "T4"},
    )
    found = _preview(plan, step_seconds=0.1)
    assert len(found.points) == 10_000
    text = io.StringIO()
    Console(file=text, width=80).print(plan_view.view(found))
    assert "GPU hours" in text.getvalue()

"""What one start settles, from the machines that a cluster has."""

from pathlib import Path

import pytest

from sweeper.journal.record import Demand
from sweeper.journal.run_context import RunContext
from sweeper.packing.packing import CARDS, Node
from sweeper.plan import demands
from tests.helpers import make_experiment, make_plan_of

T4, A100 = (CARDS[name].device_bytes for name in ("T4", "A100"))
NO_CARD = Node(cpus=4.0)
TWO_T4 = Node(cpus=8.0, gpus=2, accelerator="T4", device_bytes=T4)
FOUR_A100 = Node(cpus=12.0, gpus=4, accelerator="A100", device_bytes=A100)


@pytest.mark.parametrize(
    ("resources", "machines", "demand"),
    [
        ({}, [NO_CARD], Demand(cpus=1.0)),
        ({"gpus": "auto"}, [NO_CARD, TWO_T4], Demand(cpus=4.0, gpus=1.0)),
        ({"gpus": 0.5}, [TWO_T4], Demand(cpus=2.0, gpus=0.5)),
        ({"gpus": 0, "accelerator": "T4"}, [TWO_T4], Demand(cpus=1.0)),
        # The cores of the machine that has the fewest for each card ...
        ({"gpus": 0.5}, [TWO_T4, FOUR_A100], Demand(cpus=1.5, gpus=0.5)),
        # ... of the type that is asked for.
        (
            {"gpus": 0.5, "accelerator": "T4"},
            [TWO_T4, FOUR_A100],
            Demand(cpus=2.0, gpus=0.5, accelerator="T4"),
        ),
        ({"gpus": 1, "cpus": 3}, [FOUR_A100], Demand(cpus=3.0, gpus=1.0)),
    ],
)
def test_auto_becomes_a_number(
    tmp_path: Path,
    resources: dict[str, object],
    machines: list[Node],
    demand: Demand,
) -> None:
    experiment = make_experiment(tmp_path, resources=resources)
    assert demands.check(experiment, machines) == demand


def _settle(folder: Path, machines: list[Node], **resources: object) -> RunContext:
    plan = make_plan_of(folder, resources={"gpus": 0.5, **resources})
    return demands.settle(plan, machines, wandb_mode="none", say=print)


def test_only_cards_of_the_type_that_is_asked_for_count(tmp_path: Path) -> None:
    context = _settle(tmp_path, [NO_CARD, FOUR_A100, TWO_T4], accelerator="A100")
    assert (context.cards, context.accelerators) == (4, ("A100",))
    assert (context.device_bytes, context.slots) == (A100, 8)
    assert (context.node_cpus, context.node_gpus) == (12.0, 4)


def test_cards_of_several_types_are_taken_for_the_smallest(tmp_path: Path) -> None:
    context = _settle(tmp_path, [TWO_T4, FOUR_A100])
    assert (context.cards, context.accelerators) == (6, ("A100", "T4"))
    assert (context.device_bytes, context.trials) == (T4, 4)

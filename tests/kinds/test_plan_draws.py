"""`plan` draws from a finite space without replacement, as `run` does."""

from pathlib import Path

import pytest

from sweeper.journal.record import TrialRecord
from sweeper.plan import preview
from sweeper.search import algorithms
from sweeper.search.next_trial import Agenda
from sweeper.search.schedulers import Create
from tests.helpers import make_plan_of


@pytest.mark.parametrize("search", ["random", "tpe"])
@pytest.mark.parametrize("trials", [9, 12, 40])
def test_a_plan_of_a_finite_space_shows_no_point_twice(
    tmp_path: Path, search: str, trials: int
) -> None:
    space = {"model.lr": [0.1, 0.2, 0.3], "data.batch_size": [1, 2, 4, 8]}
    plan = make_plan_of(
        tmp_path,
        search=search,
        search_space=space,
        budget={"trials": trials},
        baseline={"model.lr": 0.2, "data.batch_size": 4},
    )
    points, is_exact = preview.sample(plan)
    assert len({tuple(point.items()) for point in points}) == min(trials, 12)
    assert len(points) == min(trials, 12)
    assert points[0] == {"model.lr": 0.2, "data.batch_size": 4}
    assert is_exact is (search == "random" or trials >= 12)


def test_a_plan_of_random_search_shows_the_points_that_run_draws(
    tmp_path: Path,
) -> None:
    plan = make_plan_of(
        tmp_path,
        search="random",
        search_space={"model.lr": "range(20)", "data.batch_size": [1, 2, 4, 8]},
        seeds=[3, 4],
        budget={"trials": 12},
    )
    records: list[TrialRecord] = []
    agenda = Agenda(plan.experiment, plan.space, algorithms.search(plan.experiment))
    while len(records) < 12:
        action = agenda.next(records)
        assert isinstance(action, Create)
        records.append(action.record)
    assert [record.params for record in records] == preview.sample(plan)[0]

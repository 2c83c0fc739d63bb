"""`plan` draws from a finite space without replacement, as `run` does."""

from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeper.planning import dry_run
from sweeper.search import agenda, algorithms
from tests.test_plan import make_plan_of


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
    points, is_exact = dry_run.sample(plan)
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
    rows: list[FrozenTrial] = []
    search = algorithms.search(plan.experiment)
    while len(rows) < 12:
        owed = agenda.next_owed(
            rows, experiment=plan.experiment, space=plan.space, search=search
        )
        assert isinstance(owed, agenda.Owed)
        rows.append(
            create_trial(
                state=TrialState.WAITING,
                params=dict(owed.suggestion.params),
                distributions=dict(owed.suggestion.distributions),
                user_attrs={"point": owed.point, "seed": owed.seed},
            )
        )
    assert [row.params for row in rows] == dry_run.sample(plan)[0]

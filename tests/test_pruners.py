"""Wilcoxon's test across the seeds of two suggestions."""

from collections.abc import Sequence
from itertools import product

import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.study import Study
from optuna.trial import TrialState, create_trial

from sweeper.search.pruners import Wilcoxon


def _study(rival: Sequence[float], own: Sequence[float], mode: str) -> Study:
    """A finished rival and all but the last of the own seeds, then the last one."""
    study = optuna.create_study(storage=InMemoryStorage(), direction=mode)
    for point, values in (("rival", rival), ("own", own[:-1])):
        for seed, value in enumerate(values):
            study.add_trial(
                create_trial(
                    value=value,
                    state=TrialState.COMPLETE,
                    intermediate_values={1: value},
                    user_attrs={"point": point, "seed": seed},
                )
            )
    return study


def _is_stopped(rival: Sequence[float], own: Sequence[float], *, sign: int = 1) -> bool:
    mode = "maximize" if sign == 1 else "minimize"
    study = _study([sign * v for v in rival], [sign * v for v in own], mode)
    trial = study.ask()
    trial.set_user_attr("point", "own")
    trial.set_user_attr("seed", len(own) - 1)
    trial.report(sign * own[-1], 1)
    frozen = study._storage.get_trial(trial._trial_id)
    return Wilcoxon(p_threshold=0.1).prune(study, frozen)


def _exact(gaps: Sequence[float]) -> float:
    """The signed-rank p of distinct gaps, by all 2^n signs."""
    ranks = {gap: rank for rank, gap in enumerate(sorted(map(abs, gaps)), start=1)}
    observed = sum(ranks[abs(gap)] for gap in gaps if gap > 0)
    signs = list(product((0, 1), repeat=len(gaps)))
    sums = [
        sum(s * r for s, r in zip(each, ranks.values(), strict=True)) for each in signs
    ]
    return sum(total >= observed for total in sums) / len(signs)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    "gaps",
    [
        (0.01, 0.02, 0.03),
        (0.01, 0.02, 0.03, 0.04),
        (-0.01, 0.02, 0.03, 0.04, 0.05),
        (0.01, -0.02, 0.03, -0.04, 0.05),
        (-0.01, -0.02, -0.03, -0.04),
    ],
)
def test_it_stops_where_the_exact_test_does(gaps: Sequence[float], sign: int) -> None:
    rival = [0.5 + 0.001 * seed for seed in range(len(gaps))]
    own = [value - gap for value, gap in zip(rival, gaps, strict=True)]
    assert _is_stopped(rival, own, sign=sign) is (_exact(gaps) <= 0.1)


def test_equal_suggestions_and_lone_ones_go_on() -> None:
    assert not _is_stopped([0.5] * 6, [0.5] * 6)
    assert not _is_stopped([], [0.1] * 6)


def test_a_threshold_is_a_probability() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Wilcoxon(p_threshold=2.0)

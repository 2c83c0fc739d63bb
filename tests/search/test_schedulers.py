"""Wilcoxon's test across the seeds of two suggestions."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pytest

from sweeper.journal.record import State
from sweeper.protocol import Decision
from sweeper.search.schedulers import Wilcoxon
from tests.helpers import make_experiment
from tests.judged import Judged


def _is_stopped(
    folder: Path, rival: Sequence[float], own: Sequence[float], *, sign: int = 1
) -> bool:
    """A finished rival and all but the last of the own seeds, then the last one."""
    mode = "max" if sign == 1 else "min"
    experiment = make_experiment(folder, objective={"metric": "acc", "mode": mode})
    trials = Judged(experiment, Wilcoxon(p_threshold=0.1))
    for point, values in enumerate((rival, own[:-1])):
        for seed, value in enumerate(values):
            number = trials.add(point=point, seed=seed)
            trials.report(number, 1, sign * value)
            trials.end(number, State.COMPLETE, sign * value)
    number = trials.add(point=1, seed=len(own) - 1)
    return trials.report(number, 1, sign * own[-1]) is Decision.STOP


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
def test_it_stops_where_the_exact_test_does(
    tmp_path: Path, gaps: Sequence[float], sign: int
) -> None:
    rival = [0.5 + 0.001 * seed for seed in range(len(gaps))]
    own = [value - gap for value, gap in zip(rival, gaps, strict=True)]
    assert _is_stopped(tmp_path, rival, own, sign=sign) is (_exact(gaps) <= 0.1)


def test_equal_suggestions_and_lone_ones_go_on(tmp_path: Path) -> None:
    assert not _is_stopped(tmp_path, [0.5] * 6, [0.5] * 6)
    assert not _is_stopped(tmp_path, [], [0.1] * 6)


def test_a_threshold_is_a_probability() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Wilcoxon(p_threshold=2.0)

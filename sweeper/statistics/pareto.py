"""Order of points where there is more than one objective.

Every function takes points that are to be small in each coordinate. Optuna has the
first front only (`Study.best_trials`).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# N points, M objectives
Points = NDArray[np.float64]


def fronts(points_NM: Points) -> list[int]:
    """Return the non-dominated rank of each point: 1 on the Pareto front.

    A point dominates another if it is no worse in any objective and better in one;
    equal points share a rank. Efficient non-dominated sorting (Zhang et al. 2015): in
    lexical order no point is dominated by a later one.

    >>> fronts(np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 3.0], [1.0, 3.0]]))
    [1, 1, 2, 1]
    """
    order_N = np.lexsort(points_NM.T[::-1])
    sorted_NM = points_NM[order_N]
    rank_N = np.ones(len(points_NM), dtype=int)
    for i, point_M in enumerate(sorted_NM):
        before = sorted_NM[:i]
        is_dominating = (before <= point_M).all(axis=1) & (before < point_M).any(axis=1)
        rank_N[i] += rank_N[:i].max(initial=0, where=is_dominating)
    return [int(rank) for rank in rank_N[np.argsort(order_N)]]


def crowding(points_NM: Points) -> list[float]:
    """Return the crowding distance of each point of one front (Deb et al. 2002).

    The sum, over objectives, of the distance between its two neighbours, in units of
    the front's extent; infinite for the first and the last one.

    >>> crowding(np.array([[0.0, 4.0], [1.0, 1.0], [4.0, 0.0]]))
    [inf, 2.0, inf]
    """
    distance_N = np.zeros(len(points_NM))
    for values_N in points_NM.T:
        order_N = np.argsort(values_N, kind="stable")
        extent = values_N[order_N[-1]] - values_N[order_N[0]]
        if extent == 0:
            continue
        distance_N[order_N[[0, -1]]] = np.inf
        gaps = values_N[order_N[2:]] - values_N[order_N[:-2]]
        distance_N[order_N[1:-1]] += gaps / extent
    return [float(distance) for distance in distance_N]


def order(points: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """Return the index and the front of every point, the best first.

    By front, then the less crowded ones first, then in the given order.
    """
    if not points:
        return []
    points_NM = np.array(points, dtype=np.float64)
    front_N = np.array(fronts(points_NM))
    crowding_N = np.zeros(len(points))
    for front in set(front_N.tolist()):
        crowding_N[front_N == front] = crowding(points_NM[front_N == front])
    return [(int(i), int(front_N[i])) for i in np.lexsort((-crowding_N, front_N))]

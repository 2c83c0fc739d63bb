"""Order of points with several objectives.

Smaller is better in every coordinate. Optuna offers only the first front
(`Study.best_trials`).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# N points, M objectives
Points = NDArray[np.float64]


def fronts(points_NM: Points) -> list[int]:
    """Return the non-dominated rank of each point: 1 on the Pareto front.

    A point dominates another if it is better in one objective and not worse in any.
    Equal points share a rank. Efficient non-dominated sorting (Zhang et al. 2015): in
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

    It is the distance between the two neighbours of a point, relative to the extent of
    the front and summed over objectives; infinite at both ends.

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
    """Return the index and the front of every point, best first.

    Points are sorted by front, then from less to more crowded, then by index.
    """
    if not points:
        return []
    points_NM = np.array(points, dtype=np.float64)
    front_N = np.array(fronts(points_NM))
    crowding_N = np.zeros(len(points))
    for front in set(front_N.tolist()):
        crowding_N[front_N == front] = crowding(points_NM[front_N == front])
    return [(int(i), int(front_N[i])) for i in np.lexsort((-crowding_N, front_N))]

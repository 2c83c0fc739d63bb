"""Which of several points are best where there is more than one objective; pure.

Every function takes points that are to be small in each coordinate.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# N points, M objectives
Points = NDArray[np.float64]


def fronts(points_NM: Points) -> list[int]:
    """The non-dominated rank of each point: 1 on the Pareto front.

    A point dominates another where it is no worse in any objective and better in one;
    equal points share a rank. Efficient non-dominated sorting (Zhang et al. 2015): in
    lexical order no point is dominated by a later one, and one that is dominated by a
    member of a front is so by a member of each front before it.

    >>> fronts(np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 3.0], [1.0, 3.0]]))
    [1, 1, 2, 1]
    """
    found = [0] * len(points_NM)
    members: list[list[int]] = []
    for index in np.lexsort(points_NM.T[::-1]):
        low, high = 0, len(members)
        while low < high:
            middle = (low + high) // 2
            if _is_dominated(points_NM[index], by=points_NM[members[middle]]):
                low = middle + 1
            else:
                high = middle
        if low == len(members):
            members.append([])
        members[low].append(int(index))
        found[index] = low + 1
    return found


def _is_dominated(point_M: Points, *, by: Points) -> bool:
    is_as_good_N = (by <= point_M).all(axis=1)
    is_better_N = (by < point_M).any(axis=1)
    return bool((is_as_good_N & is_better_N).any())


def crowding(points_NM: Points) -> list[float]:
    """The crowding distance of each point of one front (Deb et al. 2002, NSGA-II).

    The sum, over objectives, of how far its two neighbours lie apart, in units of the
    front's extent; infinite for the first and the last one.

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
    """Every point as its place in `points` and its front, the best first.

    By front, then the less crowded ones first, then in the given order.
    """
    if not points:
        return []
    points_NM = np.array(points, dtype=np.float64)
    front = fronts(points_NM)
    keys: dict[int, tuple[int, float]] = {}
    for number in set(front):
        places = [place for place, own in enumerate(front) if own == number]
        for place, distance in zip(places, crowding(points_NM[places]), strict=True):
            keys[place] = (number, -distance)
    return [(place, front[place]) for place in sorted(keys, key=lambda p: (keys[p], p))]

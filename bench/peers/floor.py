"""The floor: a pool of two warm processes and nothing else."""

import multiprocessing
import sys
from pathlib import Path


def one(given: tuple[str, int, float]) -> None:
    import work

    folder, width, rate = given
    work.fit(Path(folder), width=width, rate=rate)


if __name__ == "__main__":
    out = Path(sys.argv[1])
    grid = [(w, r) for w in (16, 32, 48, 64) for r in (1e-3, 2e-3, 5e-3, 1e-2)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(one, [(f"{out}/{w}_{r}", w, r) for w, r in grid], chunksize=1)

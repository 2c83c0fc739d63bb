"""What becomes of memory that a training frees: it is kept for the next batch.

It changes the process that calls it and does nothing where the C library is not glibc.
"""

import ctypes

# mallopt's numbers, from malloc.h.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
ALL, MOST = 2**31 - 1, 2**30


def keep_freed_memory() -> bool:
    """Give no memory back to the kernel before the process ends; whether that holds.

    Otherwise the pages of every batch of some MB are taken from the kernel anew, and
    zeroed: a tenth of the time of an image of 64 px.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(MMAP_THRESHOLD, MOST) and mallopt(TRIM_THRESHOLD, ALL))

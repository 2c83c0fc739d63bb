"""A setting of glibc's allocator that keeps freed memory for the next batch.

It affects the calling process only and has no effect if the C library is not glibc.
"""

import ctypes

# mallopt's numbers, from malloc.h.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
ALL, MOST = 2**31 - 1, 2**30


def keep_freed_memory() -> bool:
    """Keep freed memory until the process ends; return True if glibc accepts that.

    Otherwise the kernel provides and zeroes new pages for every batch of some MB, which
    takes a tenth of the time of an image of 64 px.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(MMAP_THRESHOLD, MOST) and mallopt(TRIM_THRESHOLD, ALL))

"""Memory that one training step frees and the next one needs again."""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # glibc's names, in malloc.h
KEPT = 2**31 - 1  # bytes at the heap's end that may be free: all
SHARED = 2**25  # bytes from which memory is the system's own: the largest that every glibc takes


def keep_freed_memory() -> None:
    """Have glibc keep what is freed, up to the process's end.

    By default it gives a large piece back to the system at once, which then clears it page by page for the next step:
    of TabM's, which needs tens of megabytes, that took an eighth to a third. Other systems are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, KEPT)
        mallopt(MMAP_THRESHOLD, SHARED)

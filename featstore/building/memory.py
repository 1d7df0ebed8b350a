"""Settings for the memory that a process has freed."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h of glibc
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Reuse freed memory for the next allocation; returns False and changes nothing without glibc.

    For loops that free and allocate the same megabytes in every step: training, embedding, searching. By default glibc
    returns large blocks to the system, which clears each page before it is used again. That can take longer than the
    computation.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    return bool(libc.mallopt(M_MMAP_MAX, 0) and libc.mallopt(M_TRIM_THRESHOLD, NEVER))

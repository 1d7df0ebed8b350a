"""What a process does with memory it has freed."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h of glibc
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep what it frees for its next allocation; False, and nothing done, without glibc's malloc.

    For work whose every step frees and asks for the same megabytes, of training, embedding or searching. glibc gives
    large blocks back to the system, which has to clear each page when it hands them out again: that can take longer
    than the arithmetic.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    return bool(libc.mallopt(M_MMAP_MAX, 0) and libc.mallopt(M_TRIM_THRESHOLD, NEVER))

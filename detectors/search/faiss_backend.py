"""The only module that imports faiss, with settings that make it several times faster."""

import os
from functools import cache
from pathlib import Path
from types import ModuleType


@cache
def load() -> ModuleType:
    """Import the installed faiss, CPU or GPU; ImportError if there is none.

    The OpenBLAS in faiss does not detect recent processors and then uses SSE kernels (5 times slower), so this sets the
    kernel before the first import. There is no effect if faiss has been imported already or the environment sets a
    kernel.
    """
    kernel = kernel_of_this_cpu()
    if kernel:
        os.environ.setdefault("OPENBLAS_CORETYPE", kernel)
    import faiss

    return faiss


def kernel_of_this_cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """OpenBLAS core type for the flags of the processor; empty if unknown."""
    try:
        lines = cpuinfo.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return ""
    flags = next((set(line.split()) for line in lines if line.startswith("flags")), set())
    if {"avx512f", "avx512dq", "avx512bw", "avx512vl"} <= flags:
        return "SkylakeX"
    return "Haswell" if {"avx2", "fma"} <= flags else ""

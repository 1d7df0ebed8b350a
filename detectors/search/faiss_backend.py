"""The only module that imports faiss, with settings that make it several times faster."""

import os
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

SLOW = {"prescott", "core2", "penryn", "dunnington", "atom", "nehalem", "sandybridge", "barcelona", "generic"}
"""Kernels of OpenBLAS without AVX2."""


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


def facts() -> dict[str, Any]:
    """Version and GPUs of faiss, the kernel that its OpenBLAS has picked, and whether a better one is known here."""
    from threadpoolctl import threadpool_info

    faiss = load()
    pools = [pool for pool in threadpool_info() if "faiss" in pool.get("filepath", "")]
    kernel = next((str(pool["architecture"]) for pool in pools if pool.get("architecture")), "")
    better = kernel_of_this_cpu()
    gpus = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
    slow = bool(better) and kernel.lower() in SLOW
    return {"version": str(faiss.__version__), "gpus": int(gpus), "kernel": kernel, "slow": slow, "better": better}

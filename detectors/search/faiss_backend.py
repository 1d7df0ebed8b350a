"""The only module that imports faiss, with settings that make it several times faster."""

import os
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np


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


def available() -> bool:
    """Whether faiss can be imported."""
    try:
        load()
    except ImportError:
        return False
    return True


class InnerProducts:
    """The k largest inner products of float32 queries with the rows of a bank, on a GPU if faiss has one."""

    def __init__(self, bank: np.ndarray) -> None:
        faiss = load()
        # Below this threshold faiss uses a loop instead of BLAS, which is slower from about 8 queries on.
        faiss.cvar.distance_compute_blas_threshold = 8 * bank.shape[1]
        on_gpu = hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0
        index = faiss.IndexFlatIP(bank.shape[1])
        if on_gpu:
            self._resources = faiss.StandardGpuResources()
            index = faiss.index_cpu_to_gpu(self._resources, 0, index)
        self.input_bits = 11 if on_gpu else 24  # a GPU may round factors to TF32
        self.max_k = 2048 if on_gpu else 2**31
        index.add(np.ascontiguousarray(bank))
        self._index = index

    def largest(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Values (m, k), falling, and rows (m, k)."""
        values, rows = self._index.search(np.ascontiguousarray(queries), k)
        return values, rows

"""Kinds of faiss index: their factory texts and search parameters, training, and copies on a GPU."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from detectors.search.faiss_backend import load

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

POINTS_PER_LIST = 39
"""Training points per centroid, the least number for which faiss gives no warning about k-means."""

EF_CONSTRUCTION = 200
"""Queue length of HNSW while it links a new row; with the 40 of faiss, whole clusters of a bank are never found."""

TRAINING_VERSION = 1
"""Increase it when `train_index` changes the index that a factory text gives; saved indexes are then rebuilt."""


@dataclass(frozen=True)
class Kind:
    """Factory text of an index by its number of rows and dimensions, and the parameters of a search."""

    factory: Callable[[int, int], str]
    parameters: str = ""
    """Name of the faiss class of search parameters."""
    effort: str = ""
    """Name of the parameter that trades speed for recall."""
    default: int = 0
    rerank: int = 2
    """Proposed rows per neighbour whose distances are computed exactly."""
    on_gpu: bool = False
    any_threads: bool = True
    """Whether the index is the same for any number of threads; HNSW links rows in the order of its threads."""


def _lists(n: int) -> int:
    return max(1, min(round(4 * math.sqrt(n)), n // POINTS_PER_LIST))


KINDS = {
    "flat": Kind(lambda n, d: "Flat", on_gpu=True),
    "ivf": Kind(lambda n, d: f"IVF{_lists(n)},Flat", "SearchParametersIVF", "nprobe", 16, on_gpu=True),
    "ivfpq": Kind(lambda n, d: f"IVF{_lists(n)},PQ{d // 2}x4fs", "SearchParametersIVF", "nprobe", 16, rerank=16),
    "hnsw": Kind(lambda n, d: "HNSW32", "SearchParametersHNSW", "efSearch", 64, any_threads=False),
}


def kind_named(name: str) -> Kind:
    """Kind by name; ValueError for an unknown name lists the known ones."""
    if name not in KINDS:
        raise ValueError(f"unknown index {name!r}; choose from {', '.join(KINDS)}")
    return KINDS[name]


def train_index(factory: str, X: np.ndarray, seed: int) -> Any:
    """Index of float32 rows X (n, d) by squared Euclidean distance, which is twice the cosine distance of unit rows.

    The same rows, text and seed give the same bytes on one machine and one thread.
    """
    faiss = load()
    faiss.cvar.distance_compute_blas_threshold = 8 * X.shape[1]  # as in faiss_backend
    index = faiss.index_factory(X.shape[1], factory, faiss.METRIC_L2)
    inner: Any = faiss.downcast_index(index)
    parts: list[Any] = [part for part in (inner, getattr(inner, "pq", None)) if hasattr(part, "cp")]
    for clustering in (part.cp for part in parts):
        clustering.seed = seed
        clustering.min_points_per_centroid = 1  # no warning for a small bank
        clustering.max_points_per_centroid = POINTS_PER_LIST  # the default, 256, takes six times as long
    if hasattr(inner, "hnsw"):
        inner.hnsw.efConstruction = EF_CONSTRUCTION
    index.train(X)
    index.add(X)
    return index


def search_parameters(kind: Kind, effort: int | None) -> Any:
    """faiss parameters of one search, or None for a kind without any; ValueError for an effort below 1."""
    if effort is not None and effort < 1:
        raise ValueError(f"expected at least 1 probe, got {effort}")
    if not kind.effort:
        return None
    return getattr(load(), kind.parameters)(**{kind.effort: effort or kind.default})


@dataclass(frozen=True)
class GpuIndex:
    """A copy of an index on a GPU, and the resources that faiss needs as long as the copy is in use."""

    index: Any
    resources: Any


def copy_to_gpu(index: Any, kind: Kind) -> GpuIndex | None:
    """Copy of the index on the first GPU; None without a GPU, or for a kind that faiss searches only on the CPU."""
    faiss = load()
    if not (kind.on_gpu and hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0):
        return None
    resources = faiss.StandardGpuResources()
    return GpuIndex(faiss.index_cpu_to_gpu(resources, 0, index), resources)


def limit_threads(threads: int) -> AbstractContextManager[object]:
    """Context with at most `threads` threads in faiss and its BLAS."""
    limit: AbstractContextManager[object] = _pools().limit(limits=threads)
    return limit


@cache
def _pools() -> "ThreadpoolController":
    from threadpoolctl import ThreadpoolController

    load()  # threadpoolctl finds only the pools of loaded libraries
    return ThreadpoolController()

"""Kinds of approximate index in faiss: made for n rows of d values, trained from one seed, asked with some effort."""

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
"""Training points per centroid below which faiss calls k-means unsafe."""

LINKING = 200
"""Rows that HNSW keeps in sight while it links a new one; at faiss's 40 whole clusters of a bank are never found."""

TRAINING = 1
"""To be raised when `trained` makes another index of the same text."""


@dataclass(frozen=True)
class Kind:
    """Factory text of an index for n rows of d values, and what says how hard a search tries."""

    factory: Callable[[int, int], str]
    parameters: str = ""
    """Class of faiss with the parameters of a search."""
    effort: str = ""
    """The parameter that trades speed for recall."""
    default: int = 0
    rerank: int = 2
    """Candidates per neighbour that are measured exactly."""
    on_gpu: bool = False
    any_threads: bool = True
    """Whether threads leave the index as it is; HNSW links rows as its threads get to them."""


def _lists(n: int) -> int:
    return max(1, min(round(4 * math.sqrt(n)), n // POINTS_PER_LIST))


KINDS = {
    "flat": Kind(lambda n, d: "Flat", on_gpu=True),
    "ivf": Kind(lambda n, d: f"IVF{_lists(n)},Flat", "SearchParametersIVF", "nprobe", 16, on_gpu=True),
    "ivfpq": Kind(lambda n, d: f"IVF{_lists(n)},PQ{d // 2}x4fs", "SearchParametersIVF", "nprobe", 16, rerank=16),
    "hnsw": Kind(lambda n, d: "HNSW32", "SearchParametersHNSW", "efSearch", 64, any_threads=False),
}


def kind_named(name: str) -> Kind:
    """Kind by name; ValueError lists the names."""
    if name not in KINDS:
        raise ValueError(f"unknown index {name!r}; choose from {', '.join(KINDS)}")
    return KINDS[name]


def trained(factory: str, X: np.ndarray, seed: int) -> Any:
    """Index of float32 rows (n, d) by squared Euclidean distance, which is twice the cosine distance of unit rows.

    The same rows, text and seed give the same index, byte for byte, on one machine and one thread.
    """
    faiss = load()
    faiss.cvar.distance_compute_blas_threshold = 8 * X.shape[1]  # as in faiss_backend
    index = faiss.index_factory(X.shape[1], factory, faiss.METRIC_L2)
    inner: Any = faiss.downcast_index(index)
    parts: list[Any] = [part for part in (inner, getattr(inner, "pq", None)) if hasattr(part, "cp")]
    for clustering in (part.cp for part in parts):
        clustering.seed = seed
        clustering.min_points_per_centroid = 1  # says nothing where a bank is small
        clustering.max_points_per_centroid = POINTS_PER_LIST  # the default, 256, takes six times as long
    if hasattr(inner, "hnsw"):
        inner.hnsw.efConstruction = LINKING
    index.train(X)
    index.add(X)
    return index


def search_parameters(kind: Kind, effort: int | None) -> Any:
    """Parameters of one search, None where the kind has none; ValueError for an effort below 1."""
    if effort is not None and effort < 1:
        raise ValueError(f"expected at least 1 probe, got {effort}")
    if not kind.effort:
        return None
    return getattr(load(), kind.parameters)(**{kind.effort: effort or kind.default})


@dataclass(frozen=True)
class OnGpu:
    """A copy of an index on a GPU, and the resources that must live as long."""

    index: Any
    resources: Any


def on_gpu(index: Any, kind: Kind) -> OnGpu | None:
    """The index on the first GPU, None without one or for a kind that faiss serves by the processor alone."""
    faiss = load()
    if not (kind.on_gpu and hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0):
        return None
    resources = faiss.StandardGpuResources()
    return OnGpu(faiss.index_cpu_to_gpu(resources, 0, index), resources)


def limited(threads: int) -> AbstractContextManager[object]:
    """At most so many threads in faiss, and in the BLAS below it, while the block lasts."""
    limit: AbstractContextManager[object] = _pools().limit(limits=threads)
    return limit


@cache
def _pools() -> "ThreadpoolController":
    from threadpoolctl import ThreadpoolController

    load()  # its pools are found only once they are there
    return ThreadpoolController()

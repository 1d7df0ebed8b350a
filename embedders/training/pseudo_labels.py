"""Pseudo-attributes by clustering embeddings, and class centres from few clips (imprinting)."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import sklearn.cluster
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from featstore.spec import kinds_of, split_spec, typed, unknown

CLIPS_PER_COMPONENT = 4  # fewer are too few for a cluster


Clustering = Callable[[np.ndarray, str, int], np.ndarray]
"""Cluster numbers (n,) int64 from 0 of vectors (n, dim) of one machine, section and domain; domain and seed follow."""


@dataclass(frozen=True, kw_only=True)
class LeastBIC:
    """A Gaussian mixture with full covariance of up to `most` components, selected by BIC; Fujimura et al. 2025."""

    most: int = 16

    def __call__(self, X: np.ndarray, domain: str, seed: int) -> np.ndarray:
        """Cluster X (n, dim)."""
        return clusters(X, max_components=self.most, seed=seed)


@dataclass(frozen=True, kw_only=True)
class KMeans:
    """k-means with a number of clusters per domain: `target` in the target domain, `source` elsewhere."""

    source: int = 7
    target: int = 1

    def __call__(self, X: np.ndarray, domain: str, seed: int) -> np.ndarray:
        """Cluster X (n, dim)."""
        return k_means(X, self.target if domain == "target" else self.source, seed=seed)


CLUSTERINGS: dict[str, type[LeastBIC] | type[KMeans]] = {"bic": LeastBIC, "kmeans": KMeans}


def clustering_of(text: str) -> Clustering:
    """Clustering of a text: bic, bic:most=8, kmeans or kmeans:source=7,target=1; ValueError says what does not fit."""
    name, pairs = split_spec(text, "clusters", CLUSTERINGS.__contains__)
    if name not in CLUSTERINGS:
        raise ValueError(unknown("clusters", name, CLUSTERINGS))
    values = typed(pairs, kinds_of(CLUSTERINGS[name]), f"clusters {name}", f"clusters={text}")
    if min(values.values(), default=1) < 1:
        raise ValueError(f"clusters={text}: expected numbers of at least 1")
    return CLUSTERINGS[name](**values)


def pseudo_labels(
    X: np.ndarray, group: Sequence[tuple[str, ...]], clustering: Clustering, *, seed: int = 0
) -> np.ndarray:
    """Cluster number of each row of X (n, dim) within its group, (n,) int64; the last part of a group is its domain."""
    X = _finite(X)
    if len(group) != len(X):
        raise ValueError(f"expected one group for each of {len(X)} embeddings, got {len(group)}")
    rows_of: dict[tuple[str, ...], list[int]] = {}
    for row, name in enumerate(group):
        rows_of.setdefault(name, []).append(row)
    labels = np.zeros(len(X), dtype=np.int64)
    for name, rows in rows_of.items():
        labels[rows] = clustering(X[rows], name[-1], seed)
    return labels


def k_means(X: np.ndarray, k: int, *, seed: int = 0) -> np.ndarray:
    """Cluster number of each row of X (n, dim) by k-means, (n,) int64 from 0; no more clusters than distinct rows.

    The best of 10 starts is taken. The order of rows does not matter.
    """
    X = _finite(X)
    k = min(k, len(np.unique(X, axis=0)))
    if k < 2:
        return np.zeros(len(X), dtype=np.int64)
    order = np.lexsort(X.T)
    with threadpool_limits(1):
        cluster = sklearn.cluster.KMeans(k, n_init=10, random_state=seed).fit_predict(X[order])
    labels = np.empty(len(X), dtype=np.int64)
    labels[order] = _numbered(cluster)
    return labels


def clusters(X: np.ndarray, *, max_components: int = 16, n_dims: int = 8, seed: int = 0) -> np.ndarray:
    """Cluster number of each row of X (n, dim) by the Gaussian mixture with the least BIC, (n,) int64 from 0.

    X is first reduced to `n_dims` principal components: in 128 dimensions a full covariance has 8,256 parameters, and
    BIC would always select a single component. The order of rows does not matter; equal rows share a cluster.
    """
    if max_components < 1 or n_dims < 1:
        raise ValueError(f"max_components={max_components}, n_dims={n_dims}: expected at least 1 of each")
    X = _finite(X)
    order = np.lexsort(X.T)
    n_distinct = len(np.unique(X, axis=0))
    most = min(max_components, len(X) // CLIPS_PER_COMPONENT, n_distinct)
    if most < 2:
        return np.zeros(len(X), dtype=np.int64)
    with threadpool_limits(1):
        reduced = PCA(min(n_dims, *X.shape), svd_solver="full").fit_transform(X[order])
        reduced /= max(float(reduced.std()), np.finfo(np.float64).tiny)  # so that reg_covar is relative to the data
        component = _least_bic(reduced, most, seed).predict(reduced)
    labels = np.empty(len(X), dtype=np.int64)
    labels[order] = _numbered(component)
    return labels


def imprint(centres: np.ndarray, X: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Copy of the class centres in which those of the classes in `label` are the mean direction of their embeddings.

    X: embeddings (n, dim). label: their classes (n,). centres: (n_classes, dim), or (n_classes, clusters, dim), where
    the first cluster is set. Chen et al. 2022 do so for attributes of the target domain, which have few clips.
    """
    X, label = _finite(X), np.asarray(label)
    if label.shape != (len(X),) or X.shape[1] != centres.shape[-1]:
        raise ValueError(
            f"expected a class for each of {len(X)} embeddings of {centres.shape[-1]} dimensions, got {label.shape} "
            f"classes and {X.shape[1]} dimensions"
        )
    if len(label) and not 0 <= label.min() <= label.max() < len(centres):
        raise ValueError(f"expected classes from 0 to {len(centres) - 1}, got {label.min()} to {label.max()}")
    imprinted = centres.copy()
    first = imprinted if imprinted.ndim == 2 else imprinted[:, 0]
    for c in np.unique(label):
        first[c] = _unit(_unit(X[label == c]).mean(axis=0))
    return imprinted


def _least_bic(X: np.ndarray, most: int, seed: int) -> GaussianMixture:
    """Mixture of 1 to `most` components with the least BIC; at a tie the smaller one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # BIC also compares mixtures that have not converged
        fits = [GaussianMixture(k, reg_covar=1e-4, random_state=seed).fit(X) for k in range(1, most + 1)]
    return min(fits, key=lambda mixture: float(mixture.bic(X)))


def _numbered(component: np.ndarray) -> np.ndarray:
    """Cluster numbers in order of first appearance, without gaps."""
    _, first, number = np.unique(component, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    numbered: np.ndarray = rank[number]
    return numbered


def _unit(X: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = X / np.maximum(np.linalg.norm(X, axis=-1, keepdims=True), np.finfo(np.float64).tiny)
    return scaled


def _finite(X: np.ndarray) -> np.ndarray:
    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 2 or not np.isfinite(X).all():
        raise ValueError(f"expected finite embeddings (n, dim), got shape {X.shape} or values that are not finite")
    return X

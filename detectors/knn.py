"""Mean cosine distance to the nearest training clips."""

import copy
from typing import Literal

import numpy as np

from detectors.banks.bands import Bands, split_bands
from detectors.banks.memmixup import target_mixes
from detectors.banks.smote import check_share, target_smote
from detectors.base import Fitted, content_order
from detectors.geometry import unit
from detectors.search.neighbours import Bank, nearest


class KNN(Fitted):
    """Mean cosine distance, in [0, 2], to the k nearest normal clips; the usual first choice with k = 1.

    `bank="two_bank"` searches each domain by itself and takes the minimum; `k` is then capped at the clips a domain has
    (10 in the target domain, or 3). With k = 1 that is the same as one pooled bank, and without domains it is pooled.
    `source_clusters` (16 in Wilkinghoff's systems) replaces the clips outside the target domain by k-means centres of
    their directions, at length 1; every target clip stays.

    `smote` adds points between target clips until there are that share of the source clips (0.2 in published systems).
    `memmixup` adds 0.9 t + 0.1 s for every target clip t and each of that many source clips s (990 in GenRepASD).

    `bands` searches that many equal parts of the vectors each by itself, say the 8 joined views of BEATs with
    `pool=bands`. The score is the mean of their distances, each divided by the standard deviation of that band's
    leave-one-out distances, and no longer in [0, 2].

    Reference scores are exact leave-one-out: a clip's own row is left out of the search. With `source_clusters` that
    holds for target clips; the others are cross-fitted, since each has a part in the centres. With `smote`, `memmixup`
    or `bands` all are.
    """

    def __init__(
        self,
        *,
        k: int = 1,
        bank: Literal["pooled", "two_bank"] = "pooled",
        source_clusters: int | None = None,
        smote: float = 0.0,
        memmixup: int = 0,
        bands: int = 1,
        seed: int = 0,
    ) -> None:
        self.k = k
        self.bank = bank
        self.source_clusters = source_clusters
        self.smote = smote
        self.memmixup = memmixup
        self.bands = bands
        self.seed = seed

    def _least(self) -> int:
        if self.k < 1 or (self.source_clusters is not None and self.source_clusters < 1):
            raise ValueError(f"k={self.k}, source_clusters={self.source_clusters}: expected at least 1")
        if self.bank not in ("pooled", "two_bank"):
            raise ValueError(f"unknown bank {self.bank!r}; choose from pooled, two_bank")
        check_share(self.smote)
        if self.memmixup < 0 or self.bands < 1:
            raise ValueError(f"memmixup={self.memmixup}, bands={self.bands}: expected at least 0 and at least 1")
        return self.k if self.bank == "pooled" and self.source_clusters is None else 1

    def _learn(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> None:
        if self.bands > 1:
            one = copy.copy(self)
            one.bands = 1
            unit_of = KNN(k=self.k, bank=self.bank)  # of the clips themselves: quick, and as honest
            self.bands_ = Bands.fit(one, unit_of, split_bands(X, self.bands), domain, group)
            return
        rows = np.arange(len(X))  # of the training matrix; -1 for a centre or a made point
        if self.smote or self.memmixup:
            made = self._made(X, domain)
            X, rows = np.concatenate([X, made]), np.concatenate([rows, np.full(len(made), -1)])
            domain = np.concatenate([domain, np.full(len(made), "target")])
        if self.source_clusters is not None:
            source = domain != "target"
            centres = _centres(unit(X[source]), self.source_clusters, self.seed) if source.any() else X[:0]
            X = np.concatenate([centres, X[~source]])
            rows = np.concatenate([np.full(len(centres), -1), rows[~source]])
            domain = np.concatenate([np.full(len(centres), "source"), domain[~source]])
        keys = domain if self.bank == "two_bank" else np.full(len(X), "")
        names = np.unique(keys)
        self.banks_ = [Bank.of(X[keys == name]) for name in names]
        self.bank_rows_ = [rows[keys == name] for name in names]

    def _made(self, X: np.ndarray, domain: np.ndarray) -> np.ndarray:
        """Target rows that no clip is."""
        between = target_smote(X, domain, share=self.smote, seed=self.seed)
        mixed = target_mixes(X, domain, sources=self.memmixup, seed=self.seed) if self.memmixup else between[:0]
        return np.concatenate([between, mixed])

    def _score(self, X: np.ndarray) -> np.ndarray:
        if self.bands > 1:
            return self.bands_.score(split_bands(X, self.bands))
        distances = [self._mean_distance(X, bank, None) for bank in self.banks_]
        least: np.ndarray = np.min(distances, axis=0)
        return least

    def _reference(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> np.ndarray:
        if self.smote or self.memmixup or self.bands > 1:
            return self.cross_fitted(X, domain, group)
        if self.source_clusters is None:
            return self._leave_one_out(X)
        scores = self.cross_fitted(X, domain, group)
        target = domain == "target"
        if target.sum() > 1 or not target.all():
            scores[target] = self._leave_one_out(X)[target]
        return scores

    def _leave_one_out(self, X: np.ndarray) -> np.ndarray:
        least = np.full(len(X), np.inf)
        for bank, rows in zip(self.banks_, self.bank_rows_, strict=True):
            position = np.full(len(X), -1)
            position[rows[rows >= 0]] = np.flatnonzero(rows >= 0)
            member = position >= 0
            outside = ~member
            if outside.any():
                least[outside] = np.minimum(least[outside], self._mean_distance(X[outside], bank, None))
            if member.any() and len(bank.rows) > 1:
                own = self._mean_distance(X[member], bank, position[member])
                least[member] = np.minimum(least[member], own)
        return least

    def _mean_distance(self, X: np.ndarray, bank: Bank, exclude: np.ndarray | None) -> np.ndarray:
        k = min(self.k, len(bank.rows) - (exclude is not None))
        mean: np.ndarray = nearest(X, bank, k, exclude=exclude)[0].mean(axis=1)
        return mean


def _centres(X: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """k-means centres (at most one per distinct row) of X; the order of the rows does not matter."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    content = content_order(X)
    clusters = min(clusters, int(content.max()) + 1)
    with threadpool_limits(1):
        found = KMeans(clusters, n_init=1, random_state=seed).fit(X[np.argsort(content, kind="stable")])
    centres: np.ndarray = found.cluster_centers_
    return centres

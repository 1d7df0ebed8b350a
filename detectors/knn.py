"""Mean cosine distance to the nearest training clips."""

import copy
from typing import Literal

import numpy as np

from detectors.banks.bands import Bands, split_bands
from detectors.banks.memmixup import target_mixes
from detectors.banks.smote import check_share, target_smote
from detectors.banks.varmin import leave_one_out, varmin_bank
from detectors.base import Fitted, content_order
from detectors.geometry import unit
from detectors.search.neighbours import Bank, nearest
from detectors.shared import longest_list, once


class KNN(Fitted):
    """Mean cosine distance, in [0, 2], to the k nearest normal clips; the usual first choice with k = 1.

    `bank="two_bank"` searches each domain separately and takes the minimum. `k` is then capped at the number of clips
    in a domain (10 in the target domain, or 3). With k = 1 or without domains, the result is that of one pooled bank.
    `source_clusters` (16 in Wilkinghoff's systems) replaces the clips outside the target domain with k-means centres of
    their unit vectors; every target clip stays.

    `smote` adds points between target clips until their number is that share of the source clips (0.2 in published
    systems). `memmixup` adds 0.9 t + 0.1 s for every target clip t and each of that many source clips s (990 in
    GenRepASD).

    `bands` splits the vectors into that many equal parts and searches each part separately, for example the 8 joined
    views of BEATs with `pool=bands`. The score is the mean over the bands of the distance divided by the standard
    deviation of that band's leave-one-out distances; its range is not [0, 2].

    `varmin` lowers half the distance to each bank row by alpha times its mean distance to that many nearest others (see
    `banks.varmin`); 4 is published, 0 leaves it out. Exact copies then count once. The score can be negative. With
    `bands`, it is the plain mean over the bands, as in BEAM.

    Reference scores are exact leave-one-out: the search skips a clip's own row. With `source_clusters` this holds for
    target clips; the others are cross-fitted, because each contributes to the centres. With `smote`, `memmixup` or
    `bands`, all are cross-fitted. With `varmin`, a clip is left out of the bank, of the mean distances and of alpha;
    beside `two_bank`, `source_clusters`, `smote` or `memmixup`, all are cross-fitted.
    """

    def __init__(  # noqa: PLR0913 - the options of six published systems
        self,
        *,
        k: int = 1,
        bank: Literal["pooled", "two_bank"] = "pooled",
        source_clusters: int | None = None,
        smote: float = 0.0,
        memmixup: int = 0,
        bands: int = 1,
        varmin: int = 0,
        seed: int = 0,
    ) -> None:
        self.k = k
        self.bank = bank
        self.source_clusters = source_clusters
        self.smote = smote
        self.memmixup = memmixup
        self.bands = bands
        self.varmin = varmin
        self.seed = seed

    def _min_clips(self) -> int:
        if self.k < 1 or (self.source_clusters is not None and self.source_clusters < 1):
            raise ValueError(f"k={self.k}, source_clusters={self.source_clusters}: expected at least 1")
        if self.bank not in ("pooled", "two_bank"):
            raise ValueError(f"unknown bank {self.bank!r}; choose from pooled, two_bank")
        check_share(self.smote)
        if min(self.memmixup, self.varmin) < 0 or self.bands < 1:
            raise ValueError(
                f"memmixup={self.memmixup}, varmin={self.varmin}, bands={self.bands}: expected at least 0, 0 and 1"
            )
        return self.k if self.bank == "pooled" and self.source_clusters is None else 1

    def _learn(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> None:
        if self.bands > 1:
            per_band = copy.copy(self)
            per_band.bands = 1
            # Exact leave-one-out on the clips alone, which is fast.
            scale = None if self.varmin else KNN(k=self.k, bank=self.bank)
            self.bands_ = Bands.fit(per_band, scale, split_bands(X, self.bands), domain, group)
            return
        rows = np.arange(len(X))  # row numbers in the training matrix; -1 for a centre or a generated point
        if self.smote or self.memmixup:
            new = self._generated(X, domain)
            X, rows = np.concatenate([X, new]), np.concatenate([rows, np.full(len(new), -1)])
            domain = np.concatenate([domain, np.full(len(new), "target")])
        if self.source_clusters is not None:
            source = domain != "target"
            centres = _centres(unit(X[source]), self.source_clusters, self.seed) if source.any() else X[:0]
            X = np.concatenate([centres, X[~source]])
            rows = np.concatenate([np.full(len(centres), -1), rows[~source]])
            domain = np.concatenate([np.full(len(centres), "source"), domain[~source]])
        keys = domain if self.bank == "two_bank" else np.full(len(X), "")
        names = np.unique(keys)
        parts = [X if len(names) == 1 else X[keys == name] for name in names]
        self.bank_rows_ = [rows[keys == name] for name in names]
        if not self.varmin:
            self.banks_ = [once(Bank.of, part) for part in parts]
            return
        made = [once(varmin_bank, part, K=self.varmin) for part in parts]
        self.banks_ = [bank for bank, _ in made]
        self.bank_rows_ = [rows[first] for rows, (_, first) in zip(self.bank_rows_, made, strict=True)]

    def _generated(self, X: np.ndarray, domain: np.ndarray) -> np.ndarray:
        """Generated target rows of `smote` and `memmixup`."""
        between = target_smote(X, domain, share=self.smote, seed=self.seed)
        mixed = target_mixes(X, domain, sources=self.memmixup, seed=self.seed) if self.memmixup else between[:0]
        return np.concatenate([between, mixed])

    def _score(self, X: np.ndarray) -> np.ndarray:
        if self.bands > 1:
            return self.bands_.score(split_bands(X, self.bands))
        distances = [self._mean_distance(X, bank, None) for bank in self.banks_]
        smallest: np.ndarray = np.min(distances, axis=0)
        return smallest

    def _reference(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> np.ndarray:
        if self.varmin:
            return self._varmin_reference(X, domain, group)
        if self.smote or self.memmixup or self.bands > 1:
            return self.cross_fitted(X, domain, group)
        if self.source_clusters is None:
            return self._leave_one_out(X)
        scores = self.cross_fitted(X, domain, group)
        target = domain == "target"
        scores[target] = self._leave_one_out(X)[target]
        return scores

    def _varmin_reference(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> np.ndarray:
        scores = None
        if self.bank == "pooled" and self.source_clusters is None and not self.smote and not self.memmixup:
            if self.bands > 1:
                return self.bands_.reference(split_bands(X, self.bands), domain, group)
            scores = leave_one_out(X, self.varmin, self.k)
        return self.cross_fitted(X, domain, group) if scores is None else scores

    def _leave_one_out(self, X: np.ndarray) -> np.ndarray:
        scores = np.full(len(X), np.inf)
        for bank, rows in zip(self.banks_, self.bank_rows_, strict=True):
            position = np.full(len(X), -1)
            position[rows[rows >= 0]] = np.flatnonzero(rows >= 0)
            member = position >= 0
            outside = ~member
            if member.all() and len(X) == len(bank.rows) > 1:
                return self._mean(once(_among_themselves, bank, k=longest_list(self, self.k, len(X) - 1)))
            if outside.any():
                scores[outside] = np.minimum(scores[outside], self._mean_distance(X[outside], bank, None))
            if member.any() and len(bank.rows) > 1:
                distance = self._mean_distance(X[member], bank, position[member])
                scores[member] = np.minimum(scores[member], distance)
        return scores

    def _mean_distance(self, X: np.ndarray, bank: Bank, exclude: np.ndarray | None) -> np.ndarray:
        if exclude is not None:
            return self._mean(nearest(X, bank, min(self.k, len(bank.rows) - 1), exclude=exclude)[0])
        k = min(self.k, len(bank.rows))
        return self._mean(once(_distances, X, bank, k=longest_list(self, k, len(bank.rows))))

    def _mean(self, distance: np.ndarray) -> np.ndarray:
        mean: np.ndarray = distance[:, : self.k].mean(axis=1)
        return mean / 2 if self.varmin else mean


def _distances(X: np.ndarray, bank: Bank, k: int) -> np.ndarray:
    return nearest(X, bank, k)[0]


def _among_themselves(bank: Bank, k: int) -> np.ndarray:
    """Distances of each row of a bank to its k nearest others."""
    return nearest(bank.rows, bank, min(k, len(bank.rows) - 1), exclude=np.arange(len(bank.rows)))[0]


def _centres(X: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """k-means centres of X, at most one per distinct row; they do not depend on the order of the rows."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    content = content_order(X)
    clusters = min(clusters, int(content.max()) + 1)
    with threadpool_limits(1):
        kmeans = KMeans(clusters, n_init=1, random_state=seed).fit(X[np.argsort(content, kind="stable")])
    centres: np.ndarray = kmeans.cluster_centers_
    return centres

"""Gaussian mixture model of the normal clips, with the two published scores."""

import copy
from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from detectors.banks.smote import check_share, target_smote
from detectors.base import FOLDS, Fitted, content_order
from detectors.geometry import unit
from detectors.mixtures.mixture import STEPS, Mixture, fit_mixture, fit_without

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


class GMM(Fitted):
    """Negative log likelihood under a Gaussian mixture, in nats.

    `score="component"` is that of the most likely component without its weight, -max_k log N(x | k), as in TWFR-GMM;
    `score="mixture"` is -log of the whole density. `n_components` is capped at the number of distinct clips.
    `reg_covar` is added to every variance. With full covariances of 128 dimensions and a thousand clips, 1e-6 is barely
    enough; the value that is enough grows with the square of the data's scale. Reference scores are cross-fitted;
    k-means of a fold starts at the clusters of all clips.

    `start` sets the initial components: k-means centres, or the centre of each domain or each group (the classes that a
    network was trained to separate). With domains or groups, their number replaces `n_components`. `unit_length` scales
    every clip to length 1. `smote` adds points between target clips until their number is that share of the source
    clips (0.2 in SMOTE-TWFR-GMM).
    """

    def __init__(  # noqa: PLR0913 - the options of four published systems
        self,
        *,
        n_components: int = 2,
        score: Literal["component", "mixture"] = "component",
        covariance_type: Literal["full", "tied", "diag"] = "full",
        reg_covar: float = 1e-6,
        start: Literal["kmeans", "domain", "group"] = "kmeans",
        unit_length: bool = False,
        smote: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.n_components = n_components
        self.score = score
        self.covariance_type = covariance_type
        self.reg_covar = reg_covar
        self.start = start
        self.unit_length = unit_length
        self.smote = smote
        self.seed = seed

    def _min_clips(self) -> int:
        if self.n_components < 1 or not self.reg_covar >= 0:
            raise ValueError(
                f"n_components={self.n_components}, reg_covar={self.reg_covar}: expected at least 1 component and a "
                "reg_covar of at least 0"
            )
        for name, value, known in (
            ("score", self.score, SCORES),
            ("covariance_type", self.covariance_type, STEPS),
            ("start", self.start, STARTS),
        ):
            if value not in known:
                raise ValueError(f"unknown {name} {value!r}; choose from {', '.join(known)}")
        check_share(self.smote)
        return 1

    def _learn(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> None:
        X = self._rows(X)
        if self.smote:
            new = target_smote(X, domain, share=self.smote, seed=self.seed)
            X, group = np.concatenate([X, new]), np.concatenate([group, np.full(len(new), "")])
            domain = np.concatenate([domain, np.full(len(new), "target")])
        order = np.argsort(content_order(X), kind="stable")  # k-means picks its first centres by row number
        X = X[order]
        with one_thread():
            label = STARTS[self.start](self, X, domain[order], group[order])
            self.mixture_ = fit_mixture(
                X,
                label,
                covariance_type=self.covariance_type,
                floor=self.reg_covar,
                from_shared=self.start != "kmeans",
            )
        self.cluster_ = label[np.argsort(order)]

    def _held_out_scores(
        self, masks: list[np.ndarray], X: np.ndarray, domain: np.ndarray, group: np.ndarray
    ) -> Iterable[np.ndarray]:
        return self.scores_in_units(masks, X, domain, group, np.ones((len(masks), X.shape[1])))

    @property
    def ignores_shifts(self) -> bool:
        """Whether scores stay where the same row is added to all rows."""
        return not self.unit_length

    def scores_in_units(
        self, masks: list[np.ndarray], X: np.ndarray, domain: np.ndarray, group: np.ndarray, units: np.ndarray
    ) -> list[np.ndarray]:
        """Scores of the rows that each mask holds out, by fits to the other rows of X / units[i], after `_learn` of X.

        The fits start from the clusters of all rows, after k-means without those held out; from k-means of their own
        where that cannot be: with another start, generated rows, few rows, or a cluster that is held out as a whole.
        """
        rows, scores = self._rows(X), []
        mixtures: Iterable[Mixture | None] = [None] * len(masks)
        few = len(X) <= 2 * FOLDS or (2 * len(X) <= X.shape[1] and (units != 1).any())
        if self.start == "kmeans" and not self.smote and not few:
            order = np.argsort(content_order(rows), kind="stable")
            held_out, label = np.stack(masks)[:, order], self.cluster_[order]
            mixtures = fit_without(
                rows[order], label, held_out, units, covariance_type=self.covariance_type, floor=self.reg_covar
            )
        with one_thread():
            for held, scale, mixture in zip(masks, units, mixtures, strict=True):
                if mixture is None:
                    part = copy.copy(self)
                    part._learn(X[~held] / scale, domain[~held], group[~held])
                    scores.append(part._score(X[held] / scale))
                else:
                    scores.append(SCORES[self.score](mixture, rows[held]) - np.log(scale).sum())
        return scores

    def _score(self, X: np.ndarray) -> np.ndarray:
        return SCORES[self.score](self.mixture_, self._rows(X))

    def _rows(self, X: np.ndarray) -> np.ndarray:
        return unit(X) if self.unit_length else np.array(X, dtype=np.float64, order="C")

    def _from_kmeans(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> np.ndarray:
        from sklearn.cluster import KMeans

        k = min(self.n_components, int(content_order(X).max()) + 1)
        if k == 1:
            return np.zeros(len(X), dtype=np.intp)
        label: np.ndarray = KMeans(k, n_init=1, random_state=self.seed).fit(X).labels_
        return label

    def _from_domains(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> np.ndarray:
        return np.unique(domain, return_inverse=True)[1]

    def _from_groups(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> np.ndarray:
        return np.unique(group, return_inverse=True)[1]


def _component(mixture: Mixture, X: np.ndarray) -> np.ndarray:
    most_likely: np.ndarray = mixture.log_densities(X).max(axis=1)
    return -most_likely


def _mixture(mixture: Mixture, X: np.ndarray) -> np.ndarray:
    return -mixture.score_samples(X)


STARTS = {"kmeans": GMM._from_kmeans, "domain": GMM._from_domains, "group": GMM._from_groups}

SCORES = {"component": _component, "mixture": _mixture}


@cache
def _pools() -> "ThreadpoolController":
    import sklearn.cluster  # noqa: F401 - its pools, and those of scipy, are found only once they are loaded
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def one_thread() -> AbstractContextManager[object]:
    """One thread in BLAS and scikit-learn while the block lasts: detectors run side by side."""
    limit: AbstractContextManager[object] = _pools().limit(limits=1)
    return limit

"""Gaussian mixture model of the normal clips, with the two published scores."""

import warnings
from typing import Any, Literal

import numpy as np

from detectors.banks.smote import check_share, target_smote
from detectors.base import Fitted, content_order
from detectors.geometry import unit


class GMM(Fitted):
    """Negative log likelihood under a Gaussian mixture, in nats.

    `score="component"` is that of the most likely component without its weight, -max_k log N(x | k), as in TWFR-GMM;
    `score="mixture"` is -log of the whole density. `n_components` is capped at the number of distinct clips.
    `reg_covar` is added to every variance. With full covariances of 128 dimensions and a thousand clips, 1e-6 is barely
    enough; the value that is enough grows with the square of the data's scale. Reference scores are cross-fitted.

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
        covariance_type: Literal["full", "diag"] = "full",
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
            ("covariance_type", self.covariance_type, FACTORS),
            ("start", self.start, STARTS),
        ):
            if value not in known:
                raise ValueError(f"unknown {name} {value!r}; choose from {', '.join(known)}")
        check_share(self.smote)
        return 1

    def _learn(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture
        from threadpoolctl import threadpool_limits

        X = self._rows(X)
        if self.smote:
            new = target_smote(X, domain, share=self.smote, seed=self.seed)
            X, group = np.concatenate([X, new]), np.concatenate([group, np.full(len(new), "")])
            domain = np.concatenate([domain, np.full(len(new), "target")])
        content = content_order(X)
        order = np.argsort(content, kind="stable")  # k-means picks its first centres by row number
        if len(X) == 1:
            order = order[[0, 0]]  # scikit-learn needs two rows; a copy changes neither mean nor covariance
        X = X[order]
        mixture = GaussianMixture(
            tol=1e-6,
            reg_covar=self.reg_covar,
            random_state=self.seed,
            covariance_type=self.covariance_type,
            **STARTS[self.start](self, X, domain[order], group[order]),
        )
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it is in `mixture_.converged_`
            self.mixture_ = mixture.fit(X)

    def _score(self, X: np.ndarray) -> np.ndarray:
        return SCORES[self.score](self.mixture_, self._rows(X))

    def _rows(self, X: np.ndarray) -> np.ndarray:
        return unit(X) if self.unit_length else np.array(X, dtype=np.float64, order="C")

    def _from_kmeans(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> dict[str, Any]:
        return {"n_components": min(self.n_components, len(np.unique(X, axis=0)))}

    def _from_domains(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> dict[str, Any]:
        return self._from_parts(X, domain)

    def _from_groups(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> dict[str, Any]:
        return self._from_parts(X, group)

    def _from_parts(self, X: np.ndarray, label: np.ndarray) -> dict[str, Any]:
        """Initial components: centre and share of the clips of each label, and one precision for all."""
        _, part, count = np.unique(label, return_inverse=True, return_counts=True)
        centres = np.stack([X[part == i].mean(axis=0) for i in range(len(count))])
        precision = PRECISIONS[self.covariance_type](X - centres[part], self.reg_covar)
        return {
            "n_components": len(centres),
            "means_init": centres,
            "weights_init": count / len(X),
            "precisions_init": np.repeat(precision[None], len(centres), axis=0),
        }


def log_densities(mixture: Any, X: np.ndarray) -> np.ndarray:
    """log N(x | k) without the mixture's weights, for each row and component, (m, k)."""
    apply, log_determinant = FACTORS[mixture.covariance_type]
    columns = [
        log_determinant(factor) - 0.5 * np.square(apply(X - mean, factor)).sum(axis=1)
        for mean, factor in zip(mixture.means_, mixture.precisions_cholesky_, strict=True)
    ]
    densities: np.ndarray = np.stack(columns, axis=1) - 0.5 * X.shape[1] * np.log(2 * np.pi)
    return densities


FACTORS: dict[str, Any] = {
    "full": (lambda offsets, factor: offsets @ factor, lambda factor: np.log(np.diag(factor)).sum()),
    "diag": (lambda offsets, factor: offsets * factor, lambda factor: np.log(factor).sum()),
}
"""By covariance type: whitening of offsets by a precision factor, and the log determinant of the factor."""


def _component(mixture: Any, X: np.ndarray) -> np.ndarray:
    most_likely: np.ndarray = log_densities(mixture, X).max(axis=1)
    return -most_likely


def _mixture(mixture: Any, X: np.ndarray) -> np.ndarray:
    weighted = log_densities(mixture, X) + np.log(mixture.weights_)
    largest = weighted.max(axis=1)
    score: np.ndarray = -largest - np.log(np.exp(weighted - largest[:, None]).sum(axis=1))
    return score


def _full_precision(offsets: np.ndarray, floor: float) -> np.ndarray:
    precision: np.ndarray = np.linalg.pinv(
        offsets.T @ offsets / len(offsets) + floor * np.eye(offsets.shape[1]), hermitian=True
    )
    return precision


def _diagonal_precision(offsets: np.ndarray, floor: float) -> np.ndarray:
    precision: np.ndarray = 1 / np.maximum(np.square(offsets).mean(axis=0) + floor, np.finfo(np.float64).tiny)
    return precision


PRECISIONS = {"full": _full_precision, "diag": _diagonal_precision}
"""By covariance type: inverse of the covariance of offsets, with `floor` added to every variance."""

STARTS = {"kmeans": GMM._from_kmeans, "domain": GMM._from_domains, "group": GMM._from_groups}

SCORES = {"component": _component, "mixture": _mixture}

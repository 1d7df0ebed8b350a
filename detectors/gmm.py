"""Gaussian mixture of the normal clips, with both published scores."""

import warnings
from typing import Any, Literal

import numpy as np

from detectors.base import Fitted, content_order


class GMM(Fitted):
    """Negative log likelihood under a Gaussian mixture, in nats.

    `score="component"` takes the most likely component without its weight, -max_k log N(x | k), as TWFR-GMM does;
    `score="mixture"` is -log of the whole density. `n_components` is capped at the number of distinct clips.
    `reg_covar` is added to every variance: with full covariances of 128 dimensions and a thousand clips 1e-6 is barely
    enough, and what is enough grows with the square of the data's scale. Reference scores are cross-fitted.
    """

    def __init__(
        self,
        *,
        n_components: int = 2,
        score: Literal["component", "mixture"] = "component",
        covariance_type: Literal["full", "diag"] = "full",
        reg_covar: float = 1e-6,
        seed: int = 0,
    ) -> None:
        self.n_components = n_components
        self.score = score
        self.covariance_type = covariance_type
        self.reg_covar = reg_covar
        self.seed = seed

    def _least(self) -> int:
        if self.n_components < 1 or not self.reg_covar >= 0:
            raise ValueError(
                f"n_components={self.n_components}, reg_covar={self.reg_covar}: expected at least 1 component and a "
                "reg_covar of at least 0"
            )
        for name, value, known in (("score", self.score, SCORES), ("covariance_type", self.covariance_type, FACTORS)):
            if value not in known:
                raise ValueError(f"unknown {name} {value!r}; choose from {', '.join(known)}")
        return 1

    def _learn(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture
        from threadpoolctl import threadpool_limits

        X = np.array(X, dtype=np.float64, order="C")
        content = content_order(X)
        X = X[np.argsort(content, kind="stable")]  # k-means starts from rows by their number
        if len(X) == 1:
            X = np.repeat(X, 2, axis=0)  # scikit-learn asks for two rows; a copy changes neither mean nor covariance
        mixture = GaussianMixture(
            min(self.n_components, int(content.max()) + 1),
            covariance_type=self.covariance_type,
            tol=1e-6,
            reg_covar=self.reg_covar,
            random_state=self.seed,
        )
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # `converged_` of the mixture says it
            self.mixture_ = mixture.fit(X)

    def _score(self, X: np.ndarray) -> np.ndarray:
        return SCORES[self.score](self.mixture_, np.asarray(X, dtype=np.float64))


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
"""By covariance type: how a precision factor whitens offsets, and the log of its determinant."""


def _component(mixture: Any, X: np.ndarray) -> np.ndarray:
    most_likely: np.ndarray = log_densities(mixture, X).max(axis=1)
    return -most_likely


def _mixture(mixture: Any, X: np.ndarray) -> np.ndarray:
    weighted = log_densities(mixture, X) + np.log(mixture.weights_)
    largest = weighted.max(axis=1)
    score: np.ndarray = -largest - np.log(np.exp(weighted - largest[:, None]).sum(axis=1))
    return score


SCORES = {"component": _component, "mixture": _mixture}

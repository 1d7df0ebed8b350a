"""Non-negative member weights that separate anomalies from normal clips best."""

import numpy as np

FLOOR = 1e-9


def discriminant_weights(
    scores: np.ndarray, normal: np.ndarray, anomalous: np.ndarray, section: np.ndarray, *, shrinkage: float
) -> np.ndarray:
    """Weights (c,) >= 0 of Fisher's (1936) discriminant of scores (c, n); their scale is arbitrary.

    normal, anomalous: weight of every clip (n,) as a normal clip and as an anomaly. The covariance is that of normal
    clips around the mean of their section. Its correlations are multiplied by 1 - `shrinkage`, so that the weights do
    not depend on small differences between similar members. All weights are equal where no member separates the two, or
    where one of the two is absent.
    """
    if not normal.any() or not anomalous.any():
        return np.ones(len(scores))
    normal, anomalous = (weight / weight.sum() for weight in (normal, anomalous))
    difference = scores @ (anomalous - normal)
    centred = scores.copy()
    for number in np.unique(section[normal > 0]):
        here = (section == number) & (normal > 0)
        centred[:, here] -= (scores[:, here] @ normal[here] / normal[here].sum())[:, None]
    covariance = (centred * normal) @ centred.T
    spread = np.sqrt(np.maximum(np.diag(covariance), FLOOR))
    correlation = (1 - shrinkage) * covariance / np.outer(spread, spread)
    np.fill_diagonal(correlation, 1)
    return _non_negative(correlation, difference / spread) / spread


def _non_negative(correlation: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """Minimiser of w R w / 2 - w d over w >= 0, for the correlation R and the difference d."""
    from scipy.optimize import nnls

    root = np.linalg.cholesky(correlation + FLOOR * np.eye(len(difference)))
    weights: np.ndarray = nnls(root.T, np.linalg.solve(root, difference))[0]
    return weights if weights.any() else np.ones(len(difference))

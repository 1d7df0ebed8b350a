"""Weights of members that part anomalies from normal clips furthest, none of them negative."""

import numpy as np

FLOOR = 1e-9


def discriminant_weights(
    scores: np.ndarray, normal: np.ndarray, anomalous: np.ndarray, section: np.ndarray, *, shrinkage: float
) -> np.ndarray:
    """Fisher's (1936) discriminant of scores (c, n) with weights of at least 0, in no particular unit; (c,).

    normal, anomalous: weight of every clip (n,) as the one or the other. The spread is that of normal clips around
    their section's mean; its correlations shrink by the factor 1 - `shrinkage`, so that members which shrug alike are
    not played off against each other. All weigh alike where no member parts the two.
    """
    normal, anomalous = (weight / weight.sum() for weight in (normal, anomalous))
    lead = scores @ (anomalous - normal)
    centred = scores.copy()
    for one in np.unique(section[normal > 0]):
        here = (section == one) & (normal > 0)
        centred[:, here] -= (scores[:, here] @ normal[here] / normal[here].sum())[:, None]
    covariance = (centred * normal) @ centred.T
    spread = np.sqrt(np.maximum(np.diag(covariance), FLOOR))
    correlation = (1 - shrinkage) * covariance / np.outer(spread, spread)
    np.fill_diagonal(correlation, 1)
    return _least_squares(correlation, lead / spread) / spread


def _least_squares(correlation: np.ndarray, lead: np.ndarray) -> np.ndarray:
    """Minimiser of w R w / 2 - w lead over w >= 0."""
    from scipy.optimize import nnls

    root = np.linalg.cholesky(correlation + FLOOR * np.eye(len(lead)))
    weights: np.ndarray = nnls(root.T, np.linalg.solve(root, lead))[0]
    return weights if weights.any() else np.ones(len(lead))

"""SMOTE: more target rows for the bank, each between two neighbouring target clips, of which there are few."""

import numpy as np

NEIGHBOURS = 3


def target_smote(X: np.ndarray, domain: np.ndarray, *, share: float, seed: int) -> np.ndarray:
    """New target rows (m, d), float64, that raise the target domain to `share` of the number of source clips.

    Each is a random point between a random target row of X (n, d) and one of its three nearest target rows by Euclidean
    distance (Chawla et al. 2002; for this use Guan et al., ICASSP 2023). There are no new rows if the target domain is
    large enough, has fewer than two clips, or is the only domain. The result does not depend on the order of the rows.
    """
    target = np.asarray(X[domain == "target"], dtype=np.float64)
    missing = round(share * int((domain != "target").sum())) - len(target)
    if len(target) < 2 or missing < 1:
        return np.empty((0, X.shape[1]))
    target = target[np.lexsort(target.T[::-1])]
    squared = np.square(target[:, None] - target).sum(axis=2)
    np.fill_diagonal(squared, np.inf)
    near = squared.argsort(axis=1, kind="stable")[:, : min(NEIGHBOURS, len(target) - 1)]
    rng = np.random.default_rng(seed)
    row = rng.integers(len(target), size=missing)
    other = near[row, rng.integers(near.shape[1], size=missing)]
    between: np.ndarray = target[row] + rng.random((missing, 1)) * (target[other] - target[row])
    return between


def check_share(share: float) -> None:
    """Raise ValueError unless the share is a finite number of at least 0."""
    if not 0 <= share < np.inf:
        raise ValueError(f"smote={share}: expected a share of the source clips of at least 0, such as 0.2")

"""More target clips for the bank: points between neighbouring ones, because the target domain has only a few."""

import numpy as np

NEIGHBOURS = 3


def target_smote(X: np.ndarray, domain: np.ndarray, *, share: float, seed: int) -> np.ndarray:
    """New target rows (m, d), float64, that bring the target domain to `share` of the source's number of clips.

    Each lies at a random place between a random target row of X (n, d) and one of its three nearest by Euclid; Chawla
    et al. 2002, and for this use Guan et al., ICASSP 2023. There are none where the domain is large enough, has fewer
    than two clips, or is the only one. The order of the rows does not matter.
    """
    target = np.asarray(X[domain == "target"], dtype=np.float64)
    wanted = round(share * int((domain != "target").sum())) - len(target)
    if len(target) < 2 or wanted < 1:
        return np.empty((0, X.shape[1]))
    target = target[np.lexsort(target.T[::-1])]
    squared = np.square(target[:, None] - target).sum(axis=2)
    np.fill_diagonal(squared, np.inf)
    near = squared.argsort(axis=1, kind="stable")[:, : min(NEIGHBOURS, len(target) - 1)]
    rng = np.random.default_rng(seed)
    row = rng.integers(len(target), size=wanted)
    other = near[row, rng.integers(near.shape[1], size=wanted)]
    between: np.ndarray = target[row] + rng.random((wanted, 1)) * (target[other] - target[row])
    return between


def check_share(share: float) -> None:
    """ValueError unless the share is a finite number of at least 0."""
    if not 0 <= share < np.inf:
        raise ValueError(f"smote={share}: expected a share of the source clips of at least 0, such as 0.2")

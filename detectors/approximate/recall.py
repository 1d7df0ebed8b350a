"""Recall and score error of an approximate index, measured against exact search on a sample of queries."""

from dataclasses import dataclass

import numpy as np

from detectors.approximate.index import ApproximateIndex
from detectors.search.neighbours import nearest

SAMPLE = 200
"""Queries that are also searched exactly: enough to distinguish a recall of 1 from 0.98."""

Z = 1.96
"""Standard deviations that hold the middle 95 % of a normal distribution."""


@dataclass(frozen=True)
class Estimate:
    """Recall@k with its 95 % interval, and errors of the scores (mean distance to k neighbours).

    `error_mean_high` is the upper end of the 95 % interval of the mean error. `spread` is the standard deviation of the
    exact scores, the scale for the errors.
    """

    kind: str
    k: int
    probes: int
    sample: int
    recall: float
    recall_low: float
    recall_high: float
    error_mean: float
    error_mean_high: float
    error_p95: float
    error_max: float
    spread: float

    def __str__(self) -> str:
        return (
            f"{self.kind}: recall@{self.k} {self.recall:.4f} [{self.recall_low:.4f}, {self.recall_high:.4f}]; score "
            f"error {self.error_mean:.1e} on average, up to {self.error_p95:.1e} for 95 % of the queries, "
            f"{self.error_max:.1e} at most; standard deviation of the exact scores {self.spread:.1e} "
            f"(from {self.sample} queries that were also searched exactly)"
        )


def recall_estimate(
    index: ApproximateIndex,
    queries: np.ndarray,
    k: int,
    *,
    exclude: np.ndarray | None = None,
    probes: int | None = None,
    rerank: int | None = None,
    sample: int = SAMPLE,
) -> Estimate:
    """Estimate from at most `sample` of the queries (m, d), drawn with the seed of the index.

    ValueError as in `ApproximateIndex.nearest`, and for no queries.
    """
    if not (len(queries) and sample > 0):
        raise ValueError(f"expected queries and a sample of at least 1, got {len(queries)} and {sample}")
    drawn = np.sort(np.random.default_rng(index.spec.seed).permutation(len(queries))[:sample])
    queries, exclude = np.asarray(queries)[drawn], None if exclude is None else np.asarray(exclude)[drawn]
    distance, row = index.nearest(queries, k, exclude=exclude, probes=probes, rerank=rerank)
    exact_distance, exact_row = nearest(queries, index.bank, k, exclude=exclude)
    recall = (row[:, :, None] == exact_row[:, None, :]).any(axis=1).mean(axis=1)
    score = exact_distance.mean(axis=1)
    error = np.abs(distance.mean(axis=1) - score)
    low, high = wilson(float(recall.mean()), len(recall))
    return Estimate(
        kind=index.spec.kind,
        k=k,
        probes=probes or index.kind.default,
        sample=len(recall),
        recall=float(recall.mean()),
        recall_low=low,
        recall_high=high,
        error_mean=float(error.mean()),
        error_mean_high=float(error.mean() + Z * error.std() / len(error) ** 0.5),
        error_p95=float(np.quantile(error, 0.95)),
        error_max=float(error.max()),
        spread=float(score.std()),
    )


def wilson(share: float, n: int) -> tuple[float, float]:
    """95 % interval of a mean of n values in [0, 1] (Wilson 1927); other values vary less than 0s and 1s.

    After a sample without a miss, the lower limit is below 1, unlike that of a bootstrap.
    """
    centre, half = share + Z**2 / (2 * n), Z * (share * (1 - share) / n + Z**2 / (4 * n**2)) ** 0.5
    low, high = (centre - half) / (1 + Z**2 / n), (centre + half) / (1 + Z**2 / n)
    return min(max(low, 0.0), share), max(min(high, 1.0), share)

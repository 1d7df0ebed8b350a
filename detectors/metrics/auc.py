"""AUC, partial AUC and their bootstrap replicates, from arrays of scores.

Normal clips are negatives, anomalies are positives, and a higher score is more anomalous. Ties count half, as in the
rank statistic. All arithmetic is float64.
"""

from collections.abc import Iterator

import numpy as np

MAX_FPR = 0.1
"""False-alarm rate up to which the official pAUC integrates."""

_BLOCK = 2_000_000
"""Weights in memory at a time while resampling (16 MB)."""


def _checked(normal: np.ndarray, anomaly: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    classes = {"normal": np.asarray(normal, dtype=np.float64), "anomaly": np.asarray(anomaly, dtype=np.float64)}
    for name, scores in classes.items():
        if scores.ndim != 1:
            raise ValueError(f"{name} scores: expected shape (n,), got shape {scores.shape}")
        if not len(scores):
            raise ValueError(f"an AUC needs clips of both classes, got no {name} clips")
        if not np.isfinite(scores).all():
            raise ValueError(f"{name} scores must be finite, got {scores[~np.isfinite(scores)][0]}")
    return classes["normal"], classes["anomaly"]


def auc(normal: np.ndarray, anomaly: np.ndarray) -> float:
    """Probability that an anomaly scores above a normal clip, ties counting half."""
    normal, anomaly = _checked(normal, anomaly)
    ordered = np.sort(normal)
    below = np.searchsorted(ordered, anomaly, side="left").sum()
    not_above = np.searchsorted(ordered, anomaly, side="right").sum()
    return float((int(below) + int(not_above)) / (2 * len(normal) * len(anomaly)))


def pauc(normal: np.ndarray, anomaly: np.ndarray, max_fpr: float = MAX_FPR) -> float:
    """Area under the ROC up to `max_fpr`, standardised after McClish (1989): 0.5 is chance, 1 is perfect.

    Equals scikit-learn's `roc_auc_score(..., max_fpr=max_fpr)`. Its lowest value at 0.1 is 0.4737, not 0.
    """
    normal, anomaly = _checked(normal, anomaly)
    ones = np.ones((1, len(normal))), np.ones((1, len(anomaly)))
    return float(weighted_pauc(normal, anomaly, *ones, max_fpr)[0])


def weighted_pauc(
    normal: np.ndarray, anomaly: np.ndarray, normal_weights: np.ndarray, anomaly_weights: np.ndarray, max_fpr: float
) -> np.ndarray:
    """Standardised pAUC (b,) of `b` reweighted samples; `max_fpr=1` gives the AUC.

    Weights (b, number of clips) are how often each clip was drawn.
    """
    if not 0 < max_fpr <= 1:
        raise ValueError(f"max_fpr must be in (0, 1], got {max_fpr}")
    scores = np.concatenate([normal, anomaly])
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # last clip of every group of ties
    is_normal = order < len(normal)
    false_alarms = _rate(normal_weights[:, order[is_normal]], np.cumsum(is_normal)[ends])
    hits = _rate(anomaly_weights[:, order[~is_normal] - len(normal)], np.cumsum(~is_normal)[ends])
    area = _area(false_alarms, hits, max_fpr)
    lowest = max_fpr**2 / 2
    standardised: np.ndarray = 0.5 * (1 + (area - lowest) / (max_fpr - lowest))
    return standardised


def _rate(weights: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Share of the weight above each threshold, starting with 0; the first `counts[j]` clips are above threshold j."""
    zero = np.zeros((len(weights), 1))
    total = np.concatenate([zero, np.cumsum(weights, axis=1)], axis=1)
    share: np.ndarray = np.concatenate([zero, total[:, counts]], axis=1) / total[:, -1:]
    return share


def _area(x: np.ndarray, y: np.ndarray, end: float) -> np.ndarray:
    """Trapezoid area under the curve of each row from 0 to `end`, which is interpolated linearly."""
    x0, y0 = x[:, :-1], y[:, :-1]
    step = x[:, 1:] - x0
    width = np.clip(end - x0, 0, step)
    slope = np.divide(y[:, 1:] - y0, step, out=np.zeros_like(step), where=step > 0)
    area: np.ndarray = np.sum(width * (y0 + slope * width / 2), axis=1)
    return area


def resamples(strata: np.ndarray, replicates: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Counts (b, n) of how often each clip is drawn when every stratum is resampled with replacement, in blocks.

    `strata` (n,) is the stratum of each clip. The size of a stratum never changes, so every class stays present. The
    blocks have `replicates` rows in total.
    """
    if replicates < 1:
        raise ValueError(f"replicates must be at least 1, got {replicates}")
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    block = max(1, min(replicates, _BLOCK // max(1, len(strata))))
    for start in range(0, replicates, block):
        b = min(block, replicates - start)
        counts = np.zeros((b, len(strata)))
        for clips in members:
            picks = rng.integers(len(clips), size=(b, len(clips))) + np.arange(b)[:, None] * len(clips)
            counts[:, clips] = np.bincount(picks.ravel(), minlength=b * len(clips)).reshape(b, -1)
        yield counts


def percentile_interval(replicates: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval (low, high): the middle `level` of the replicates."""
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)

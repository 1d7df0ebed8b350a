"""Label-free indicators of candidates, which need no anomaly, real or generated.

None of the three affects the choice: where real labels could be checked, using them made choices worse (see
docs/selection.md). They are reported, so that a choice which all of them contradict can be seen.
"""

from collections.abc import Sequence

import numpy as np

from ensemble.selection.informative import mean_rank, ranks, spearman
from ensemble.selection.quality import by_pair

MAX_CLIPS = 4000
"""Number of clips at most on which candidates are compared with each other."""


def domain_gap(scores: np.ndarray, section: np.ndarray, domain: np.ndarray) -> np.ndarray:
    """Kolmogorov-Smirnov distance between the scores (candidates, n) of source and target clips, mean over sections.

    The clips are normal. The label-free criterion of DACo (arXiv 2607.04526): low is good. NaN where no section has
    both domains.
    """
    gaps = []
    for number in np.unique(section):
        sides = [scores[:, (section == number) & (domain == name)] for name in ("source", "target")]
        if all(side.shape[1] for side in sides):
            gaps.append([_distance(*pair) for pair in zip(*sides, strict=True)])
    return np.mean(gaps, axis=0) if gaps else np.full(len(scores), np.nan)


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    at = np.concatenate([first, second])
    shares = [np.searchsorted(np.sort(side), at, side="right") / len(side) for side in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max())


def agreement(placed: np.ndarray) -> np.ndarray:
    """Mean rank correlation of each candidate's positions (candidates, n) with the other candidates'."""
    if len(placed) < 2:
        return np.ones(len(placed))
    ranked = ranks(placed[:, :: max(1, placed.shape[1] // MAX_CLIPS)].T)
    ranked = ranked - ranked.mean(axis=0)
    length = np.sqrt(np.square(ranked).sum(axis=0))
    unit = np.divide(ranked, length, out=np.zeros_like(ranked), where=length > 0)
    mean: np.ndarray = (unit.T @ unit.sum(axis=1) - 1) / (len(placed) - 1)
    return mean


def stability(metrics: Sequence[np.ndarray], pair_weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Change of each candidate's mean rank between two halves of the clips, and the rank correlation of the halves.

    metrics: (candidates, sections, pairs, 3) on each half.
    """
    halves = [mean_rank(by_pair(half), pair_weights) for half in metrics[:2]]
    return np.abs(halves[0] - halves[1]), float(spearman(halves[0][:, None], halves[1][:, None])[0])

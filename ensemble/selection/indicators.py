"""What can be said of candidates without any anomaly, real or generated: a second voice beside the figures.

None of the three enters the choice: where real labels could be looked at, giving them a say made choices worse (see
the README). They stand in the report, so that a choice that they all speak against can be seen.
"""

from collections.abc import Sequence

import numpy as np

from ensemble.selection.informative import candidate_figure, ranks, spearman
from ensemble.selection.quality import by_pair

COLUMNS = 4000
"""Clips at most on which candidates are compared with each other."""


def domain_gap(scores: np.ndarray, section: np.ndarray, domain: np.ndarray) -> np.ndarray:
    """Kolmogorov-Smirnov distance between source and target scores (candidates, n) of normal clips, section mean.

    The label-free criterion of DACo (arXiv 2607.04526): low is good. NaN where no section has both domains.
    """
    gaps = []
    for one in np.unique(section):
        sides = [scores[:, (section == one) & (domain == name)] for name in ("source", "target")]
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
    ranked = ranks(placed[:, :: max(1, placed.shape[1] // COLUMNS)].T)
    ranked = ranked - ranked.mean(axis=0)
    length = np.sqrt(np.square(ranked).sum(axis=0))
    unit = np.divide(ranked, length, out=np.zeros_like(ranked), where=length > 0)
    mean: np.ndarray = (unit.T @ unit.sum(axis=1) - 1) / (len(placed) - 1)
    return mean


def stability(figures: Sequence[np.ndarray], pair_weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Change of each candidate's figure (in [0, 1]) between the halves of the clips, and the halves' rank correlation.

    figures: (candidates, sections, pairs, 3) on either half.
    """
    halves = [candidate_figure(by_pair(half), pair_weights) for half in figures[:2]]
    return np.abs(halves[0] - halves[1]), float(spearman(halves[0][:, None], halves[1][:, None])[0])

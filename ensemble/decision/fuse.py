"""Fusion: one score per clip from the scores of several members, by rules that need no labels.

A threshold on fused scores holds only if the fused reference scores are honest. So these are fused by the same rule,
from the position of each training clip among the other training clips by each member. A small bias of order 1/n
remains, because clips share their neighbours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ensemble.decision.calibrate import PlacedScores, calibrate, calibrate_reference
from featstore.spec import unknown


def _mean(matrix: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.asarray(np.average(matrix, axis=0, weights=weights))


def _largest(matrix: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.asarray(matrix.max(axis=0))


def _smallest(matrix: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.asarray(matrix.min(axis=0))


def _fisher(matrix: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """1 minus the geometric mean of 1 - position: the order of Fisher's (1925) sum of log p-values.

    One member with a position close to 1 outweighs several in the middle; a mean of positions would average it away.
    """
    return np.asarray(-np.expm1(np.average(np.log1p(-matrix), axis=0, weights=weights)))


@dataclass(frozen=True)
class Fusion:
    """A fusion rule: `calibration` places the members' scores, `combine` turns (members, m) into (m,).

    weighted: the rule takes weights.
    """

    calibration: str
    combine: Callable[[np.ndarray, np.ndarray], np.ndarray]
    weighted: bool = False


FUSIONS: dict[str, Fusion] = {
    "mean": Fusion("ecdf", _mean),
    "weighted_mean": Fusion("ecdf", _mean, weighted=True),
    "fisher": Fusion("ecdf", _fisher),
    "weighted_fisher": Fusion("ecdf", _fisher, weighted=True),
    "max_rank": Fusion("ecdf", _largest),
    "min_zscore": Fusion("zscore", _smallest),
}


def fusion(rule: str) -> Fusion:
    """The rule of that name; ValueError lists the known names."""
    if rule not in FUSIONS:
        raise ValueError(unknown("fusion", rule, sorted(FUSIONS)))
    return FUSIONS[rule]


def combine(rule: str, matrix: np.ndarray, weights: Sequence[float] | None = None) -> np.ndarray:
    """Fuse calibrated scores (members, m) to (m,); a weighted rule takes one weight per member, the others none."""
    fusion_rule = fusion(rule)
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.ndim != 2 or not len(matrix):
        raise ValueError(f"fusion needs scores of shape (members, clips) with at least one member, got {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError(f"member {int(np.argwhere(~np.isfinite(matrix))[0, 0])} has scores that are not finite")
    if fusion_rule.weighted != (weights is not None):
        raise ValueError(f"{rule} {'needs weights, one per member' if fusion_rule.weighted else 'takes no weights'}")
    return fusion_rule.combine(matrix, _weights(weights, len(matrix)))


def _weights(weights: Sequence[float] | None, members: int) -> np.ndarray:
    """The weights scaled to a sum of 1; equal ones where none are given."""
    values = np.ones(members) if weights is None else np.asarray(weights, dtype=np.float64)
    if values.shape != (members,):
        raise ValueError(f"{members} members need {members} weights, got shape {values.shape}")
    if not np.isfinite(values).all() or (values < 0).any() or values.sum() <= 0:
        raise ValueError(f"weights must be finite, not negative, and not all zero, got {values.tolist()}")
    shares: np.ndarray = values / values.sum()
    return shares


@dataclass(frozen=True, eq=False)
class Fused:
    """Fused scores of the test clips (m,) and, by the same rule, of the training clips (n,)."""

    scores: np.ndarray
    reference: np.ndarray


def fuse(
    rule: str,
    test: Sequence[PlacedScores],
    reference: Sequence[PlacedScores],
    weights: Sequence[float] | None = None,
) -> Fused:
    """Calibrate every member within its sections, then fuse the test clips and the training clips by the same rule.

    `test` and `reference` hold one entry per member, all of them about the same clips in the same order.
    """
    if len(test) != len(reference):
        raise ValueError(f"{len(test)} members have test scores but {len(reference)} have reference scores")
    for side in (test, reference):
        if len({len(member.scores) for member in side}) > 1:
            raise ValueError(f"members cover different numbers of clips: {[len(member.scores) for member in side]}")
    method = fusion(rule).calibration
    placed = [calibrate(*member, method=method) for member in zip(test, reference, strict=True)]
    honest = [calibrate_reference(member, method=method) for member in reference]
    return Fused(combine(rule, np.array(placed), weights), combine(rule, np.array(honest), weights))

"""Calibration: the position of a score among the honest scores of the section's training clips (reference scores).

Raw scores of different detectors and sections cannot be compared; their positions can. There are two calibrations:

- `ecdf`, the default: a position in (0, 1). The i-th of n reference scores has position i / (n + 1), ties share their
  middle rank, and between two reference scores the position is interpolated. Above the largest (below the smallest)
  reference score it keeps rising (falling) without reaching 1 (0), so that scores there do not tie. A strictly
  increasing transform of all scores changes neither the positions of reference scores nor the order of all scores. A
  linear transform changes no position.
- `zscore`: the distance from the reference mean in reference standard deviations.

A training clip is placed among the scores of the other training clips (`*_of_reference`): its own score is left out.
So it is compared with n - 1 other clips, as a test clip is compared with n.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ensemble.decision.blocks import apart, blocked

MIN_DOMAIN = 5
"""Training clips that a domain needs to be calibrated by itself. Below that, the whole section is the reference."""


def _reference(reference: np.ndarray) -> np.ndarray:
    reference = np.asarray(reference, dtype=np.float64)
    if reference.ndim != 1 or not len(reference):
        raise ValueError(f"calibration needs at least one reference score in one row, got shape {reference.shape}")
    if not np.isfinite(reference).all():
        raise ValueError(f"reference scores must be finite, got {reference[~np.isfinite(reference)][0]}")
    return reference


def _scores(scores: np.ndarray) -> np.ndarray:
    scores = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(scores).all():
        raise ValueError(f"scores must be finite, got {scores[~np.isfinite(scores)][0]}")
    return scores


def _spread(reference: np.ndarray) -> float:
    """Standard deviation with a floor: rounding errors alone must not count as spread."""
    largest = float(np.abs(reference).max())
    floor = np.finfo(np.float64).eps * largest
    spread = largest * float((reference / largest).std()) if largest else 0.0  # scaled: squares overflow early
    return spread if spread > floor else (largest or 1.0)


@dataclass(frozen=True, eq=False)
class Positions:
    """Reference scores in the form that places others: their distinct values, ranks in (0, 1), and spread."""

    values: np.ndarray
    ranks: np.ndarray
    spread: float

    @classmethod
    def of(cls, reference: np.ndarray) -> "Positions":
        """From reference scores (n,)."""
        reference = _reference(reference)
        values, counts = np.unique(reference, return_counts=True)
        ranks = (np.cumsum(counts) - (counts - 1) / 2) / (len(reference) + 1)
        return cls(values, ranks, _spread(reference))

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Position of each score (m,), in (0, 1) and strictly increasing in the score."""
        scores, values, ranks = _scores(scores), self.values, self.ranks
        inside = np.interp(scores, values, ranks)
        with np.errstate(over="ignore"):
            above = 1 - (1 - ranks[-1]) * _tail((scores - values[-1]) / self.spread)
            below = ranks[0] * _tail((values[0] - scores) / self.spread)
        placed: np.ndarray = np.where(scores > values[-1], above, np.where(scores < values[0], below, inside))
        return placed


def position(scores: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Position of each score (m,) among the reference scores (n,), in (0, 1) and strictly increasing in the score."""
    return Positions.of(reference)(scores)


def _tail(beyond: np.ndarray) -> np.ndarray:
    """Falls from 1 at distance 0 towards 0; logarithmic, so that scores 1e12 spreads away still differ."""
    remaining: np.ndarray = 1 / (1 + np.log1p(np.clip(beyond, 0, np.finfo(np.float64).max)))
    return remaining


def position_of_reference(reference: np.ndarray) -> np.ndarray:
    """Position of each reference score among the n - 1 others; 0.5 for a single score."""
    reference = _reference(reference)
    n = len(reference)
    if n == 1:
        return np.array([0.5])
    values, inverse, counts = np.unique(reference, return_inverse=True, return_counts=True)
    below = np.cumsum(counts) - counts
    placed = (below + counts / 2) / n  # a score that occurs several times takes the middle rank of its other copies
    middle = (counts + 1) / 2
    single = np.flatnonzero(counts[1:-1] == 1) + 1
    low, high = (below + middle)[single - 1], below[single] + middle[single + 1]
    share = (values[single] - values[single - 1]) / (values[single + 1] - values[single - 1])
    placed[single] = (low + share * (high - low)) / n
    for end, next_to_it in ((0, 1), (-1, -2)):
        if counts[end] == 1:  # beyond all others, so in their tail
            spread = _spread(np.delete(reference, np.argmin(reference) if end == 0 else np.argmax(reference)))
            with np.errstate(over="ignore"):
                outside = middle[next_to_it] / n * _tail(np.abs(values[end] - values[next_to_it]) / spread)
            placed[end] = outside if end == 0 else 1 - outside
    of_reference: np.ndarray = placed[inverse]
    return of_reference


@dataclass(frozen=True, eq=False)
class ZScores:
    """Mean and spread of reference scores."""

    mean: float
    spread: float

    @classmethod
    def of(cls, reference: np.ndarray) -> "ZScores":
        """From reference scores (n,)."""
        reference = _reference(reference)
        return cls(float(reference.mean()), _spread(reference))

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Distance of each score (m,) from the mean in spreads."""
        scaled: np.ndarray = (_scores(scores) - self.mean) / self.spread
        return scaled


def zscore(scores: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Distance of each score from the reference mean in reference standard deviations (ddof 0).

    Where the reference scores have no spread (one clip, or all equal), the largest absolute score is the unit.
    """
    return ZScores.of(reference)(scores)


def zscore_of_reference(reference: np.ndarray) -> np.ndarray:
    """z-score of each reference score by the mean and deviation of the n - 1 others; 0 for a single score."""
    reference = _reference(reference)
    n = len(reference)
    if n == 1:
        return np.zeros(1)
    deviation = reference - reference.mean()
    total = np.sum(deviation**2)
    variance = (total - deviation**2 * n / (n - 1)) / (n - 1)
    precise = variance > 1e-9 * total / n
    scores = np.empty(n)
    scores[precise] = deviation[precise] * n / (n - 1) / np.sqrt(variance[precise])
    for i in np.flatnonzero(~precise):  # the others are nearly equal: the subtraction above lost their spread
        scores[i] = zscore(reference[[i]], np.delete(reference, i))[0]
    return scores


def transductive_rank(scores: np.ndarray) -> np.ndarray:
    """Rank of each score among the test scores themselves, in [0, 1], ties averaged; a single score has rank 0.

    It uses statistics of the test set, which the challenge rules since 2025 can be read to forbid. So it is used on
    request only.
    """
    scores = _scores(scores)
    if len(scores) < 2:
        return np.zeros(len(scores))
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks: np.ndarray = ((np.cumsum(counts) - (counts + 1) / 2) / (len(scores) - 1))[inverse]
    return ranks


@dataclass(frozen=True)
class Calibration:
    """How a test score, and how a training score, is placed among the reference scores.

    prepared: reference scores (n,) to the function that places test scores among them.
    """

    prepared: Callable[[np.ndarray], Callable[[np.ndarray], np.ndarray]]
    of_reference: Callable[[np.ndarray], np.ndarray]

    def of_test(self, scores: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Test scores (m,) placed among reference scores (n,)."""
        return self.prepared(reference)(scores)


CALIBRATIONS: dict[str, Calibration] = {
    "ecdf": Calibration(Positions.of, position_of_reference),
    "zscore": Calibration(ZScores.of, zscore_of_reference),
}


@dataclass(frozen=True, eq=False)
class PlacedScores:
    """Scores (n,) of clips with the machine and section of each; with `domain`, calibration is by domain. No labels.

    `block` numbers the blocks of training clips: a clip is not placed among clips of its own block. `flat` marks the
    training clips of sections whose rows tell nothing, so that the member has no vote there; None where there are none.
    """

    scores: np.ndarray
    machine: np.ndarray
    section: np.ndarray
    domain: np.ndarray | None = None
    block: np.ndarray | None = None
    flat: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("machine", "section", "domain", "block", "flat"):
            column = getattr(self, name)
            if column is not None and column.shape != self.scores.shape:
                raise ValueError(f"{len(self.scores)} scores need as many values of {name}, got shape {column.shape}")

    def groups(self) -> Iterator[tuple[tuple[str, str], np.ndarray]]:
        """Every (machine, section), sorted, with the rows of its clips."""
        rows: dict[tuple[str, str], list[int]] = {}
        for row, group in enumerate(zip(self.machine.tolist(), self.section.tolist(), strict=True)):
            rows.setdefault(group, []).append(row)
        return ((group, np.array(rows[group])) for group in sorted(rows))

    def rows_of(self, group: tuple[str, str]) -> np.ndarray:
        """Rows of one (machine, section); ValueError names one without rows."""
        rows = np.flatnonzero((self.machine == group[0]) & (self.section == group[1]))
        if not len(rows):
            raise ValueError(f"{group[0]} section {group[1]}: test clips but no reference scores of training clips")
        return rows


def calibrate(test: PlacedScores, reference: PlacedScores, *, method: str = "ecdf") -> np.ndarray:
    """Place each test score among the reference scores of its section; returns (m,).

    Where both sides give domains, a domain with at least MIN_DOMAIN training clips is calibrated by these alone. All
    other clips, also those of unknown domain, are calibrated by the whole section.
    """
    rule = calibration(method)
    placed = np.empty(len(test.scores))
    for group, rows in test.groups():
        of_section = reference.rows_of(group)
        for clips, training in _maps(test, rows, reference, of_section):
            placed[clips] = rule.of_test(test.scores[clips], reference.scores[training])
    return placed


def calibrate_reference(reference: PlacedScores, *, method: str = "ecdf") -> np.ndarray:
    """Place each training clip's honest score among the others that `calibrate` compares its kind with; (n,).

    The others are the clips of other blocks. Where these lack the clip's domain, they are those of the whole section.
    """
    rule = calibration(method)
    placed = np.empty(len(reference.scores))
    for _, rows in reference.groups():
        for clips, training in _maps(reference, rows, reference, rows):
            if blocked(reference.block, rows):
                for own, others in apart(reference.block, clips, training, rows):
                    placed[own] = rule.of_test(reference.scores[own], reference.scores[others])
                continue
            at = np.searchsorted(training, clips)  # both are sorted, and `training` contains every one of `clips`
            placed[clips] = rule.of_reference(reference.scores[training])[at]
    return placed


def _maps(
    test: PlacedScores, rows: np.ndarray, reference: PlacedScores, of_section: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The section's clips `rows` of `test` in parts, each with the rows of `reference` that it is compared with."""
    pooled = np.ones(len(rows), dtype=bool)
    if test.domain is not None and reference.domain is not None:
        for domain in ("source", "target"):
            of_domain = of_section[reference.domain[of_section] == domain]
            here = test.domain[rows] == domain
            if len(of_domain) >= MIN_DOMAIN and here.any():
                pooled &= ~here
                yield rows[here], of_domain
    if pooled.any():
        yield rows[pooled], of_section


def calibration(method: str) -> Calibration:
    """The calibration of that name; ValueError lists the known names."""
    if method not in CALIBRATIONS:
        raise ValueError(f"unknown calibration {method!r}; choose from {', '.join(sorted(CALIBRATIONS))}")
    return CALIBRATIONS[method]

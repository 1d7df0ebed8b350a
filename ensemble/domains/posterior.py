"""Probability that a clip is of the target domain, from the domains of training clips and the sound of the clip.

Per machine, each of the classifiers in classifiers.py learns from the training clips in every view. Its log odds for
held-out clips are calibrated by two Gaussians. The calibrated log odds of all views are averaged and calibrated again.
A view that cannot tell the domains apart has calibrated log odds near 0, so it does not count. The classifier with the
lower log loss on held-out clips is taken. No label, domain or statistic of a test clip is used.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ensemble.domains.classifiers import CLASSIFIERS, SPREAD_FLOOR, Classifier, standardised
from featstore.building.cores import cores

LEAST = 3
"""Training clips that each domain of a machine needs; with fewer there is no posterior."""

PRIOR_CLIPS = 3
"""Weight of the variance of both domains in that of one, in clips."""

LEAST_CERTAIN = 1e-3
"""Least probability of the right domain that a log loss counts."""

MOST_CERTAIN = 30.0
"""Largest log odds."""


@dataclass(frozen=True, eq=False)
class Clips:
    """Clips in columns (n,): machine, section, whether of the target domain, and how each takes part.

    bank: training clips of known domain. fold: a clip is judged by the bank clips of other folds; NEW is no fold.
    """

    machine: np.ndarray
    section: np.ndarray
    target: np.ndarray
    bank: np.ndarray
    fold: np.ndarray

    def of_machines(self) -> Iterable[np.ndarray]:
        """Rows of every machine whose domains both have LEAST training clips."""
        for machine in np.unique(self.machine):
            rows = np.flatnonzero(self.machine == machine)
            target = self.target[rows][self.bank[rows]]
            if min(np.count_nonzero(target), np.count_nonzero(~target)) >= LEAST:
                yield rows

    def part(self, rows: np.ndarray) -> "Clips":
        """Some of the clips."""
        columns = (self.machine, self.section, self.target, self.bank, self.fold)
        return Clips(*(column[rows] for column in columns))


NEW = -1
"""Fold of clips that are in no fold, such as test clips: all bank clips judge them."""


@dataclass(frozen=True, eq=False)
class Posterior:
    """Probability (n,) of the target domain; NaN for the clips of a machine that has too few clips of a domain."""

    probability: np.ndarray
    clips: Clips

    @cached_property
    def reliability(self) -> float:
        """Share of held-out bank clips whose domain is named correctly, mean over the domains; NaN without any."""
        judged = self.clips.bank & (self.clips.fold != NEW) & ~np.isnan(self.probability)
        if not judged.any():
            return float("nan")
        right = (self.probability[judged] > 0.5) == self.clips.target[judged]
        target = self.clips.target[judged]
        return float((right[target].mean() + right[~target].mean()) / 2)


def posterior(views: Iterable[np.ndarray], clips: Clips) -> Posterior:
    """Posterior of clips from their rows (n, d) in several views."""
    from threadpoolctl import threadpool_limits

    machines = list(clips.of_machines())
    total, count = np.zeros((len(CLASSIFIERS), len(clips.machine))), 0
    # The matrices are small: a thread per machine saves time, threads within a product cost more than they save.
    with threadpool_limits(1), ThreadPoolExecutor(cores()) as pool:
        for X in views if machines else ():
            jobs = [(X[rows], clips.part(rows)) for rows in machines]
            for rows, odds in zip(machines, pool.map(_calibrated_odds, *zip(*jobs, strict=True)), strict=True):
                total[:, rows] += odds
            count += 1
    probability = np.full(len(clips.machine), np.nan)
    for rows in machines if count else ():
        of_machine = clips.part(rows)
        means = [calibrated(of_classifier, of_machine) for of_classifier in total[:, rows] / count]
        probability[rows] = _probability(min(means, key=lambda mean: _log_loss(mean, of_machine)))
    return Posterior(probability, clips)


def _calibrated_odds(X: np.ndarray, clips: Clips) -> np.ndarray:
    """Calibrated log odds (classifiers, n) of one machine in one view."""
    return np.array([calibrated(odds, clips) for odds in log_odds(X, clips, CLASSIFIERS)])


def _probability(odds: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-odds)))


def _log_loss(odds: np.ndarray, clips: Clips) -> float:
    """Mean of both domains' log loss for the held-out bank clips; an error costs at most that of `LEAST_CERTAIN`."""
    known = clips.bank & (clips.fold != NEW)
    right = np.where(clips.target, _probability(odds), _probability(-odds))
    loss = -np.log(np.maximum(right, LEAST_CERTAIN))
    return float(np.mean([loss[known & (clips.target == is_target)].mean() for is_target in (False, True)]))


def log_odds(X: np.ndarray, clips: Clips, classifiers: Sequence[Classifier]) -> np.ndarray:
    """Log odds (classifiers, n) of the target domain for rows X (n, d) of one machine, by the bank of other folds.

    0 where the bank clips of other folds lack a domain.
    """
    odds = np.zeros((len(classifiers), len(X)))
    for fold in np.unique(clips.fold):
        judged = clips.fold == fold
        bank = clips.bank & ~judged if fold != NEW else clips.bank
        target = clips.target[bank]
        if not target.any() or target.all():
            continue
        Z = standardised(X, clips.section, bank)
        if Z.shape[1]:
            odds[:, judged] = [classifier(Z[bank], target, Z[judged]) for classifier in classifiers]
    return odds


def calibrated(odds: np.ndarray, clips: Clips) -> np.ndarray:
    """Log odds (n,) of one machine, mapped so that they hold for the held-out bank clips of both domains.

    The clips of each domain are taken as a Gaussian. Target clips are few and vary more, so a clip far from the source
    clips is sooner a target clip than by the middle between the means. Odds beyond the turning point of the ratio of
    the two Gaussians stay at its value. All 0 where target clips do not have the higher log odds.
    """
    known = clips.bank & (clips.fold != NEW)
    sides = [odds[known & (clips.target == is_target)] for is_target in (False, True)]
    if not all(len(side) for side in sides):
        return np.zeros(len(odds))
    low, high = (float(side.mean()) for side in sides)
    if high <= low:
        return np.zeros(len(odds))
    floor = SPREAD_FLOOR * (high - low) ** 2
    shared = float(np.mean([side.var() for side in sides]))
    of_source, of_target = (max(_variance(side, shared), floor) for side in sides)
    curvature = 1 / of_source - 1 / of_target
    if curvature:
        turning = (low / of_source - high / of_target) / curvature
        odds = np.maximum(odds, turning) if curvature > 0 else np.minimum(odds, turning)
    ratio = np.square(odds - low) / of_source - np.square(odds - high) / of_target + np.log(of_source / of_target)
    return np.asarray(np.clip(ratio / 2, -MOST_CERTAIN, MOST_CERTAIN))


def _variance(side: np.ndarray, shared: float) -> float:
    """Variance for a new clip of a domain, drawn towards that of both domains where there are few clips."""
    n = len(side)
    return (n * float(side.var()) + PRIOR_CLIPS * shared) / (n + PRIOR_CLIPS) * (1 + 1 / n)

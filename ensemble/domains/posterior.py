"""Probability that a clip is of the target domain, from the domains of training clips and the sound of the clip.

Per machine, each of the classifiers in classifiers.py learns from the training clips in every view. Its log odds for
held-out clips are calibrated by two Gaussians. The calibrated log odds of all views are averaged and calibrated again.
A view that cannot tell the domains apart has calibrated log odds near 0, so it does not count. The classifier with the
lower log loss on held-out clips is taken. No label, domain or statistic of a test clip is used.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ensemble.domains.clips import Clips
from ensemble.domains.learning import Learned, learned, probability_of


@dataclass(frozen=True, eq=False)
class Posterior:
    """Probability (n,) of the target domain; NaN for the clips of a machine that has too few clips of a domain."""

    probability: np.ndarray
    clips: Clips

    @classmethod
    def of(cls, machines: Sequence[Learned], clips: Clips) -> "Posterior":
        """Of the clips that the machines learned from, each by the bank of other folds."""
        probability = np.full(len(clips.machine), np.nan)
        for machine in machines:
            probability[machine.rows] = probability_of(machine.calibration.applied(machine.odds))
        return cls(probability, clips)

    @cached_property
    def reliability(self) -> float:
        """Share of held-out bank clips whose domain is named correctly, mean over the domains; NaN without any."""
        judged = self.clips.bank & ~np.isnan(self.probability)
        if not judged.any():
            return float("nan")
        right = (self.probability[judged] > 0.5) == self.clips.target[judged]
        target = self.clips.target[judged]
        return float((right[target].mean() + right[~target].mean()) / 2)


def posterior(views: Iterable[np.ndarray], clips: Clips) -> Posterior:
    """Posterior of clips from their rows (n, d) in several views, each by the bank of other folds."""
    return Posterior.of(learned(views, clips, keep=False), clips)

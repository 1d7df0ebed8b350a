"""Does the scored batch look like the reference at all? Where it does not, no nominal rate can be trusted.

A batch may hold anomalies, and they change its distribution too. So two one-sided Kolmogorov-Smirnov tests are asked
per bank, each of a part that anomalies cannot fake, as long as they are at most a stated share of the batch:

- higher: the batch without that share of its highest scores, against all reference scores. Of a batch whose normal
  clips are like the training clips, what is left is never stochastically larger than they are, wherever its anomalies
  lie. The test is exact when all of them lie on top, and on the safe side otherwise.
- lower: the whole batch. Anomalies, which tend to score higher, can only hide a shift downwards.

A shift that the stated share of anomalies could explain stays unseen: without labels nobody can tell the two apart.
"""

import math
from dataclasses import dataclass

import numpy as np

from ensemble.decision.conformal import Bank
from ensemble.decision.false_alarms import exact_interval
from ensemble.decision.thresholds import Threshold
from ensemble.run import Detection

ANOMALIES_AT_MOST = 0.5
"""As many as in the challenge's test sets; a plant that knows of fewer sees smaller shifts."""

LEVEL = 0.01
"""Chance of any false warning in a batch without drift, over all its banks and both directions."""

MIN_CLIPS = 8


@dataclass(frozen=True)
class Drift:
    """One bank's batch of `clips` against `references` training clips; `domain` is empty where domains share a bank.

    `higher`, `lower`: p-values of the two tests. `direction`: the shift that is beyond chance, or empty. `at_least`:
    the share of normal clips that is surely reported (95 %), whichever clips are anomalous. `nominal`: the highest rate
    that the number of training clips leaves possible (95 %).
    """

    machine: str
    section: str
    domain: str
    clips: int
    references: int
    higher: float
    lower: float
    direction: str
    at_least: float
    nominal: float
    anomalies_at_most: float

    @property
    def warning(self) -> str:
        """What the user should know; empty where nothing speaks against the nominal rate."""
        if not self.direction and self.at_least <= self.nominal:
            return ""
        where = f"{self.machine} section {self.section}{f' {self.domain}' if self.domain else ''}"
        share = f"{100 * self.anomalies_at_most:g} %"
        surely = (
            f"unless more than {share} of the clips are anomalous, {100 * self.at_least:.0f} % of the normal ones are"
        )
        told = {
            "": f"{surely} reported, and the nominal false-alarm rate cannot be trusted",
            "higher": f"more than {share} of the clips are anomalous, or normal sound has shifted and the nominal "
            "false-alarm rate cannot be trusted",
            "lower": "scores lie lower than those of training clips: normal sound shifted, and faults may go unseen",
        }[self.direction]
        return f"{where}: {told}{f' (p {min(self.higher, self.lower):.1g})' if self.direction else ''}"


def drift(detection: Detection, *, anomalies_at_most: float = ANOMALIES_AT_MOST) -> tuple[Drift, ...]:
    """One entry per bank with at least MIN_CLIPS scored clips; none where training clips rank among themselves."""
    if not 0 <= anomalies_at_most < 1:
        raise ValueError(f"anomalies_at_most must be at least 0 and below 1, got {anomalies_at_most}")
    if detection.self_ranked:
        return ()
    decided = detection.decided
    asked = [pair for pair in zip(decided.banks, decided.thresholds, strict=True) if len(pair[0].rows) >= MIN_CLIPS]
    return tuple(
        _of_bank(detection, bank, threshold, anomalies_at_most, LEVEL / (2 * len(asked))) for bank, threshold in asked
    )


def _of_bank(detection: Detection, bank: Bank, threshold: Threshold | None, share: float, level: float) -> Drift:
    scores, n = detection.score[bank.rows], len(bank.rows)
    higher, lower = shift_p_values(scores, bank.reference, anomalies_at_most=share)
    reported = int(detection.decision[bank.rows].sum())
    at_least = max(0.0, (exact_interval(reported, n)[0] - share) / (1 - share))
    direction = "higher" if higher <= level else "lower" if lower <= level else ""
    nominal = threshold.high if threshold else 1.0
    who = (bank.machine, bank.section, bank.domain)
    return Drift(*who, n, len(bank.reference), higher, lower, direction, at_least, nominal, share)


def shift_p_values(scores: np.ndarray, reference: np.ndarray, *, anomalies_at_most: float) -> tuple[float, float]:
    """p-values of a shift of the normal scores upwards and downwards; see the module's text."""
    from scipy.stats import ks_2samp

    kept = np.sort(scores)[: math.ceil((1 - anomalies_at_most) * len(scores))]
    higher = ks_2samp(kept, reference, alternative="less", method="asymp").pvalue  # "less" is about the distributions
    lower = ks_2samp(scores, reference, alternative="greater", method="asymp").pvalue
    return float(higher), float(lower)

"""Drift check: are the scored clips like the training clips at all? If not, the stated false-alarm rate does not hold.

The scored clips may contain anomalies, which change their distribution too. So each bank gets two one-sided
Kolmogorov-Smirnov tests, of scores that anomalies cannot explain as long as they are at most a stated share of the
clips:

- higher: the scores without that share of the highest ones, against all reference scores. Where the normal clips are
  like the training clips, the remaining scores are never stochastically larger than the reference scores, wherever the
  anomalies lie. The test is exact when all anomalies have the highest scores, and conservative otherwise.
- lower: all scores. Anomalies tend to score higher, so they can only hide a shift to lower scores.

A shift that the stated share of anomalies could explain is not detected: without labels the two cannot be told apart.

Windows of a recording resemble each other, so they are not independent. All windows count in the distributions, and the
tests take as many of them as independent as there are recordings, or blocks of training clips. Where the windows of a
recording are alike this is exact, otherwise conservative.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from ensemble.decision.banks import Bank
from ensemble.decision.blocks import independent
from ensemble.decision.conformal import Decisions
from ensemble.decision.false_alarms import exact_interval
from ensemble.decision.thresholds import Threshold, rate_interval

ANOMALIES_AT_MOST = 0.5
"""The share in the challenge's test sets. A smaller share lets the check detect smaller shifts."""

LEVEL = 0.01
"""Chance of any false warning where nothing has shifted, over all banks and both directions."""

MIN_CLIPS = 8
"""Independent scored clips (recordings) that a bank needs to be checked."""


@dataclass(frozen=True)
class Drift:
    """`clips` scored clips of one bank against its `references`; `domain` is empty where domains share a bank.

    `higher`, `lower`: p-values of the two tests. `direction`: the significant shift, or empty. `at_least`: lower bound
    (95 %) of the share of normal clips that is reported, whichever clips are anomalous. `nominal`: upper bound (95 %)
    of the false-alarm rate that the training clips allow. `independent`, `independent_references`: how many of the
    clips and references are taken as independent.
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
    independent: float
    independent_references: float

    @property
    def warning(self) -> str:
        """What the user should know; empty where nothing contradicts the nominal rate."""
        if not self.direction and self.at_least <= self.nominal:
            return ""
        bank = f"{self.machine} section {self.section}{f' {self.domain}' if self.domain else ''}"
        share = "half" if self.anomalies_at_most == 0.5 else f"{100 * self.anomalies_at_most:g} %"
        invalid = "the stated false-alarm rate does not hold here"
        message = {
            "": f"at least {100 * self.at_least:.0f} % of the normal clips are reported (or over {share} of the clips "
            f"are anomalous): {invalid}",
            "higher": f"normal sound has probably shifted (or over {share} of the clips are anomalous): {invalid}",
            "lower": "normal sound has probably shifted: scores are lower than those of the training clips, and faults "
            "may be missed",
        }[self.direction]
        return f"{bank}: {message}{f' (p {min(self.higher, self.lower):.1g})' if self.direction else ''}"


def drift(
    scores: np.ndarray,
    decisions: Decisions,
    *,
    recording: np.ndarray | None = None,
    counted: np.ndarray | None = None,
    anomalies_at_most: float = ANOMALIES_AT_MOST,
) -> tuple[Drift, ...]:
    """One entry per bank with clips of at least MIN_CLIPS recordings; none where training clips are ranked.

    `decisions` are those on `scores` (m,). `recording` (m,): name or number of each clip's recording, None where every
    clip is one. `counted` (m,): clips that count, None for all; copies of training clips say nothing of a shift.
    """
    if not 0 <= anomalies_at_most < 1:
        raise ValueError(f"anomalies_at_most must be at least 0 and below 1, got {anomalies_at_most}")
    if decisions.self_ranked:
        return ()
    recording = np.arange(len(scores)) if recording is None else recording
    banks = decisions.banks
    if counted is not None:
        banks = tuple(replace(bank, rows=bank.rows[counted[bank.rows]]) for bank in banks)
    checked = [
        (bank, threshold, worth)
        for bank, threshold in zip(banks, decisions.thresholds, strict=True)
        if (worth := independent(recording[bank.rows])) >= MIN_CLIPS
    ]
    level = LEVEL / (2 * max(1, len(checked)))
    return tuple(
        _of_bank(bank, threshold, scores, decisions.reported, worth=worth, share=anomalies_at_most, level=level)
        for bank, threshold, worth in checked
    )


def _of_bank(
    bank: Bank,
    threshold: Threshold | None,
    scores: np.ndarray,
    reported: np.ndarray,
    *,
    worth: float,
    share: float,
    level: float,
) -> Drift:
    scores, reported, n = scores[bank.rows], reported[bank.rows], len(bank.rows)
    sizes = (worth, bank.independent)
    higher, lower = shift_p_values(scores, bank.reference, anomalies_at_most=share, sizes=sizes)
    at_least = least_reported(reported, worth, share)
    direction = "higher" if higher <= level else "lower" if lower <= level else ""
    nominal = rate_interval(threshold.expected, bank.independent)[1] if threshold else 1.0
    names = (bank.machine, bank.section, bank.domain)
    return Drift(*names, n, len(bank.reference), higher, lower, direction, at_least, nominal, share, *sizes)


def least_reported(reported: np.ndarray, worth: float, share: float) -> float:
    """Lower bound (95 %) of the share of normal clips that is reported where up to `share` of the clips are anomalous.

    reported (n,): the decisions, which count as `worth` independent ones.
    """
    hits = math.floor(reported.mean() * worth + 1e-9)
    return max(0.0, (exact_interval(hits, math.ceil(worth - 1e-9))[0] - share) / (1 - share))


def shift_p_values(
    scores: np.ndarray,
    reference: np.ndarray,
    *,
    anomalies_at_most: float,
    sizes: tuple[float, float] | None = None,
) -> tuple[float, float]:
    """p-values of a shift of the normal scores to higher and to lower scores; see the module docstring.

    `sizes`: how many of the scores and of the reference scores are taken as independent, None for all.
    """
    from scipy.stats import ks_2samp

    n, references = sizes or (len(scores), len(reference))
    lowest = np.sort(scores)[: math.ceil((1 - anomalies_at_most) * len(scores))]
    above = ks_2samp(lowest, reference, alternative="less", method="asymp").statistic  # "less": of the distribution
    below = ks_2samp(scores, reference, alternative="greater", method="asymp").statistic
    return _ks_p_value(above, len(lowest) * n / len(scores), references), _ks_p_value(below, n, references)


def _ks_p_value(statistic: float, n: float, references: float) -> float:
    """p-value of a one-sided Kolmogorov-Smirnov statistic, asymptotic with Hodges' (1958) correction, as SciPy's."""
    larger, smaller = max(n, references), min(n, references)
    z = math.sqrt(n * references / (n + references)) * statistic
    correction = 2 / 3 * z * (larger + 2 * smaller) / math.sqrt(n * references * (n + references))
    return min(1.0, math.exp(-2 * z**2 - correction))

"""How far a score is above its threshold, as a ratio that a person can compare: twice, nine times.

Fused scores lie in (0, 1), and differences close to 1 mean most. Their ratio is (1 - threshold) / (1 - score): at twice
the threshold, the score is twice as close to 1. For a fusion by the highest percentile this is nearly a ratio of shares
of normal clips; for others it is not, so no share is stated. A score of 1 or more, which only a threshold by hand can
be, has the largest ratio.

Scores of a single detector have a unit of their own. Their ratio is that of the distances from the typical normal clip:
(score - median) / (threshold - median), with the median of the reference scores of the section. At twice the threshold,
a clip is twice as far from the typical normal clip as the threshold is. A threshold by hand may be below the typical
clip: then the ratio is 1 at the threshold and 2 at the typical clip, so that higher scores keep higher ratios.
"""

import numpy as np

MOST = 9999.0
"""Larger ratios are shown as this."""


def excess(score: np.ndarray, threshold: np.ndarray, middle: np.ndarray | None) -> np.ndarray:
    """The ratio (m,) of every clip: above 1 where its score is above its threshold, at most 1 otherwise, never NaN.

    middle (m,): the median of the reference scores of each clip's section; None for fused positions.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if middle is None:
            ratio = np.where(score < 1, (1 - threshold) / (1 - score), MOST)
        else:
            beyond = (score - threshold) / np.abs(threshold - middle)
            ratio = np.where(threshold > middle, (score - middle) / (threshold - middle), 1 + beyond)
    ratio = np.clip(np.nan_to_num(ratio, nan=0.0, posinf=MOST, neginf=0.0), 0.0, MOST)
    above = np.maximum(ratio, np.nextafter(1.0, 2.0))
    return np.asarray(np.where(score > threshold, above, np.minimum(ratio, 1.0)))


def excess_text(ratio: float) -> str:
    """A ratio in words: `9 times`, `1.4 times`, `0.6 times` the threshold."""
    if ratio >= MOST:
        return f"over {MOST - 999:,.0f} times"
    text = f"{ratio:.0f}" if ratio >= 9.95 else f"{ratio:.1f}"
    return f"{'1.0' if text == '1' else text} times"


def excess_meaning(is_position: bool) -> str:
    """What "2 times the threshold" means: for fused positions, or for the scores of a single detector."""
    if is_position:
        return "2 times the threshold: the score is twice as close to 1, the highest possible one, as the threshold is."
    return (
        "2 times the threshold: twice as far from the typical normal clip as the threshold is. 3 times: 3 times as far."
    )

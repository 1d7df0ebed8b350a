"""How far a score is above its threshold: by hand, for both scales of scores, and in words."""

import numpy as np
import pytest

from ensemble.page.excess import MOST, excess, excess_meaning, excess_text


def test_positions_compare_the_shares_of_normal_clips_beyond() -> None:
    score, threshold = np.array([0.99, 0.95, 0.9, 0.8, 0.999]), np.full(5, 0.9)
    np.testing.assert_allclose(excess(score, threshold, None), [10, 2, 1, 0.5, 100])


def test_a_position_that_no_normal_clip_reaches_is_not_the_threshold() -> None:
    score = np.array([1.01, 1.0, 5.0])
    np.testing.assert_array_equal(excess(score, np.full(3, 0.9), None), [MOST] * 3)


def test_what_a_ratio_means() -> None:
    assert (
        excess_meaning(True)
        == "2 times the threshold: the score is twice as close to 1, the highest possible one, as the threshold is."
    )
    assert excess_meaning(False).startswith("2 times the threshold: twice as far from the typical normal clip")


def test_distances_compare_with_the_typical_clip() -> None:
    score, threshold, middle = np.array([5.0, 3.0, 2.0, 1.0, 0.0]), np.full(5, 3.0), np.full(5, 1.0)
    np.testing.assert_allclose(excess(score, threshold, middle), [2, 1, 0.5, 0, 0])


def test_a_threshold_below_the_typical_clip_keeps_the_order() -> None:
    score, middle = np.array([0.0, 1.0, 2.0, 3.0, 5.0]), np.full(5, 3.0)
    np.testing.assert_allclose(excess(score, np.full(5, 1.0), middle), [0.5, 1, 1.5, 2, 3])
    at_it = excess(score, middle, middle)
    assert at_it[3] <= 1 < at_it[4]


@pytest.mark.parametrize("middle", [None, np.array(0.5)])
def test_it_agrees_with_the_decision_and_is_never_nan(middle: np.ndarray | None, rng: np.random.Generator) -> None:
    special = [0.0, 0.5, 1.0, np.inf, -np.inf, 1e300, -1e300, 2.0, np.nextafter(0.5, 1)]
    score, threshold = (np.array(values) for values in zip(*[(a, b) for a in special for b in special], strict=True))
    score = np.where(np.isfinite(score), score, 0.7)
    ratio = excess(score, threshold, middle if middle is None else np.broadcast_to(middle, score.shape))
    assert np.isfinite(ratio).all()
    np.testing.assert_array_equal(ratio > 1, score > threshold)
    assert ratio.min() >= 0
    assert ratio.max() <= MOST


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(MOST, "over 9,000 times"), (9.0, "9.0 times"), (12.4, "12 times"), (9.96, "10 times"), (0.56, "0.6 times")],
)
def test_in_words(ratio: float, text: str) -> None:
    assert excess_text(ratio) == text

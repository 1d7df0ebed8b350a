"""Weights of pairs by hand."""

import numpy as np
import pytest

from ensemble.selection.informative import by_agreement, by_average, by_best, spearman

RANKED = np.array([0.5, 0.7, 0.9])


def test_a_weight_is_the_reliability_of_the_whole_from_that_of_a_half() -> None:
    """Spearman and Brown: halves that correlate by h give 2 h / (1 + h); the rankings of all pairs agree here."""
    values = np.stack([RANKED] * 3, axis=1)
    second = np.stack([RANKED, RANKED[[0, 2, 1]], RANKED[::-1]], axis=1)  # rank correlations 1, 0.5 and -1
    np.testing.assert_allclose(by_agreement(values, (values, second)), [1, 2 * 0.5 / 1.5, 0], rtol=1e-12)


def test_a_weight_falls_with_the_agreement_with_the_other_pairs() -> None:
    """Two pairs of three rank alike; the weighted mean rank is theirs, and the third correlates with it by 0.5."""
    values = np.stack([RANKED, RANKED, RANKED[[0, 2, 1]]], axis=1)
    np.testing.assert_allclose(by_agreement(values, (values, values)), [1, 1, 0.5], rtol=1e-12)


@pytest.mark.parametrize(("average", "weight"), [(0.49, 0), (0.51, 1), (0.97, 1), (0.985, 0)])
def test_a_pair_that_few_or_nearly_all_candidates_detect_has_no_weight(average: float, weight: float) -> None:
    values = np.stack([np.array([-0.01, 0.0, 0.01]) + average, RANKED], axis=1)
    np.testing.assert_allclose(by_agreement(values, (values, values)), [weight, 1], rtol=1e-12)


def test_two_candidates_have_a_rank_correlation() -> None:
    assert spearman(np.array([[1.0, 1], [2, 2]]), np.array([[3.0, 5], [4, 4]])).tolist() == [1, -1]


def test_the_other_rules_by_hand() -> None:
    """Of 25 candidates the best 20 must detect a pair on average, or all of them."""
    values = np.zeros((25, 3))
    values[:20, 0], values[:19, 1], values[:, 2] = 0.76, 0.76, 0.54
    values[20, 2] = 0.9  # an average of 0.554
    assert by_best(values, (values, values)).tolist() == [1, 0, 0]
    assert by_average(values, (values, values)).tolist() == [1, 1, 1]
    assert by_average(values[:20], (values, values)).tolist() == [1, 1, 0]

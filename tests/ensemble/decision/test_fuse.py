"""Fusion rules: values by hand, symmetries, honest fused reference scores, refusals."""

import numpy as np
import pytest

from ensemble.decision.calibrate import CALIBRATIONS, PlacedScores, position, transductive_rank
from ensemble.decision.fuse import FUSIONS, combine, fuse

MATRIX = np.array([[0.1, 0.5, 0.9], [0.3, 0.2, 0.8]])


def weights_for(rule, members):
    return [1.0] * members if FUSIONS[rule].weighted else None


def placed(scores, sections=("00",)):
    n = len(scores)
    section = np.resize(np.array(sections), n)
    return PlacedScores(np.asarray(scores, dtype=float), np.full(n, "fan"), section)


def test_hand_computed_rules():
    np.testing.assert_allclose(combine("mean", MATRIX), [0.2, 0.35, 0.85])
    np.testing.assert_allclose(combine("weighted_mean", MATRIX, [3, 1]), [0.15, 0.425, 0.875])
    np.testing.assert_allclose(combine("max_rank", MATRIX), [0.3, 0.5, 0.9])
    np.testing.assert_allclose(combine("min_zscore", MATRIX), [0.1, 0.2, 0.8])


def test_published_rank_fusion():
    ranks = np.array([transductive_rank(np.array(s)) for s in ([0.1, 0.4, 0.4, 0.9], [5, 3, 8, 7])])
    np.testing.assert_allclose(combine("weighted_mean", ranks, [0.55, 0.45]), [0.15, 0.275, 0.725, 0.85])


@pytest.mark.parametrize("rule", FUSIONS)
def test_member_and_clip_order_do_not_matter(rule):
    rng = np.random.default_rng(0)
    matrix, order = rng.random((4, 9)), rng.permutation(9)
    weights = weights_for(rule, 4)
    fused = combine(rule, matrix, weights)
    np.testing.assert_allclose(combine(rule, matrix[::-1], weights), fused)
    np.testing.assert_array_equal(combine(rule, matrix[:, order], weights), fused[order])
    np.testing.assert_allclose(combine(rule, matrix[:1], weights_for(rule, 1)), matrix[0])


@pytest.mark.parametrize("rule", FUSIONS)
def test_a_clip_higher_for_every_member_is_higher_fused(rule):
    rng = np.random.default_rng(1)
    matrix = rng.random((3, 20))
    lower = matrix - rng.uniform(0.01, 0.2, (3, 20))
    assert (combine(rule, matrix, weights_for(rule, 3)) > combine(rule, lower, weights_for(rule, 3))).all()


def test_a_member_of_weight_zero_does_not_count():
    np.testing.assert_array_equal(combine("weighted_mean", MATRIX, [0, 2]), MATRIX[1])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1], r"2 members need 2 weights, got shape \(1,\)"),
        ([1, -1], "weights must be finite, not negative"),
        ([0, 0], "not all zero"),
        ([1, np.nan], "weights must be finite"),
        (None, "weighted_mean needs weights"),
    ],
)
def test_bad_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        combine("weighted_mean", MATRIX, weights)


def test_bad_matrices_and_rules_are_refused():
    with pytest.raises(ValueError, match="mean takes no weights"):
        combine("mean", MATRIX, [1, 1])
    with pytest.raises(ValueError, match="unknown fusion: 'median'; did you mean mean\\? choose from fisher, max_rank"):
        combine("median", MATRIX)
    with pytest.raises(ValueError, match=r"shape \(members, clips\)"):
        combine("mean", MATRIX[0])
    with pytest.raises(ValueError, match="member 1 has scores that are not finite"):
        combine("mean", np.array([[1.0], [np.nan]]))


@pytest.mark.parametrize("rule", FUSIONS)
def test_fused_scores_and_reference_follow_one_rule(rule):
    rng = np.random.default_rng(2)
    test = [placed(rng.normal(size=12), ("00", "01")) for _ in range(3)]
    reference = [placed(rng.normal(size=30), ("00", "01")) for _ in range(3)]
    fused = fuse(rule, test, reference, weights_for(rule, 3))
    chosen = CALIBRATIONS[FUSIONS[rule].calibration]
    for parity in (0, 1):
        rows = [member.scores[parity::2] for member in reference]
        by_hand = [chosen.of_test(member.scores[parity::2], row) for member, row in zip(test, rows, strict=True)]
        np.testing.assert_allclose(fused.scores[parity::2], combine(rule, np.array(by_hand), weights_for(rule, 3)))
        honest = np.array([chosen.of_reference(row) for row in rows])
        np.testing.assert_allclose(fused.reference[parity::2], combine(rule, honest, weights_for(rule, 3)))


def test_by_fisher_one_extreme_position_outweighs_several_in_the_middle():
    np.testing.assert_allclose(combine("fisher", np.array([[0.5], [0.9]])), 1 - np.sqrt(0.5 * 0.1))
    one_extreme, all_mild = np.array([0.999, 0.5, 0.5, 0.5]), np.array([0.7, 0.7, 0.7, 0.7])
    both = np.stack([one_extreme, all_mild], axis=1)
    mean, fisher = combine("mean", both), combine("fisher", both)
    assert mean[0] < mean[1]
    assert fisher[0] > fisher[1]


def test_fisher_takes_weights():
    matrix = np.array([[0.5], [0.9]])
    np.testing.assert_allclose(combine("weighted_fisher", matrix, [3, 1]), 1 - 0.5**0.75 * 0.1**0.25)
    np.testing.assert_allclose(combine("weighted_fisher", matrix, [0, 2]), matrix[1])


def test_min_zscore_is_the_smallest_distance_from_the_mean_in_deviations():
    reference = [placed([0.0, 2.0, 4.0]), placed([10.0, 10.0, 40.0])]
    fused = fuse("min_zscore", [placed([8.0, 100.0]), placed([50.0, 20.0])], reference)
    np.testing.assert_allclose(fused.scores, [30 / np.sqrt(200), 0], atol=1e-12)


def test_members_on_different_scales_count_alike():
    rng = np.random.default_rng(3)
    test, reference = placed(rng.normal(size=10)), placed(rng.normal(size=50))
    large = [PlacedScores(1e6 * side.scores + 5, side.machine, side.section) for side in (test, reference)]
    fused = fuse("mean", [test, large[0]], [reference, large[1]])
    np.testing.assert_allclose(fused.scores, position(test.scores, reference.scores), atol=1e-9)


@pytest.mark.parametrize("rule", FUSIONS)
def test_the_fused_threshold_is_honest(rule):
    """New normal clips exceed the 0.9 quantile of the fused reference about as often as one in ten."""
    rng = np.random.default_rng(4)
    rates = []
    for _ in range(20):
        shared = rng.normal(size=1200)
        members = [np.exp(shared + rng.normal(size=1200)) for _ in range(3)]
        fused = fuse(rule, [placed(m[200:]) for m in members], [placed(m[:200]) for m in members], weights_for(rule, 3))
        rates.append(np.mean(fused.scores > np.quantile(fused.reference, 0.9)))
    assert np.mean(rates) == pytest.approx(0.1, abs=0.02)


def test_members_must_cover_the_same_clips():
    with pytest.raises(ValueError, match="1 members have test scores but 2 have reference scores"):
        fuse("mean", [placed([1.0])], [placed([1.0]), placed([1.0])])
    with pytest.raises(ValueError, match=r"different numbers of clips: \[1, 2\]"):
        fuse("mean", [placed([1.0]), placed([1.0, 2.0])], [placed([1.0]), placed([1.0])])

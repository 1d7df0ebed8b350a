from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensemble.decision.calibrate import (
    CALIBRATIONS,
    PlacedScores,
    calibrate,
    calibrate_reference,
    position,
    position_of_reference,
    transductive_rank,
    zscore,
    zscore_of_reference,
)

values = st.integers(-2000, 2000).map(lambda i: i / 8)
references = st.lists(values, min_size=1, max_size=30).map(np.array)
some_scores = st.lists(values, min_size=2, max_size=30, unique=True).map(lambda v: np.sort(np.array(v)))
relaxed = settings(max_examples=80, deadline=None)


def test_hand_computed_positions():
    reference = np.array([3.0, 1.0, 2.0, 2.0])
    got = position(np.array([1, 1.5, 2, 2.5, 3]), reference)
    np.testing.assert_allclose(got, np.array([1, 1.75, 2.5, 3.25, 4]) / 5, rtol=0, atol=1e-15)
    above = 1 - 0.2 / (1 + np.log(2))  # one standard deviation beyond the maximum
    assert position(np.array([3 + reference.std()]), reference)[0] == pytest.approx(above)
    assert position(np.array([1 - reference.std()]), reference)[0] == pytest.approx(1 - above)


@relaxed
@given(references, some_scores)
def test_strictly_increasing_in_0_1(reference, scores):
    placed = position(scores, reference)
    assert (np.diff(placed) > 0).all()
    assert placed[0] > 0
    assert placed[-1] < 1


@relaxed
@given(references)
def test_reference_scores_take_their_middle_rank(reference):
    rankdata = pytest.importorskip("scipy.stats").rankdata
    np.testing.assert_allclose(position(reference, reference), rankdata(reference) / (len(reference) + 1), atol=1e-12)


@relaxed
@given(references, some_scores, st.sampled_from([0.25, 2.0, 1000.0]), st.sampled_from([-512.0, 0.0, 64.0]))
def test_a_linear_rescaling_changes_nothing(reference, scores, factor, shift):
    if np.ptp(reference) == 0:
        return  # without spread the scale is the size of the scores, which a shift changes
    moved = position(scores * factor + shift, reference * factor + shift)
    np.testing.assert_allclose(moved, position(scores, reference), rtol=0, atol=1e-9)


@relaxed
@given(references, some_scores)
def test_an_increasing_transform_keeps_order_and_neighbours(reference, scores):
    def bend(x):
        return np.sinh(x / 100)

    placed, bent = position(scores, reference), position(bend(scores), bend(reference))
    assert (np.diff(bent) > 0).all()
    at_reference = np.isin(scores, reference)
    np.testing.assert_allclose(bent[at_reference], placed[at_reference], rtol=0, atol=1e-12)
    cells = np.unique(position(reference, reference))
    np.testing.assert_array_equal(
        np.searchsorted(cells + 1e-12, placed[~at_reference]), np.searchsorted(cells + 1e-12, bent[~at_reference])
    )


def test_no_ties_far_beyond_the_reference():
    reference = np.random.default_rng(0).normal(size=990)
    far = np.array([10, 1e3, 1e6, 1e12, 1e12 * (1 + 1e-6), 1e15])
    for sign in (1, -1):
        placed = position(sign * far, reference)
        assert (np.diff(placed) * sign > 0).all()
        assert ((placed > 0) & (placed < 1)).all()


@pytest.mark.parametrize("reference", [[0.0], [2.0], [-2.0], [5.0, 5.0, 5.0], [1e200, 1e300], [1e-300, 0.0], [0.1] * 7])
def test_extreme_references(reference):
    middle = float(np.median(reference))
    scores = np.array([-1e308, middle - abs(middle) - 1, middle, middle + abs(middle) + 1, 1e308])
    placed = position(scores, np.array(reference))
    assert ((placed > 0) & (placed < 1)).all()
    assert (np.diff(placed) >= 0).all()
    assert placed[0] < placed[2] < placed[-1]


@relaxed
@given(references.filter(lambda r: len(r) > 1))
def test_a_training_clip_is_compared_with_the_others_only(reference):
    expected = [position(reference[[i]], np.delete(reference, i))[0] for i in range(len(reference))]
    np.testing.assert_allclose(position_of_reference(reference), expected, rtol=0, atol=1e-12)
    expected = [zscore(reference[[i]], np.delete(reference, i))[0] for i in range(len(reference))]
    np.testing.assert_allclose(zscore_of_reference(reference), expected, rtol=1e-6, atol=1e-9)


def test_a_single_training_clip():
    one = np.array([3.0])
    assert position_of_reference(one) == 0.5
    assert zscore_of_reference(one) == 0
    np.testing.assert_array_equal(zscore(np.array([3.0, 6.0]), one), [0, 1])
    assert position(one, one) == 0.5


def test_honest_positions_are_distributed_as_those_of_new_clips():
    rng = np.random.default_rng(0)
    reference, new = rng.gamma(2, size=3000), rng.gamma(2, size=3000)
    quantiles = np.arange(0.05, 1, 0.05)
    np.testing.assert_allclose(np.quantile(position_of_reference(reference), quantiles), quantiles, atol=1e-3)
    np.testing.assert_allclose(np.quantile(position(new, reference), quantiles), quantiles, atol=0.03)


def test_published_zscores_of_two_banks():
    """Distances of unit vectors to the nearest of two banks, leave-one-out statistics per bank, ddof 0."""

    def chord(a, b):
        return 2 * np.sin(np.abs(np.subtract.outer(np.radians(a), np.radians(b))) / 2)

    source, target, queries = np.array([0, 2, 4, 7, 10, 12]), np.array([60, 61, 75]), np.array([1, 30, 58, 90])
    z = []
    for bank in (source, target):
        own = chord(bank, bank)
        np.fill_diagonal(own, np.inf)
        z.append(zscore(chord(queries, bank).min(axis=1), own.min(axis=1)))
    np.testing.assert_allclose(np.min(z, axis=0), [-3.13090393, 3.98189059, -0.54350498, 1.57652127], atol=5e-9)


def test_transductive_rank():
    np.testing.assert_allclose(transductive_rank(np.array([3, 1, 2, 2, 5])), [0.75, 0, 0.375, 0.375, 1])
    np.testing.assert_array_equal(transductive_rank(np.array([7.0])), [0])
    assert transductive_rank(np.array([])).shape == (0,)


def placed(scores, section, domain=None, machine="fan"):
    n = len(scores)
    return PlacedScores(
        np.array(scores, dtype=float),
        np.full(n, machine),
        np.array([section] * n if isinstance(section, str) else section),
        None if domain is None else np.array(domain),
    )


@pytest.mark.parametrize("method", CALIBRATIONS)
def test_every_section_is_calibrated_by_itself(method):
    reference = placed([1, 2, 3, 10, 20, 30], ["00"] * 3 + ["01"] * 3)
    test = placed([20, 2, 3], ["01", "00", "01"])
    got = calibrate(test, reference, method=method)
    for i, rows in enumerate([slice(3, 6), slice(0, 3), slice(3, 6)]):
        expected = CALIBRATIONS[method].of_test(test.scores[[i]], reference.scores[rows])[0]
        assert got[i] == expected
    honest = calibrate_reference(reference, method=method)
    np.testing.assert_array_equal(honest[:3], CALIBRATIONS[method].of_reference(reference.scores[:3]))
    np.testing.assert_array_equal(honest[3:], CALIBRATIONS[method].of_reference(reference.scores[3:]))


def test_row_order_does_not_matter():
    rng = np.random.default_rng(0)
    reference = placed(rng.normal(size=40), rng.choice(["00", "01"], 40), rng.choice(["source", "target"], 40))
    order = rng.permutation(40)
    shuffled = PlacedScores(*(getattr(reference, c)[order] for c in ("scores", "machine", "section", "domain")))
    np.testing.assert_array_equal(calibrate_reference(reference)[order], calibrate_reference(shuffled))
    np.testing.assert_array_equal(calibrate(reference, shuffled)[order], calibrate(shuffled, reference))


@pytest.mark.parametrize("n_target", [4, 5])
def test_a_domain_is_calibrated_by_itself_from_five_clips_on(n_target):
    scores = [*range(10), *range(100, 100 + n_target)]
    reference = placed(scores, "00", ["source"] * 10 + ["target"] * n_target)
    test = placed([100.5, 4.5, 4.5], "00", ["target", "source", "unknown"])
    got = calibrate(test, reference)
    target = reference.scores[10:] if n_target == 5 else reference.scores
    assert got[0] == position(np.array([100.5]), target)[0]
    assert got[1] == position(np.array([4.5]), reference.scores[:10])[0]
    assert got[2] == position(np.array([4.5]), reference.scores)[0]
    honest = calibrate_reference(reference)
    np.testing.assert_array_equal(honest[:10], position_of_reference(reference.scores[:10]))
    np.testing.assert_array_equal(honest[10:], position_of_reference(target)[-n_target:])
    without = calibrate(replace(test, domain=None), reference)
    np.testing.assert_array_equal(without, position(test.scores, reference.scores))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="fan section 01: test clips but no reference scores"):
        calibrate(placed([1.0], "01"), placed([1.0], "00"))
    with pytest.raises(ValueError, match="unknown calibration 'rank'; choose from ecdf, zscore"):
        calibrate(placed([1.0], "00"), placed([1.0], "00"), method="rank")
    with pytest.raises(ValueError, match="at least one reference score"):
        position(np.array([1.0]), np.array([]))
    with pytest.raises(ValueError, match="reference scores must be finite, got nan"):
        position(np.array([1.0]), np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="scores must be finite, got inf"):
        zscore(np.array([np.inf]), np.array([1.0]))
    with pytest.raises(ValueError, match="2 scores need as many values of machine"):
        PlacedScores(np.zeros(2), np.array(["fan"]), np.array(["00", "00"]))


@pytest.mark.parametrize("method", CALIBRATIONS)
def test_a_training_clip_is_placed_among_those_of_other_blocks(method):
    scores, block = np.arange(12.0) ** 2, np.arange(12) // 4
    reference = replace(placed(scores, "00"), block=block)
    honest = calibrate_reference(reference, method=method)
    for number in range(3):
        expected = CALIBRATIONS[method].of_test(scores[block == number], scores[block != number])
        np.testing.assert_array_equal(honest[block == number], expected)
    test = placed([3.0, 50.0], "00")
    np.testing.assert_array_equal(
        calibrate(test, reference, method=method), calibrate(test, placed(scores, "00"), method=method)
    )
    single = replace(reference, block=np.arange(12))
    np.testing.assert_array_equal(
        calibrate_reference(single, method=method), calibrate_reference(placed(scores, "00"), method=method)
    )


def test_a_domain_of_one_block_is_placed_among_the_other_blocks_of_the_section():
    scores, domain = np.arange(12.0), ["source"] * 6 + ["target"] * 6
    reference = replace(placed(scores, "00", domain), block=np.array([0, 0, 0, 1, 1, 1] + [2] * 6))
    honest = calibrate_reference(reference)
    np.testing.assert_array_equal(honest[6:], position(scores[6:], scores[:6]))
    np.testing.assert_array_equal(honest[:3], position(scores[:3], scores[3:6]))

import numpy as np
import pytest

from detectors import density
from detectors.density import LDN, mean_until_exit


def at(*degrees: float) -> np.ndarray:
    angle = np.deg2rad(np.array(degrees))
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


BANK, QUERIES = at(0, 2, 4, 7, 60, 61, 75), at(1, 10, 58, 90, 180)


@pytest.mark.parametrize(
    ("K", "form", "expected"),
    [
        (1, "ratio", [0.250019039555, 1, 1.471008665048, 1.147113510585, 42.378381535223]),
        (2, "ratio", [0.100031990536, 0.529569899392, 0.035596591097, 1.068516876197, 39.47474721415]),
        (3, "ratio", [0.043519934225, 0.325536096665, 0.004226342572, 0.148326604658, 5.47970308608]),
        (1, "difference", [-0.000228434069, 0, 0.000228434069, 0.002184949993, 0.614557385689]),
    ],
)
def test_published_scores(K, form, expected):
    detector = LDN(K=K, form=form).fit(BANK)
    np.testing.assert_allclose(detector.anomaly_score(QUERIES), expected, rtol=1e-11, atol=2e-12)


def test_copies_change_nothing():
    plain, copied = LDN(K=2).fit(BANK), LDN(K=2).fit(np.concatenate([BANK, BANK[[0, 0, 4]], 2 * BANK[:1]]))
    np.testing.assert_allclose(copied.anomaly_score(QUERIES), plain.anomaly_score(QUERIES), rtol=1e-12)


def half(degrees: float) -> float:
    return float(0.5 - 0.5 * np.cos(np.deg2rad(degrees)))


def test_a_list_ends_where_the_distance_jumps():
    """Two clusters of three: the third neighbour of a clip is in the other one, 50 times as far as the second."""
    bank, queries = at(0, 2, 5, 60, 61, 63), at(1, 64)
    rho_low = [np.mean([half(2), half(5)]), np.mean([half(2), half(3)]), np.mean([half(3), half(5)])]
    rho_high = [np.mean([half(1), half(3)]), np.mean([half(1), half(2)]), np.mean([half(2), half(3)])]
    expected = [
        min(half(gap) / rho for gap, rho in zip(gaps, rho_low + rho_high, strict=True))
        for gaps in ((1, 1, 4, 59, 60, 62), (64, 62, 59, 4, 3, 1))
    ]
    np.testing.assert_allclose(LDN(K=5, exit=10).fit(bank).anomaly_score(queries), expected, rtol=1e-9)
    two = LDN(K=2).fit(bank).anomaly_score(queries)
    np.testing.assert_allclose(LDN(K=5, exit=10).fit(bank).anomaly_score(queries), two, rtol=1e-9)
    assert (LDN(K=5).fit(bank).anomaly_score(queries) < 0.1 * two).all(), "the density reaches into the other cluster"


def test_means_until_an_exit_by_hand():
    distance = np.array([[1.0, 1.5, 2.0, 9.0], [1.0, 3.0, 3.1, 3.2], [0.0, 0.0, 5.0, 5.0], [1.0, 2.0, 4.0, 8.0]])
    np.testing.assert_allclose(mean_until_exit(distance, 2.0), [1.5, 1.0, 0.0, 3.75])
    np.testing.assert_allclose(mean_until_exit(distance, 1e20), distance.mean(axis=1))


def test_an_exit_that_is_never_reached_changes_nothing(rng):
    X, queries = rng.normal(size=(40, 5)), rng.normal(size=(9, 5))
    plain, never = LDN(K=4).fit(X), LDN(K=4, exit=1e6).fit(X)
    np.testing.assert_allclose(never.anomaly_score(queries), plain.anomaly_score(queries), rtol=1e-12)
    np.testing.assert_allclose(never.reference_scores_, plain.reference_scores_, rtol=1e-12)


@pytest.mark.parametrize("exit", [None, 1.1, 1.5])
@pytest.mark.parametrize("form", ["ratio", "difference"])
@pytest.mark.parametrize("K", [1, 2, 5])
@pytest.mark.parametrize("n", [25, 60])
def test_reference_scores_equal_refitting(rng, form, K, n, exit):
    X = rng.normal(size=(n, 4))
    X[5:8] = X[0]
    X[8] = X[9]
    detector = LDN(K=K, form=form, exit=exit)
    brute = [detector.fit(np.delete(X, i, axis=0)).anomaly_score(X[[i]])[0] for i in range(n)]
    np.testing.assert_allclose(detector.fit(X).reference_scores_, brute, rtol=1e-9, atol=1e-12)


def test_reference_scores_in_blocks_equal_whole(rng, monkeypatch):
    X = rng.normal(size=(90, 4))
    whole = LDN(K=2).fit(X)
    monkeypatch.setattr(density, "ROWS", 7)
    np.testing.assert_allclose(LDN(K=2).fit(X).reference_scores_, whole.reference_scores_, rtol=1e-9)
    np.testing.assert_allclose(
        whole.anomaly_score(X[:20] + 0.1), LDN(K=2).fit(X).anomaly_score(X[:20] + 0.1), rtol=1e-9
    )


def test_k_is_capped_at_the_other_clips():
    np.testing.assert_allclose(
        LDN(K=50).fit(BANK).anomaly_score(QUERIES), LDN(K=6).fit(BANK).anomaly_score(QUERIES), rtol=1e-12
    )


@pytest.mark.parametrize(("form", "expected"), [("ratio", 0.5), ("difference", 0.5)])
def test_one_distinct_clip_has_no_density(form, expected):
    detector = LDN(form=form).fit(np.repeat(at(0), 5, axis=0))
    np.testing.assert_allclose(detector.anomaly_score(at(0, 90)), [0, expected], atol=1e-15)
    np.testing.assert_array_equal(detector.reference_scores_, 0)


def test_copies_of_training_clips_score_zero_exactly(rng):
    X = rng.normal(size=(50, 7))
    np.testing.assert_array_equal(LDN().fit(X).anomaly_score(3 * X[:9]) < 1e-25, True)
    np.testing.assert_array_equal(LDN().fit(X).anomaly_score(X), 0)


def test_tiny_distances_keep_their_digits():
    detector = LDN().fit(at(0, 90))  # rho is 1/2 for both
    angle = 1e-6
    query = np.array([[np.cos(angle), np.sin(angle)]])
    np.testing.assert_allclose(detector.anomaly_score(query), angle**2 / 2, rtol=1e-9)


def test_near_copies_stay_finite():
    detector = LDN().fit(at(0, 1e-9, 30, 31))
    assert np.isfinite(detector.anomaly_score(at(0.5, 10))).all()


def test_sparse_regions_are_forgiven():
    """A clip beside a loose cluster is no odder than the cluster's own spacing; plain distances say otherwise."""
    scores = LDN().fit(BANK).anomaly_score(at(3, 75 + 7))
    assert scores[1] / scores[0] < 2

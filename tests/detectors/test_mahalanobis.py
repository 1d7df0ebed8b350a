import numpy as np
import pytest

from detectors import make_detector
from detectors.covariance import Moments, Precision, ledoit_wolf
from detectors.geometry import geometric_median
from detectors.mahalanobis import Mahalanobis


def test_one_group_by_hand(rng):
    X, query = rng.normal(size=(50, 3)) @ rng.normal(size=(3, 3)), rng.normal(size=(8, 3))
    detector = Mahalanobis(covariance="empirical").fit(X)
    offset = query - X.mean(axis=0)
    expected = np.einsum("ij,jk,ik->i", offset, np.linalg.inv(np.cov(X.T)), offset)
    np.testing.assert_allclose(detector.anomaly_score(query), expected, rtol=1e-10)
    np.testing.assert_allclose(detector.condition_, np.linalg.cond(np.cov(X.T)), rtol=1e-8)


def test_invariant_under_linear_maps_when_not_shrunk(rng):
    X, query, A = rng.normal(size=(60, 4)), rng.normal(size=(9, 4)), rng.normal(size=(4, 4))
    plain, mapped = Mahalanobis(covariance="empirical").fit(X), Mahalanobis(covariance="empirical").fit(X @ A + 3)
    np.testing.assert_allclose(mapped.anomaly_score(query @ A + 3), plain.anomaly_score(query), rtol=1e-7)


def test_geometric_median_centre(rng):
    X = rng.normal(size=(40, 3))
    detector = Mahalanobis(centre="geometric_median").fit(X)
    np.testing.assert_array_equal(detector.centres_, [geometric_median(X)])
    assert detector.anomaly_score(geometric_median(X)[None])[0] == 0


def two_domains(rng, n_target: int) -> tuple[np.ndarray, np.ndarray]:
    source, target = rng.normal(size=(100, 3)), 8 + 0.1 * rng.normal(size=(n_target, 3))
    return np.concatenate([source, target]), np.array(["source"] * 100 + ["target"] * n_target)


def test_domain_with_more_clips_than_dimensions_has_its_own_covariance(rng):
    X, domain = two_domains(rng, 10)
    detector = Mahalanobis(by="domain", covariance="empirical").fit(X, domain=domain)
    by_hand = Precision.of(np.cov(X[100:].T)).squared_distance(X[100:] - X[100:].mean(axis=0))
    np.testing.assert_allclose(detector.anomaly_score(X[100:]), by_hand, rtol=1e-8)


@pytest.mark.parametrize("n_target", [1, 3])
def test_small_domain_shares_the_covariance(rng, n_target):
    X, domain = two_domains(rng, n_target)
    detector = Mahalanobis(by="domain").fit(X, domain=domain)
    centres = np.stack([X[:100].mean(axis=0), X[100:].mean(axis=0)])
    shared = Precision.of(ledoit_wolf(Moments.of(X - centres[(domain == "target").astype(int)])))
    np.testing.assert_allclose(
        detector.anomaly_score(X[100:]), shared.squared_distance(X[100:] - centres[1]), rtol=1e-9
    )


def test_groups_share_the_covariance_of_their_offsets(rng):
    group = np.array(["slow", "fast", "idle"])[np.arange(90) % 3]
    centres = {"slow": 0.0, "fast": 10.0, "idle": -10.0}
    X = rng.normal(size=(90, 2)) + np.array([centres[name] for name in group])[:, None]
    grouped = Mahalanobis(by="group").fit(X, group=group)
    between = np.array([[5.0, 5.0]])
    assert grouped.anomaly_score(X).max() < 20 < grouped.anomaly_score(between)[0]
    assert Mahalanobis().fit(X, group=group).anomaly_score(between)[0] < 5
    assert len({id(precision) for precision in grouped.precisions_}) == 1


def test_too_few_clips_are_refused_unless_shrunk(rng):
    X = rng.normal(size=(5, 8))
    with pytest.raises(ValueError, match=r"rank 4 in 8 dimensions.*ledoit_wolf"):
        Mahalanobis(covariance="empirical").fit(X)
    for covariance in ("ledoit_wolf", "oas"):
        detector = Mahalanobis(covariance=covariance).fit(X)
        assert 1 <= detector.condition_ < 1e10


def test_exactly_collinear_columns_do_not_poison_distances(rng):
    X = rng.normal(size=(5000, 3))
    X = np.column_stack([X, X[:, 0] + X[:, 1]])
    with pytest.raises(ValueError, match="rank 3 in 4"):
        Mahalanobis(covariance="empirical").fit(X)
    assert Mahalanobis().fit(X).anomaly_score(X).max() < 40


def test_trimming_drops_contamination_and_little_else(rng):
    X = np.concatenate([rng.normal(size=(180, 4)), 25 + rng.normal(size=(20, 4))])
    for centre in ("mean", "geometric_median"):
        detector = Mahalanobis(trim=0.01, centre=centre).fit(X)
        assert not detector.inliers_[180:].any()
        assert detector.inliers_[:180].mean() > 0.95
        np.testing.assert_allclose(detector.centres_[0], X[detector.inliers_].mean(axis=0), atol=0.3)
        assert Mahalanobis(centre=centre).fit(X).inliers_.all()
        np.testing.assert_array_equal(detector.reference_scores_ > 100, np.arange(200) >= 180)


def test_trimming_keeps_half_and_every_group(rng):
    X = np.concatenate([rng.standard_cauchy(size=(100, 3)), [[1e9, 0, 0], [1e9, 1e8, 0]]])
    group = np.array(["a"] * 100 + ["b"] * 2)
    detector = Mahalanobis(trim=0.4, by="group").fit(X, group=group)
    assert detector.inliers_.sum() >= 51
    assert detector.inliers_[100:].any()
    assert len(detector.centres_) == 2


def test_reference_scores_are_what_new_clips_score(rng):
    data, new = rng.normal(size=(2, 200, 40))
    detector = Mahalanobis(covariance="empirical").fit(data)
    fitted, held_out, test = (s.mean() for s in (detector.anomaly_score(data), detector.reference_scores_,
                                               detector.anomaly_score(new)))  # fmt: skip
    assert fitted < 41 < test
    assert abs(held_out - test) < 0.35 * (test - fitted)


def test_the_empirical_covariance_counts_every_centre(rng):
    """Two centres cost two degrees of freedom: the shared covariance divides by n - 2."""
    X, group = rng.normal(size=(30, 2)) + 9, np.repeat(["a", "b"], 15)
    X[15:] += 20
    detector = Mahalanobis(by="group", covariance="empirical").fit(X, group=group)
    offsets = X - np.repeat([X[:15].mean(axis=0), X[15:].mean(axis=0)], 15, axis=0)
    inverse = np.linalg.inv(offsets.T @ offsets / 28)
    np.testing.assert_allclose(detector.anomaly_score(X)[0], offsets[0] @ inverse @ offsets[0], rtol=1e-9)


def test_trimming_is_by_the_chi_square_quantile_of_distances_scaled_to_their_median(rng):
    """One round by hand: a far clip inflates the covariance, and the median makes up for it."""
    X = rng.normal(size=(60, 2))
    X[:3] += 30
    detector = Mahalanobis(trim=0.2, covariance="empirical")
    detector.learn(X)
    kept = detector.inliers_
    for _ in range(2):  # the rounds end where they change nothing
        offsets = X - X[kept].mean(axis=0)
        squared = np.einsum("ij,jk,ik->i", offsets, np.linalg.inv(np.cov(X[kept].T)), offsets)
        np.testing.assert_array_equal(kept, squared / np.median(squared) * -2 * np.log(0.5) <= -2 * np.log(0.2))
    assert 0.6 < kept.mean() < 0.85, "about 1 - trim of the clips"


def test_reference_scores_are_leave_one_out_whatever_the_number_of_clips(rng):
    X = rng.normal(size=(45, 6)) @ rng.normal(size=(6, 6)) + 5
    for options in ({}, {"standardize": True}, {"by": "domain"}, {"trim": 0.1}, {"pca": 3}):
        domain = np.where(np.arange(45) % 4, "source", "target")
        honest = make_detector("mahalanobis", **options).fit(X, domain=domain).reference_scores_
        for i in (0, 7, 44):
            rest = np.arange(45) != i
            other = make_detector("mahalanobis", **options).learn(X[rest], domain=domain[rest])
            np.testing.assert_allclose(honest[i], other.anomaly_score(X[[i]])[0], rtol=1e-8, err_msg=str(options))

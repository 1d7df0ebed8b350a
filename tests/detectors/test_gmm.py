import numpy as np
import pytest

from detectors.gmm import GMM

STREAM = np.random.RandomState(0)  # the published numbers come from this stream
X = np.concatenate([STREAM.randn(40, 2), STREAM.randn(20, 2) * 0.5 + 4])
POINTS = np.array([[0.0, 0], [4, 4], [2, 2], [8, -3]])


def by_mean(detector):
    order = np.argsort(detector.mixture_.means[:, 0])
    return detector.mixture_.means[order], detector.mixture_.weights[order]


def test_published_mixture():
    means, weights = by_mean(GMM(n_components=2, seed=526).fit(X))
    expected = [[-0.008883491397, -0.052200142991], [4.111104867618, 4.347815178358]]
    np.testing.assert_allclose(means, expected, atol=5e-13)
    np.testing.assert_allclose(weights, [0.666666749105, 0.333333250895], atol=5e-13)


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        ("component", [1.840038573979, 0.781629442201, 6.157570565383, 33.784417780383]),
        ("mixture", [2.245503558429, 1.880241949152, 6.563035549591, 34.189882764833]),
    ],
)
def test_published_scores(score, expected):
    detector = GMM(n_components=2, score=score, seed=526).fit(X)
    np.testing.assert_allclose(detector.anomaly_score(POINTS), expected, atol=5e-12)


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_mixture_score_is_scikit_learns(rng, covariance_type):
    data = rng.normal(size=(200, 5)) @ rng.normal(size=(5, 5))
    detector = GMM(n_components=3, score="mixture", covariance_type=covariance_type).fit(data)
    np.testing.assert_allclose(detector.anomaly_score(data), -detector.mixture_.score_samples(data), rtol=1e-10)


def test_log_density_of_one_gaussian():
    detector = GMM(n_components=1, reg_covar=0).fit(X)
    offset, covariance = POINTS - X.mean(axis=0), np.cov(X.T, ddof=0)
    squared = np.einsum("ij,jk,ik->i", offset, np.linalg.inv(covariance), offset)
    expected = -0.5 * (squared + np.log(np.linalg.det(2 * np.pi * covariance)))
    np.testing.assert_allclose(detector.mixture_.log_densities(POINTS)[:, 0], expected, rtol=1e-10)


def test_components_are_capped_at_distinct_clips():
    detector = GMM(n_components=8).fit(np.repeat(POINTS[:3], 4, axis=0))
    assert len(detector.mixture_.weights) == 3


def test_far_points_do_not_overflow():
    score = GMM(score="mixture").fit(X).anomaly_score(np.full((1, 2), 1e6))
    assert np.isfinite(score).all()


def test_reference_scores_are_not_those_of_the_fit(rng):
    """With as many dimensions as half the clips, a fitted clip looks far more likely than a new one."""
    data, new = rng.normal(size=(2, 60, 25))
    detector = GMM(n_components=1).fit(data)
    fitted, held_out, test = (np.median(s) for s in (detector.anomaly_score(data), detector.reference_scores_,
                                                   detector.anomaly_score(new)))  # fmt: skip
    assert fitted < test - 5
    assert abs(held_out - test) < 0.35 * (test - fitted)


def test_too_little_regularisation_says_so():
    with pytest.raises(ValueError, match="reg_covar"):
        GMM(n_components=1, reg_covar=0).fit(np.repeat(POINTS[:1], 5, axis=0))


def test_one_component_starts_at_each_domain_and_stays_with_it():
    """Two domains so far apart that k-means with two components would find them too."""
    domain = np.where(np.arange(60) < 40, "source", "target")
    labelled = GMM(start="domain", n_components=7).fit(X, domain=domain)
    assert len(labelled.mixture_.weights) == 2
    for labelled_mean, plain in zip(by_mean(labelled), by_mean(GMM(n_components=2, seed=526).fit(X)), strict=True):
        np.testing.assert_allclose(labelled_mean, plain, atol=1e-4)


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_groups_keep_components_that_kmeans_does_not_find(rng, covariance_type):
    """A wide group and a narrow one in its middle share their centre."""
    data = np.concatenate([rng.normal(size=(300, 2)) * 3, rng.normal(size=(100, 2)) * 0.1 + [1, 0]])
    group = np.array(["wide"] * 300 + ["narrow"] * 100)
    detector = GMM(start="group", covariance_type=covariance_type).fit(data, group=group)
    order = np.argsort(detector.mixture_.means[:, 0])
    np.testing.assert_allclose(detector.mixture_.means[order], [[0, 0], [1, 0]], atol=0.5)
    np.testing.assert_allclose(detector.mixture_.weights[order], [0.75, 0.25], atol=0.05)


def test_without_labels_the_start_is_one_component():
    labelled, single = GMM(start="group").fit(X), GMM(n_components=1).fit(X)
    np.testing.assert_allclose(labelled.anomaly_score(POINTS), single.anomaly_score(POINTS), rtol=1e-10)


def test_unit_length_sees_directions_alone():
    data = X + 9
    detector = GMM(unit_length=True).fit(data)
    np.testing.assert_allclose(detector.anomaly_score(5 * data), detector.anomaly_score(data), rtol=1e-6)
    plain = GMM().fit(data / np.linalg.norm(data, axis=1, keepdims=True))
    lengths = np.linalg.norm(data, axis=1, keepdims=True)
    np.testing.assert_allclose(detector.anomaly_score(data), plain.anomaly_score(data / lengths), rtol=1e-6)

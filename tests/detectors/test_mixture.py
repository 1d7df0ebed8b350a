"""The mixture against scikit-learn's from the same start, a known mixture, and fits side by side."""

import warnings

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from detectors.base import Fitted, content_order
from detectors.gmm import GMM
from detectors.mixtures import full
from detectors.mixtures.full import Full
from detectors.mixtures.mixture import fit_mixture, fit_without
from detectors.preprocess import Preprocessed

TYPES = ("full", "tied", "diag")


def clusters(n: int, d: int, k: int, gap: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of k clusters, each with a spectrum and axes of its own, and the cluster of each row."""
    rng = np.random.default_rng(seed)
    label = rng.integers(k, size=n)
    spread = (1 + np.arange(d)) ** -0.5 * np.linalg.qr(rng.normal(size=(k, d, d)))[0]
    return gap * rng.normal(size=(k, d))[label] + np.einsum("nd,nde->ne", rng.normal(size=(n, d)), spread[label]), label


def scikit_learns(X: np.ndarray, k: int, **options: object) -> GaussianMixture:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianMixture(k, random_state=0, **options).fit(X)


def assert_same(ours, theirs, X: np.ndarray, query: np.ndarray) -> None:
    assert (ours.iterations, ours.converged) == (theirs.n_iter_, theirs.converged_)
    np.testing.assert_allclose(ours.lower_bound, theirs.lower_bound_, rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours.weights, theirs.weights_, atol=1e-9)
    np.testing.assert_allclose(ours.means, theirs.means_, atol=1e-8)
    for rows in (X, query):
        np.testing.assert_allclose(ours.score_samples(rows), theirs.score_samples(rows), rtol=1e-7, atol=1e-6)


@pytest.mark.parametrize("tol", [1e-3, 1e-6])
@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize(
    ("n", "d", "k", "gap"),
    [
        (200, 3, 2, 1.0),
        (150, 8, 5, 0.2),
        (300, 40, 2, 0.0),
        (300, 40, 3, 0.15),
        (300, 40, 4, 2.0),
        (90, 64, 2, 0.1),
        (60, 40, 1, 0.0),
    ],
)
def test_same_start_same_optimum_as_scikit_learn(tol, covariance_type, n, d, k, gap):
    X = clusters(n, d, k, gap)[0] + 3
    label = KMeans(k, n_init=1, random_state=0).fit(X).labels_ if k > 1 else np.zeros(n, dtype=int)
    ours = fit_mixture(X, label, covariance_type=covariance_type, tol=tol)
    theirs = scikit_learns(X, k, covariance_type=covariance_type, tol=tol)
    assert_same(ours, theirs, X, clusters(50, d, k, gap, seed=1)[0])


@pytest.mark.parametrize("max_iter", [1, 3, 100])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_start_with_one_covariance_for_all(covariance_type, max_iter):
    X, label = clusters(300, 40, 3, 0.3)
    label = np.where(np.arange(300) % 3 == 0, (label + 1) % 3, label)
    centres = np.stack([X[label == j].mean(axis=0) for j in range(3)])
    offsets = X - centres[label]
    pooled = offsets.T @ offsets / 300 + 1e-6 * np.eye(40)
    precision = 1 / pooled.diagonal() if covariance_type == "diag" else np.linalg.inv(pooled)
    precision = precision if covariance_type == "tied" else np.stack([precision] * 3)
    start = {"means_init": centres, "weights_init": np.bincount(label) / 300, "precisions_init": precision}
    theirs = scikit_learns(X, 3, covariance_type=covariance_type, max_iter=max_iter, **start)
    ours = fit_mixture(X, label, covariance_type=covariance_type, from_shared=True, max_iter=max_iter)
    assert_same(ours, theirs, X, X[:5] + 1)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_known_mixture_is_recovered(covariance_type, rng):
    means, deviations = np.array([[0.0, 0, 0], [4, 0, 1]]), np.array([1.0, 0.5, 2])
    component = (rng.random(20_000) < 0.3).astype(int)
    X = means[component] + rng.normal(size=(20_000, 3)) * deviations
    mixture = fit_mixture(X, (X[:, 0] > 1).astype(int), covariance_type=covariance_type, tol=1e-6)
    np.testing.assert_allclose(mixture.weights, [0.7, 0.3], atol=0.02)
    np.testing.assert_allclose(mixture.means, means, atol=0.1)
    expected = -0.5 * np.square((means[0] - means) / deviations).sum(axis=1) - np.log(deviations).sum()
    np.testing.assert_allclose(mixture.log_densities(means[:1])[0], expected - 1.5 * np.log(2 * np.pi), atol=0.4)


@pytest.mark.parametrize("covariance_type", ["full", "tied"])
def test_few_rows_of_many_dimensions_are_rotated_without_a_trace(covariance_type):
    X = clusters(20, 50, 2, 0.5)[0]
    label = np.arange(20) % 2
    ours = fit_mixture(X, label, covariance_type=covariance_type, floor=1e-3)
    assert ours.inner_means.shape == (2, 20)
    padded = np.concatenate([X, X, X])  # the same optimum from too many rows to be rotated
    whole = fit_mixture(padded, np.tile(label, 3), covariance_type=covariance_type, floor=1e-3)
    assert whole.inner_means.shape == (2, 50)
    query = clusters(10, 50, 2, 0.5, seed=1)[0]
    np.testing.assert_allclose(ours.score_samples(query), whole.score_samples(query), rtol=1e-9)
    np.testing.assert_allclose(ours.means, whole.means, atol=1e-10)
    np.testing.assert_allclose(ours.lower_bound, whole.lower_bound, rtol=1e-9)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("gap", [0.0, 0.15, 2.0])
def test_fits_side_by_side_are_those_of_the_rest_alone(covariance_type, gap, rng):
    X, _ = clusters(240, 40, 3, gap)
    label = KMeans(3, n_init=1, random_state=0).fit(X).labels_
    held_out = np.arange(240) % 4 == np.arange(4)[:, None]
    units = np.exp(0.05 * rng.normal(size=(4, 40)))
    fits = list(fit_without(X, label, held_out, units, covariance_type=covariance_type, floor=1e-6))
    for fit, out, scale in zip(fits, held_out, units, strict=True):
        rest = (X / scale)[~out]
        centres = np.stack([rest[label[~out] == j].mean(axis=0) for j in range(3)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            near = KMeans(3, init=centres, n_init=1, max_iter=9, tol=0).fit(rest).labels_
        single = fit_mixture(rest, near, covariance_type=covariance_type)
        assert fit.iterations == single.iterations
        found = fit.score_samples(X[out]) + np.log(scale).sum()
        np.testing.assert_allclose(found, single.score_samples((X / scale)[out]), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_rows_held_out_do_not_take_part(covariance_type):
    """Wherever they lie: only their cluster, with all rows, has chosen the start."""
    X, label = clusters(120, 40, 2, 0.3)
    held_out = (np.arange(120) < 30)[None]
    moved = np.where(held_out.T, 1e3 * X + 5, X)
    one, other = (
        next(fit_without(rows, label, held_out, np.ones((1, 40)), covariance_type=covariance_type, floor=1e-4))
        for rows in (X, moved)
    )
    np.testing.assert_allclose(other.score_samples(X), one.score_samples(X), rtol=1e-6)
    assert other.iterations == one.iterations


def test_a_cluster_that_is_held_out_as_a_whole_gives_no_fit():
    X, label = clusters(60, 5, 2, 3.0)
    held_out = np.stack([label == 1, np.arange(60) < 6])
    fits = list(fit_without(X, label, held_out, np.ones((2, 5)), covariance_type="full", floor=1e-6))
    assert fits[0] is None
    assert fits[1] is not None


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_reference_scores_are_those_of_fits_from_k_means_of_their_own(covariance_type, standardize):
    """Where the clusters are so clear that every k-means finds them."""

    class Single(GMM):
        def _held_out_scores(self, masks, X, domain, group):
            return Fitted._held_out_scores(self, masks, X, domain, group)

    X = clusters(120, 35, 2, 5.0)[0] * np.linspace(1, 9, 35) + 4
    pair = [kind(covariance_type=covariance_type, reg_covar=1e-3) for kind in (GMM, Single)]
    scores = []
    for detector in pair:
        if standardize:
            detector = Preprocessed(detector=detector, standardize=True)
        scores.append(detector.fit(X).reference_scores_)
    np.testing.assert_allclose(*scores, rtol=1e-7)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_shares_from_odds_are_those_from_densities(k, monkeypatch, rng):
    """With columns of very different scale, the largest component first or last, and one with fewer rows than d."""
    X = clusters(300, 40, 4, 0.2)[0] * 10.0 ** rng.integers(-2, 3, size=40)
    for sizes in ([10, 80, 60, 150], [150, 60, 80, 10]):
        label = np.repeat(np.arange(4), sizes) % k
        steps = Full(X, 1e-4 * X.var(axis=0)[None], k)
        R = np.eye(k)[None, :, label]
        steps.maximise(R, R.sum(axis=2), np.arange(1))
        log_weights = np.log(np.bincount(label) / 300)[None]
        with monkeypatch.context() as patch:
            patch.setattr(Full, "log_joint", None)
            by_odds = steps.expect(log_weights, np.arange(1))
        monkeypatch.setattr(full, "ROUNDING", 0.0)
        by_densities = steps.expect(log_weights, np.arange(1))
        monkeypatch.undo()
        np.testing.assert_allclose(by_odds[0], by_densities[0], rtol=1e-11)
        np.testing.assert_allclose(by_odds[1], by_densities[1], atol=1e-9)


def test_covariances_by_subtraction_are_those_of_the_rows(rng):
    X = clusters(200, 10, 3, 1.0)[0]
    X -= X.mean(axis=0)
    R = rng.dirichlet([0.3] * 3, size=200).T
    steps = Full(X, np.full((1, 10), 1e-6), 3)
    steps.maximise(R[None], R.sum(axis=1)[None], np.arange(1))
    for share, factor in zip(R, steps.factors[0], strict=True):
        covariance = np.cov(X.T, aweights=share, ddof=0) + 1e-6 * np.eye(10)
        np.testing.assert_allclose(factor @ factor.T, np.linalg.inv(covariance), rtol=1e-9, atol=1e-9)


def test_a_component_that_is_small_beside_the_whole_keeps_its_digits():
    """Two far clusters without spread of their own: what subtraction leaves of the whole is rounding."""
    X = np.repeat([[-1e4, 0.0], [1e4, 3.0]], [40, 60], axis=0) + 1e-3 * np.arange(200).reshape(100, 2) % 7e-3
    label = np.repeat([0, 1], [40, 60])
    mixture = fit_mixture(X, label, floor=1e-9)
    for j in range(2):
        expected = np.cov(X[label == j].T, ddof=0) + 1e-9 * np.eye(2)
        np.testing.assert_allclose(mixture.factors[j] @ mixture.factors[j].T, np.linalg.inv(expected), rtol=1e-5)


@pytest.mark.parametrize("seed", range(10))
def test_hardly_any_variance_and_no_floor(seed):
    """In one direction: it is above the rounding of a component's own sum, and below that of the sum of all rows."""
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1], [120, 180])
    X = rng.normal(size=(300, 2)) + 8 * label[:, None] * [1, 1]
    X = np.column_stack([X[:, 0], X[:, 0] + 3e-7 * X[:, 1]]) + label[:, None] * [0, 1]
    X -= X.mean(axis=0)
    steps = Full(X, np.zeros((1, 2)), 2)
    R = np.eye(2)[None, :, label]
    steps.maximise(R, R.sum(axis=2), np.arange(1))
    for j in range(2):
        log_det = np.linalg.slogdet(np.cov(np.column_stack([X[:, 0], X[:, 1] - X[:, 0]])[label == j].T, ddof=0))[1]
        np.testing.assert_allclose(-2 * np.log(steps.factors[0][j].diagonal()).sum(), log_det, atol=0.1)


def test_a_far_row_takes_no_digits_of_the_shares():
    X = clusters(200, 40, 1, 0.0)[0]
    X[0] = 1e6
    X -= X.mean(axis=0)
    steps = Full(X, np.full((1, 40), 1e-6), 2)
    R = np.eye(2)[None, :, np.arange(200) % 2]
    steps.maximise(R, R.sum(axis=2), np.arange(1))
    log_weights = np.log([0.5, 0.5])
    shares = full.log_sum(Full.log_joint(X, steps.means[0], steps.factors[0], log_weights))[1]
    np.testing.assert_allclose(steps.expect(log_weights[None], np.arange(1))[1][0], shares, atol=1e-12)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_far_row_that_leaves_takes_no_digits_with_it(covariance_type):
    """Its square is 1e14 times that of others: what is left after subtracting it from a sum is half noise."""
    X, _ = clusters(200, 40, 1, 0.0)
    X[0] = 1e6
    label, held_out = np.zeros(200, dtype=int), (np.arange(200) == 0)[None]
    (fit,) = fit_without(X, label, held_out, np.ones((1, 40)), covariance_type=covariance_type, floor=1e-6)
    alone = fit_mixture(X[1:], label[1:], covariance_type=covariance_type)
    np.testing.assert_allclose(fit.score_samples(X[1:]), alone.score_samples(X[1:]), atol=1e-5)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_no_variance_and_no_floor_is_refused(covariance_type):
    with pytest.raises(ValueError, match="reg_covar"):
        fit_mixture(np.ones((5, 3)), np.zeros(5, dtype=int), covariance_type=covariance_type, floor=0)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_one_row(covariance_type):
    mixture = fit_mixture(np.ones((1, 3)), np.zeros(1, dtype=int), covariance_type=covariance_type, floor=0.5)
    np.testing.assert_allclose(mixture.means, np.ones((1, 3)))
    np.testing.assert_allclose(mixture.score_samples(np.ones((1, 3))), [-1.5 * np.log(np.pi)], atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_content_order_is_lexicographic(dtype, rng):
    X = rng.normal(size=(50, 4)).astype(dtype)
    for rows in (X, np.insert(X, 0, 7, axis=1), np.round(X), np.repeat(X[:5], 3, axis=0), X[:1], np.ones((4, 2))):
        np.testing.assert_array_equal(content_order(rows), np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1))

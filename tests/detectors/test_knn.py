import numpy as np
import pytest

from detectors.geometry import unit
from detectors.knn import KNN


def at(*degrees: float) -> np.ndarray:
    """Unit vectors at these angles."""
    angle = np.deg2rad(np.array(degrees))
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


SOURCE, TARGET, QUERIES = (0, 2, 4, 7, 10, 12), (60, 61, 75), at(1, 30, 58, 90)
BANK = at(*SOURCE, *TARGET)
DOMAIN = np.array(["source"] * 6 + ["target"] * 3)


def euclid(cosine_distance):
    """Distance of unit vectors as ASDKit measures it."""
    return np.sqrt(2 * cosine_distance)


def test_nearest_of_two_banks():
    expected = [0.0001523, 0.04894348, 0.00060917, 0.03407417]
    for bank in ("pooled", "two_bank"):
        np.testing.assert_allclose(KNN(bank=bank).fit(BANK, domain=DOMAIN).anomaly_score(QUERIES), expected, atol=5e-9)


def test_mean_of_two_nearest():
    bank, queries = at(0, 2, 4, 7, 60, 61, 75), at(1, 10, 58, 90, 180)
    expected = [7.6152422e-5, 0.001712142469, 0.000494909557, 0.039863616643, 0.685907166337]
    np.testing.assert_allclose(KNN(k=2).fit(bank).anomaly_score(queries) / 2, expected, atol=5e-13)


def test_two_banks_cap_k_at_what_a_domain_has():
    detector = KNN(k=5, bank="two_bank").fit(BANK, domain=DOMAIN)
    target = np.mean(1 - np.cos(np.deg2rad(np.array([2, 3, 17]))))
    np.testing.assert_allclose(detector.anomaly_score(at(58))[0], target, rtol=1e-12)
    source = np.mean(1 - np.cos(np.deg2rad(np.array([0, 2, 4, 7, 10]))))
    np.testing.assert_allclose(detector.anomaly_score(at(0))[0], source, rtol=1e-12)


def test_two_banks_without_domains_are_one():
    plain, two = KNN(k=3).fit(BANK), KNN(k=3, bank="two_bank").fit(BANK)
    np.testing.assert_array_equal(two.anomaly_score(QUERIES), plain.anomaly_score(QUERIES))
    np.testing.assert_array_equal(two.reference_scores_, plain.reference_scores_)


def test_published_leave_one_out_distances():
    """Oracle of the Euclidean two-bank form: source clips by their own bank with k=2, target clips by theirs."""
    source = KNN(k=2).fit(at(*SOURCE)).banks_[0]
    from detectors.search.neighbours import nearest

    distance, _ = nearest(source.rows, source, 2, exclude=np.arange(6))
    expected = [0.03490481, 0.03490481, 0.03490481, 0.0523539, 0.03490481, 0.03490481]
    np.testing.assert_allclose(euclid(distance)[:, 0], expected, atol=5e-9)
    target = KNN().fit(at(*TARGET)).reference_scores_
    np.testing.assert_allclose(euclid(target), [0.01745307, 0.01745307, 0.24373869], atol=5e-9)


def test_published_two_bank_scores_in_euclidean_form():
    from detectors.search.neighbours import nearest

    source, _ = nearest(QUERIES, at(*SOURCE), 2)
    target, _ = nearest(QUERIES, at(*TARGET), 1)
    score = np.minimum(euclid(source).mean(axis=1), euclid(target).mean(axis=1)) / 2
    np.testing.assert_allclose(score, [0.00872654, 0.16504132, 0.01745241, 0.13052619], atol=5e-9)


def test_leaving_out_goes_by_row_not_by_distance(rng):
    X = rng.normal(size=(30, 4))
    X[7] = X[3]
    scores = KNN().fit(X).reference_scores_
    assert scores[[3, 7]].tolist() == [0, 0]
    assert np.delete(scores, [3, 7]).min() > 0


@pytest.mark.parametrize("bank", ["pooled", "two_bank"])
def test_reference_scores_equal_refitting(rng, bank):
    X = rng.normal(size=(40, 5))
    X[10:14] = X[0]
    domain = np.array(["source"] * 36 + ["target"] * 3 + ["unknown"])
    for k in (1, 3):
        brute = [
            KNN(k=k, bank=bank)
            .fit(np.delete(X, i, axis=0), domain=np.delete(domain, i))
            .anomaly_score(X[[i]])[0]
            for i in range(40)
        ]  # fmt: skip
        np.testing.assert_allclose(KNN(k=k, bank=bank).fit(X, domain=domain).reference_scores_, brute, rtol=1e-12)


def test_pooled_bank_needs_k_clips():
    with pytest.raises(ValueError, match="KNN needs at least 4 training clips, got 3; lower its k"):
        KNN(k=4).fit(BANK[:3])
    assert KNN(k=3).fit(BANK[:3]).anomaly_score(QUERIES).shape == (4,)


def test_clusters_of_source_and_all_target(rng):
    centres = unit(rng.normal(size=(3, 6)))
    source = np.repeat(centres, 20, axis=0) + 0.01 * rng.normal(size=(60, 6))
    target = rng.normal(size=(5, 6))
    domain = np.array(["source"] * 60 + ["target"] * 5)
    X = np.concatenate([source, target])
    detector = KNN(source_clusters=3).fit(X, domain=domain)
    assert [len(bank.rows) for bank in detector.banks_] == [8]
    np.testing.assert_allclose(detector.anomaly_score(centres), 0, atol=1e-4)
    np.testing.assert_allclose(detector.anomaly_score(3 * target), 0, atol=1e-14)
    np.testing.assert_allclose(detector.reference_scores_[60:], KNN().fit(X).reference_scores_[60:], atol=0.03)
    assert (detector.reference_scores_[:60] < 0.01).all()


def test_no_more_clusters_than_distinct_source_clips():
    X = at(0, 0, 20, 20, 20)
    detector = KNN(source_clusters=16).fit(X, domain=["source"] * 5)
    assert [len(bank.rows) for bank in detector.banks_] == [2]
    np.testing.assert_allclose(detector.anomaly_score(X), 0, atol=1e-14)


def test_only_target_clips_need_no_centres():
    detector = KNN(source_clusters=16).fit(BANK, domain=["target"] * 9)
    np.testing.assert_array_equal(detector.reference_scores_, KNN().fit(BANK).reference_scores_)


@pytest.mark.parametrize(("targets", "sources"), [(5, 20), (1, 20), (5, 3), (12, 0)])
@pytest.mark.parametrize("bank", ["pooled", "two_bank"])
def test_beside_clusters_a_target_clip_is_left_out_exactly(rng, bank, targets, sources):
    """The centres do not depend on it. A source clip has a part in its centre, so it is scored by other folds."""
    X = rng.normal(size=(targets + sources, 6))
    domain = np.array(["target"] * targets + ["source"] * sources)
    detector = KNN(k=2, source_clusters=3, bank=bank)
    scores = detector.fit(X, domain=domain).reference_scores_
    for i in range(targets):
        others = np.arange(len(X)) != i
        refitted = KNN(k=2, source_clusters=3, bank=bank).learn(X[others], domain=domain[others])
        assert scores[i] == pytest.approx(refitted.anomaly_score(X[[i]])[0], rel=1e-12)
    cross_fitted = detector.cross_fitted(X, domain, np.full(len(X), ""))
    np.testing.assert_array_equal(scores[targets:], cross_fitted[targets:])


@pytest.mark.parametrize("option", [{"source_clusters": 2}, {"smote": 1.0}, {"memmixup": 3}])
def test_clips_of_unknown_domain_are_treated_as_source_clips(option):
    """Only the target clips are few; all others are clustered, counted and mixed."""
    expected = KNN(**option).fit(BANK, domain=DOMAIN)
    for others in (["unknown"] * 6, ["unknown", "source"] * 3):
        detector = KNN(**option).fit(BANK, domain=np.array([*others, *DOMAIN[6:]]))
        assert [len(bank.rows) for bank in detector.banks_] == [len(bank.rows) for bank in expected.banks_]
        np.testing.assert_array_equal(detector.anomaly_score(QUERIES), expected.anomaly_score(QUERIES))


@pytest.mark.parametrize(("option", "made"), [({"smote": 1.0}, 3), ({"memmixup": 6}, 18)])
def test_generated_points_are_target_clips(option, made):
    """They stay beside the centres of the source clips, and join the bank of the target domain."""
    clustered = KNN(source_clusters=2, **option).fit(BANK, domain=DOMAIN)
    assert [len(bank.rows) for bank in clustered.banks_] == [2 + 3 + made]
    apart = KNN(bank="two_bank", **option).fit(BANK, domain=DOMAIN)
    assert [len(bank.rows) for bank in apart.banks_] == [6, 3 + made]

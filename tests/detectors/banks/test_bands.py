"""Bands of joined views: a hand-computed score, the parts, and held-out reference scores."""

import numpy as np
import pytest

from detectors.banks.bands import Bands, split_bands
from detectors.knn import KNN


def at(*degrees: float) -> np.ndarray:
    """Unit vectors at these angles."""
    angle = np.deg2rad(np.array(degrees))
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


LOW, HIGH = (0.0, 10.0, 40.0), (0.0, 60.0, 90.0)
X = np.concatenate([at(*LOW), at(*HIGH)], axis=1)


def far(degrees: float) -> float:
    return float(1 - np.cos(np.deg2rad(degrees)))


def test_a_score_by_hand():
    """Distances in units of the deviation of the nearest distances among the training clips, band by band."""
    low, high = np.std([far(10), far(10), far(30)]), np.std([far(60), far(30), far(30)])
    score = KNN(bands=2).fit(X).anomaly_score(np.concatenate([at(5), at(105)], axis=1))
    np.testing.assert_allclose(score, [(far(5) / low + far(15) / high) / 2], rtol=1e-12)


def test_ranks_are_those_of_the_mean_z_score(rng):
    rows, queries = rng.normal(size=(50, 12)), rng.normal(size=(30, 12))
    z = []
    for part, query in zip(split_bands(rows, 3), split_bands(queries, 3), strict=True):
        detector = KNN(k=2).fit(part)
        z.append((detector.anomaly_score(query) - detector.reference_scores_.mean()) / detector.reference_scores_.std())
    offset = KNN(k=2, bands=3).fit(rows).anomaly_score(queries) - np.mean(z, axis=0)
    np.testing.assert_allclose(offset, offset[0], rtol=1e-9)


def test_a_fault_in_a_quiet_band_is_found_beside_a_loud_one(rng):
    """The fault is in the quiet band; the vectors of the loud band are ten times as long."""
    loud, quiet = 10 * (at(0)[0] + 0.1 * rng.normal(size=(80, 2))), at(0)[0] + 0.01 * rng.normal(size=(80, 2))
    rows = np.concatenate([loud, quiet], axis=1)
    rows[60:70, 2:] = at(40)[0]
    train, faulty, normal = rows[:60], rows[60:70], rows[70:]
    plain, bands = KNN().fit(train), KNN(bands=2).fit(train)
    assert bands.anomaly_score(faulty).min() > bands.anomaly_score(normal).max()
    assert plain.anomaly_score(faulty).min() < plain.anomaly_score(normal).max()


def test_reference_scores_are_those_of_refitting():
    scores = KNN(bands=2).fit(X).reference_scores_
    brute = [KNN(bands=2).fit(np.delete(X, i, axis=0)).anomaly_score(X[[i]])[0] for i in range(3)]
    np.testing.assert_allclose(scores, brute, rtol=1e-12)


def test_generated_points_join_every_band_and_do_not_change_the_spread(rng):
    rows, domain = rng.normal(size=(30, 6)), np.array(["source"] * 26 + ["target"] * 4)
    plain, mixed = (KNN(bands=2, memmixup=n).fit(rows, domain=domain) for n in (0, 5))
    np.testing.assert_array_equal(mixed.bands_.spread, plain.bands_.spread)
    assert [len(detector.banks_[0].rows) for detector in mixed.bands_.detectors] == [30 + 4 * 5] * 2


def test_the_spread_of_equal_clips_is_one():
    bands = Bands.fit(KNN(), KNN(), split_bands(np.ones((5, 4)), 2), np.full(5, ""), np.full(5, ""))
    assert bands.spread.tolist() == [1.0, 1.0]


def test_uneven_bands_are_refused():
    with pytest.raises(ValueError, match="bands=3: cannot split 4 dimensions into 3 equal views; set bands to"):
        KNN(bands=3).fit(X)

"""Mixed target clips: which, of what, in any order of rows, and never in a clip's own reference score."""

import numpy as np
import pytest

from detectors.banks.memmixup import target_mixes
from detectors.knn import KNN

X = np.array([[0.0, 10.0], [10.0, 0.0], [1.0, 1.0], [3.0, 3.0]])
DOMAIN = np.array(["source", "source", "target", "target"])


def test_every_target_with_every_source_by_hand():
    mixes = target_mixes(X, DOMAIN, sources=5, seed=0)
    assert sorted(mixes.round(12).tolist()) == [[0.9, 1.9], [1.9, 0.9], [2.7, 3.7], [3.7, 2.7]]
    np.testing.assert_array_equal(target_mixes(X.astype(np.float32), DOMAIN, sources=5, seed=0), mixes)


def test_some_sources_are_drawn_once_each_and_whatever_their_order(rng):
    source = np.concatenate([rng.normal(size=(40, 3)), np.zeros((20, 3))])
    rows, domain = np.concatenate([source, np.ones((2, 3))]), np.array(["source"] * 60 + ["target"] * 2)
    mixes = target_mixes(rows, domain, sources=7, seed=0)
    assert mixes.shape == (14, 3)
    drawn = ((mixes - 0.9) / 0.1).round(9)
    known = {tuple(row) for row in source.round(9).tolist()}
    assert len({tuple(row) for row in drawn.tolist()} & known) == 7
    order = rng.permutation(62)
    np.testing.assert_array_equal(target_mixes(rows[order], domain[order], sources=7, seed=0), mixes)
    assert not np.array_equal(target_mixes(rows, domain, sources=7, seed=1), mixes)


@pytest.mark.parametrize("domain", ["source", "target"])
def test_one_domain_alone_has_no_mixes(domain):
    assert target_mixes(X, np.full(4, domain), sources=5, seed=0).shape == (0, 2)


def test_scores_by_hand():
    """Along [1.9, 0.9] lies a mix of the target clip with the second source clip; without it the nearest is [1, 1]."""
    query = np.array([[19.0, 9.0]])
    plain, mixed = (KNN(memmixup=n).fit(X, domain=DOMAIN).anomaly_score(query)[0] for n in (0, 2))
    assert mixed == pytest.approx(0, abs=1e-12)
    assert plain == pytest.approx(1 - 28 / np.sqrt(2 * (19**2 + 9**2)))


def test_originals_stay_in_the_bank():
    np.testing.assert_allclose(KNN(memmixup=2).fit(X, domain=DOMAIN).anomaly_score(X), 0, atol=1e-12)


@pytest.mark.parametrize("spread", [1, 20])
def test_a_mix_never_helps_the_clip_it_was_made_of(spread):
    """A lonely target clip keeps its full distance to the other, and a lonely source clip's mixes stay out too."""
    rows = np.array([[1.0, 0.001 * i, 0.0] for i in range(3 * spread)] + [[0.0, 1, 0], [0, 0, 1], [0, -1, -1]])
    domain = np.array(["source"] * 3 * spread + ["target", "target", "source"])
    scores = KNN(memmixup=99).fit(rows, domain=domain).reference_scores_
    for i in range(len(rows) - 3, len(rows)):
        rest = np.arange(len(rows)) != i
        refitted = KNN(memmixup=99).fit(rows[rest], domain=domain[rest]).anomaly_score(rows[[i]])[0]
        assert scores[i] >= refitted - 1e-12
        assert scores[i] > 0.5, "its own mixes lie at 0.006 or less from a target clip"

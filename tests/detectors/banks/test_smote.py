"""Points between target clips: how many, where, and that neither order nor source clips matter."""

import numpy as np
import pytest

from detectors import create
from detectors.banks.smote import target_smote

LINE = np.array([[0.0, 0], [1, 0], [10, 0], [11, 0], [0, 5], [1, 5], [2, 5], [3, 5], [4, 5], [5, 5]])
DOMAIN = np.array(["target"] * 4 + ["source"] * 6)


def smote(X=LINE, domain=DOMAIN, share=2.0, seed=0):
    return target_smote(X, domain, share=share, seed=seed)


def test_brings_the_target_domain_to_its_share():
    assert [len(smote(share=share)) for share in (0.2, 4 / 6, 5 / 6, 1.0, 2.0)] == [0, 0, 1, 2, 8]


def test_points_lie_between_target_neighbours():
    new = smote(share=40.0)
    assert new.shape == (236, 2)
    assert (new[:, 1] == 0).all()
    assert new[:, 0].min() >= 0
    assert new[:, 0].max() <= 11
    assert len(np.unique(new[:, 0])) == 236


def test_only_the_three_nearest_are_partners():
    X = np.concatenate([np.array([[0.0], [1], [2], [3], [100]]), np.full((5, 1), -7.0)])
    new = target_smote(X, np.array(["target"] * 5 + ["source"] * 5), share=300.0, seed=0)[:, 0]
    remote = new[new > 3]
    assert ((new >= 0) & (new <= 100)).all()
    assert len(remote) < 0.25 * len(new), "a fifth of the pairs start at the far clip, and no pair ends there"


def test_order_of_rows_does_not_matter(rng):
    order = rng.permutation(10)
    np.testing.assert_array_equal(smote(LINE[order], DOMAIN[order]), smote())
    assert not np.array_equal(smote(seed=1), smote())


@pytest.mark.parametrize("n_target", [0, 1, 10])
def test_nothing_to_do(n_target):
    domain = np.array(["target"] * n_target + ["source"] * (10 - n_target))
    assert smote(domain=domain, share=5.0 if n_target != 10 else 1.0).shape == (0, 2)


def test_the_gap_between_target_clips_becomes_normal():
    X = np.array([[1.0, 0.01 * i] for i in range(10)] + [[0.0, 1.0], [-0.5, 1.0]])
    domain = np.array(["source"] * 10 + ["target"] * 2)
    middle = np.array([[-0.25, 1.0]])
    plain, dense = (create(spec).fit(X, domain=domain) for spec in ("knn", "knn:smote=2"))
    assert dense.anomaly_score(middle)[0] < 0.1 * plain.anomaly_score(middle)[0]
    assert np.isfinite(dense.reference_scores_).all()
    assert dense.reference_scores_[10] == pytest.approx(plain.reference_scores_[10]), "no points from a clip left out"


@pytest.mark.parametrize("spec", ["knn:smote=-1", "gmm:smote=-0.1"])
def test_negative_shares_are_refused(spec):
    with pytest.raises(ValueError, match=r"expected a share .* at least 0"):
        create(spec).fit(LINE)


def test_every_point_draws_its_own_neighbour():
    """Target clips at 0, 1, 10 and 11: a third of the neighbours are at 1, the others at 9 to 11."""
    between = smote(share=500.0)[:, 0]
    assert 1 / 3 < np.mean((between <= 1) | (between >= 10)) < 0.6

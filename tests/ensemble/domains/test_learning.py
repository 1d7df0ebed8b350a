"""What clips teach about domains: each clip is judged without its fold."""

from dataclasses import replace

import numpy as np
import pytest
from domain_clips import domain_clips

from ensemble.domains.classifiers import CLASSIFIERS
from ensemble.domains.learning import learned, log_odds


def test_a_training_clip_is_judged_without_its_own_domain(rng: np.random.Generator) -> None:
    clips, X, _, _ = domain_clips(rng, new=0)
    before = log_odds(X, clips)
    other = clips.target.copy()
    other[0] = True
    after = log_odds(X, replace(clips, target=other))
    fold = clips.fold == clips.fold[0]
    for name in CLASSIFIERS:
        np.testing.assert_array_equal(after[name][fold], before[name][fold])
        assert not np.array_equal(after[name][~fold], before[name][~fold])


def test_a_fold_whose_bank_lacks_a_domain_has_even_odds(rng: np.random.Generator) -> None:
    clips, X, _, _ = domain_clips(rng, new=0)
    clips = replace(clips, fold=np.where(clips.target, 0, clips.fold))
    odds = log_odds(X, clips)
    for name in CLASSIFIERS:
        assert not odds[name][clips.fold == 0].any()
        assert odds[name][clips.fold != 0].all()


@pytest.mark.parametrize("keep", [False, True])
def test_the_better_classifier_is_taken_and_its_views_are_kept_if_asked_for(
    keep: bool, rng: np.random.Generator
) -> None:
    """Source clips lie between two clusters of target clips, which a linear discriminant cannot separate."""
    clips, X, _, is_target = domain_clips(rng, target=16, new=0)
    rows = rng.normal(size=X.shape)
    rows[:, 0] += np.where(is_target, np.where(np.arange(len(X)) % 2, 12.0, -12.0), 0)
    (of_clusters,) = learned([rows], clips, keep=keep)
    (of_means,) = learned([X, X[:, ::2]], clips, keep=keep)
    assert (of_clusters.classifier, of_means.classifier) == ("neighbours", "discriminant")
    assert [len(machine.views) for machine in (of_clusters, of_means)] == ([1, 2] if keep else [0, 0])
    np.testing.assert_array_equal(of_clusters.odds, learned([rows], clips, keep=not keep)[0].odds)


def test_without_views_nothing_is_learned(rng: np.random.Generator) -> None:
    assert learned([], domain_clips(rng, new=0)[0], keep=True) == []

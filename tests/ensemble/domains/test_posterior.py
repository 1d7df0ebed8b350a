"""The posterior of domains: honest for training clips, calibrated, and without effect where it knows nothing."""

from dataclasses import replace

import numpy as np
import pytest

from ensemble.domains.classifiers import CLASSIFIERS
from ensemble.domains.posterior import NEW, Clips, calibrated, log_odds, posterior


def clips(rng: np.random.Generator, source: int = 90, target: int = 10, new: int = 200) -> tuple[Clips, np.ndarray]:
    """Two sections of a machine whose target clips differ in one direction; half of the new clips are target clips."""
    n = source + target
    is_target = np.concatenate([np.arange(n) >= source, np.arange(new) % 2 == 1])
    section = np.where(rng.random(n + new) < 0.5, "00", "01")
    X = rng.normal(size=(n + new, 12)) * np.linspace(0.1, 30, 12)
    X[section == "01"] += 1000 * rng.normal(size=12)
    X[is_target, 3] += 4 * np.linspace(0.1, 30, 12)[3]
    bank = np.arange(n + new) < n
    fold = np.where(bank, rng.permutation(n + new) % 5, NEW)
    known = np.where(bank, is_target, False)
    return Clips(np.full(n + new, "fan"), section, known, bank, fold), np.column_stack([X, is_target])


def test_new_clips_of_both_domains_are_named(rng: np.random.Generator) -> None:
    known, X = clips(rng)
    found = posterior([X[:, :12]], known)
    named = (found.probability > 0.5) == X[:, 12].astype(bool)
    assert named[~known.bank].mean() > 0.9
    assert found.reliability > 0.85


def test_domains_of_scored_clips_are_never_read(rng: np.random.Generator) -> None:
    known, X = clips(rng)
    told = replace(known, target=X[:, 12].astype(bool))
    np.testing.assert_array_equal(posterior([X[:, :12]], known).probability, posterior([X[:, :12]], told).probability)


def test_a_training_clip_is_judged_without_its_own_domain(rng: np.random.Generator) -> None:
    known, X = clips(rng)
    before = log_odds(X[:, :12], known, CLASSIFIERS)
    other = known.target.copy()
    other[0] = True
    after = log_odds(X[:, :12], replace(known, target=other), CLASSIFIERS)
    fold = known.fold == known.fold[0]
    np.testing.assert_array_equal(after[:, fold], before[:, fold])
    for i in range(len(CLASSIFIERS)):
        assert not np.array_equal(after[i, ~fold], before[i, ~fold])


def test_sounds_without_domains_have_even_odds(rng: np.random.Generator) -> None:
    """Calibration keeps a discriminant that fits noise from being certain."""
    known, X = clips(rng)
    noise = rng.normal(size=(len(X), 30))
    found = posterior([noise], known)
    assert np.abs(found.probability - 0.5).max() < 0.45
    assert np.abs(found.probability - 0.5).mean() < 0.2
    assert found.reliability < 0.75
    together = posterior([noise, X[:, :12]], known)
    named = (together.probability > 0.5) == X[:, 12].astype(bool)
    assert named[~known.bank].mean() > 0.85, "the informative view decides"


def test_a_machine_with_too_few_clips_of_a_domain_has_no_posterior(rng: np.random.Generator) -> None:
    known, X = clips(rng, target=2)
    found = posterior([X[:, :12]], known)
    assert np.isnan(found.probability).all()
    assert np.isnan(found.reliability)
    other, of_other = clips(rng)
    other = replace(other, machine=np.full(len(of_other), "pump"))
    names = ("machine", "section", "target", "bank", "fold")
    both = Clips(*(np.concatenate([getattr(known, name), getattr(other, name)]) for name in names))
    rows = np.concatenate([X[:, :12], of_other[:, :12]])
    probability = posterior([rows], both).probability
    assert np.isnan(probability[: len(X)]).all()
    assert not np.isnan(probability[len(X) :]).any()


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_units_of_the_rows_do_not_matter(scale: float, rng: np.random.Generator) -> None:
    known, X = clips(rng)
    X = X[:, :12]
    np.testing.assert_allclose(
        posterior([X * scale], known).probability, posterior([X], known).probability, rtol=1e-6, atol=1e-9
    )


def test_constant_rows_and_constant_columns_are_no_error(rng: np.random.Generator) -> None:
    known, X = clips(rng)
    assert (posterior([np.ones((len(X), 4))], known).probability == 0.5).all()
    with_constant = np.column_stack([X[:, :12], np.full(len(X), 7.0)])
    np.testing.assert_allclose(
        posterior([with_constant], known).probability, posterior([X[:, :12]], known).probability, rtol=1e-9
    )


def test_calibration_by_hand() -> None:
    """Means -1 and 3, variances 1 of two clips each, so (2 + 3) / 5 * 1.5 = 1.5: slope 4 / 1.5 about the middle 1."""
    odds = np.array([-2.0, 0.0, 2.0, 4.0, 1.0, 5.0])
    target = np.array([False, False, True, True, False, False])
    bank = np.array([True, True, True, True, False, False])
    known = Clips(np.full(6, "fan"), np.full(6, "00"), target, bank, np.where(bank, 0, NEW))
    np.testing.assert_allclose(calibrated(odds, known), np.array([-12, -4, 4, 12, 0, 16]) / 1.5)
    swapped = replace(known, target=~target)
    assert not calibrated(odds, swapped).any(), "target clips must have the higher odds"


def test_a_domain_that_varies_more_begins_nearer_to_the_other() -> None:
    """Source clips at -1 and 1, target clips at 5 and 15; both tails are monotone."""
    odds = np.concatenate([[-1.0, 1, -1, 1], [5, 15, 5, 15], np.linspace(-40, 60, 201)])
    bank = np.arange(len(odds)) < 8
    target = np.isin(np.arange(len(odds)), range(4, 8))
    known = Clips(np.full(len(odds), "fan"), np.full(len(odds), "00"), target, bank, np.where(bank, 0, NEW))
    mapped = calibrated(odds, known)[8:]
    assert (np.diff(mapped) >= 0).all()
    middle = odds[8:][np.argmax(mapped > 0)]
    assert 1 < middle < 4.9, "below the middle of the means, 5"
    assert mapped[0] == mapped[40] < 0


def test_a_domain_of_several_clusters_is_named_by_the_nearest_clips(rng: np.random.Generator) -> None:
    """Source clips lie between two clusters of target clips, which a linear discriminant cannot separate."""
    known, X = clips(rng, source=90, target=16)
    rows = rng.normal(size=(len(X), 12))
    side = np.where(np.arange(len(X)) // 2 % 2, 12.0, -12.0)
    rows[:, 0] += np.where(X[:, 12] > 0, side, 0)
    found = posterior([rows], known)
    named = (found.probability > 0.5) == X[:, 12].astype(bool)
    assert named[~known.bank].mean() > 0.9
    assert found.reliability > 0.85

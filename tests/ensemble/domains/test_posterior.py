"""The posterior of the clips that it is learned from."""

from dataclasses import replace

import numpy as np
import pytest
from domain_clips import domain_clips

from ensemble.domains.clips import Clips
from ensemble.domains.posterior import Posterior, posterior


def test_held_out_clips_are_named(rng: np.random.Generator) -> None:
    clips, X, _, is_target = domain_clips(rng, new=0)
    result = posterior([X], clips)
    assert ((result.probability > 0.5) == is_target).mean() > 0.85
    assert result.reliability > 0.85


def test_domains_of_clips_outside_the_bank_are_never_read(rng: np.random.Generator) -> None:
    clips, X, _, _ = domain_clips(rng, new=0)
    clips = replace(clips, bank=np.arange(len(X)) % 3 > 0)
    told = replace(clips, target=np.where(clips.bank, clips.target, ~clips.target))
    np.testing.assert_array_equal(posterior([X], told).probability, posterior([X], clips).probability)
    assert posterior([X], told).reliability == posterior([X], clips).reliability


def test_the_reliability_is_the_mean_over_the_domains() -> None:
    target = np.array([False, False, False, True, True, True])
    clips = Clips(np.full(6, "fan"), np.full(6, "00"), target, np.arange(6) < 5, np.arange(6))
    assert Posterior(np.array([0.1, 0.2, 0.6, 0.9, 0.4, 0.1]), clips).reliability == pytest.approx((2 / 3 + 1 / 2) / 2)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_units_of_the_rows_do_not_matter(scale: float, rng: np.random.Generator) -> None:
    clips, X, _, _ = domain_clips(rng, new=0)
    np.testing.assert_allclose(
        posterior([X * scale], clips).probability, posterior([X], clips).probability, rtol=1e-6, atol=1e-9
    )


def test_constant_rows_and_constant_columns_are_no_error(rng: np.random.Generator) -> None:
    clips, X, _, _ = domain_clips(rng, new=0)
    assert (posterior([np.ones((len(X), 4))], clips).probability == 0.5).all()
    with_constant = np.column_stack([X, np.full(len(X), 7.0)])
    np.testing.assert_allclose(
        posterior([with_constant], clips).probability, posterior([X], clips).probability, rtol=1e-9
    )

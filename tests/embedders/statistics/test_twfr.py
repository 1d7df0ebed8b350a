"""Global weighted ranking pooling: worked examples, limits, symmetries."""

import numpy as np
import pytest
import torch

from embedders.statistics.twfr import TWFR, gwrp


@pytest.fixture
def S():
    return torch.from_numpy(np.random.default_rng(0).normal(size=(4, 50))).sort().values


def test_worked_example():
    ordered = torch.tensor([[1.0, 5, 3, 2], [0, 0, 4, 1]], dtype=torch.float64).sort().values
    expected = [[5, 3.8, 2.922070369293, 2.75], [4, 2.4, 1.424832800233, 1.25]]
    np.testing.assert_allclose(gwrp(ordered, (0, 0.5, 0.9, 1)), expected, rtol=0, atol=5e-13)


def test_limits_are_mean_max_and_min(S):
    np.testing.assert_allclose(gwrp(S, (1.0,))[:, 0], S.mean(-1))
    np.testing.assert_allclose(gwrp(S, (0.0,))[:, 0], S.amax(-1))
    np.testing.assert_allclose(gwrp(S, (1e12,))[:, 0], S.amin(-1))


def test_pooling_falls_from_max_by_mean_to_min(S):
    assert (gwrp(S, (0, 0.3, 0.6, 0.9, 0.99, 1, 1.01, 1.1, 2, 1e12)).diff() < 0).all()


def test_decays_above_1_mirror_those_below(S):
    mirrored = -gwrp((-S).sort().values, (0.5, 0.8, 0.99))
    torch.testing.assert_close(gwrp(S, (2.0, 1.25, 1 / 0.99)), mirrored, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n_frames", [1, 7, 100_000])
def test_constant_stays_constant_at_any_length(n_frames):
    pooled = gwrp(torch.full((2, n_frames), 3.0), (0, 0.5, 0.99, 1, 1.01, 2))
    np.testing.assert_allclose(pooled, 3.0, rtol=1e-5)


def test_order_of_frames_does_not_matter():
    S = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 40, 8)).astype(np.float32))
    shuffled = S[:, torch.from_numpy(np.random.default_rng(1).permutation(40))]
    torch.testing.assert_close(TWFR().pool(shuffled), TWFR().pool(S), rtol=0, atol=0)


def test_views_are_named_by_decay():
    embedder = TWFR(r=(1.0, 0.95, 0.0, 1.05), n_mels=16)
    assert (embedder.views, embedder.shape) == (("r1", "r0.95", "r0", "r1.05"), (4, 16))


def test_level_shifts_every_view():
    waves = (0.01 * np.random.default_rng(0).normal(size=(1, 48000))).astype(np.float32)
    np.testing.assert_allclose(TWFR().embed(10 * waves) - TWFR().embed(waves), 20.0, atol=1e-3)


@pytest.mark.parametrize("r", [(), (-0.1,), (0.5, 0.5), (float("nan"),), (float("inf"),)])
def test_wrong_decays_are_refused(r):
    with pytest.raises(ValueError, match="expected distinct decays of at least 0"):
        TWFR(r=r)

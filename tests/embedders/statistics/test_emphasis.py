"""RDP and GeM: values by hand, limits of their exponents, and symmetries."""

import numpy as np
import pytest
import torch

from embedders.statistics.emphasis import gem, rdp

FRAMES = torch.tensor([[0.0, 0.0], [0.0, 4.0], [3.0, 2.0]])  # mean (1, 2); distances sqrt 5, sqrt 5, 2
SIGNED = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 50, 6)).astype(np.float32))


def test_rdp_by_hand():
    r = np.array([1.0, 1.0, 2 / np.sqrt(5)])
    for gamma in (0.0, 1.0, 4.0):
        weights = (1 + r) ** gamma / ((1 + r) ** gamma).sum()
        np.testing.assert_allclose(rdp(FRAMES, gamma), weights @ FRAMES.numpy(), rtol=1e-6)


def test_rdp_finds_a_knock():
    """One loud frame of ten: gamma 4 raises its share from 0.1 to 0.57."""
    frames = torch.zeros(10, 1)
    frames[4] = 1.0
    quiet = (1 + 0.1 / 0.9) ** 4
    np.testing.assert_allclose(rdp(frames, 4.0), 16 / (16 + 9 * quiet), rtol=1e-6)


def test_gem_by_hand():
    np.testing.assert_allclose(
        gem(torch.tensor([[1.0, 4.0], [2.0, 0.0], [3.0, 0.0]]), 3.0), [12 ** (1 / 3), 4 / 3 ** (1 / 3)]
    )
    signed = torch.tensor([[-3.0, -10.0], [-1.0, -20.0]])  # measured from -3 and -20
    np.testing.assert_allclose(gem(signed, 2.0), [-3 + np.sqrt(2), -20 + np.sqrt(50)], rtol=1e-6)


def test_exponents_without_emphasis_give_the_mean():
    for pooled in (rdp(SIGNED, 0.0), gem(SIGNED, 1.0), gem(SIGNED.abs(), 1.0) - SIGNED.abs().mean(2) + SIGNED.mean(2)):
        torch.testing.assert_close(pooled, SIGNED.mean(dim=2), rtol=1e-5, atol=1e-6)


def test_large_p_approaches_the_maximum():
    distance = [float((SIGNED.amax(dim=2) - gem(SIGNED, p)).abs().max()) for p in (1.0, 3.0, 10.0, 100.0, 1e4)]
    assert distance == sorted(distance, reverse=True)
    assert distance[-1] < 5e-3


def test_whole_exponents_equal_the_power_of_any():
    for p in (2, 3, 4):
        torch.testing.assert_close(gem(SIGNED, p), gem(SIGNED, p + 1e-9), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pool", [lambda x: rdp(x, 4.0), lambda x: gem(x, 3.0)])
class TestBoth:
    def test_order_of_frames_does_not_matter(self, pool):
        order = torch.from_numpy(np.random.default_rng(1).permutation(50))
        torch.testing.assert_close(pool(SIGNED[:, :, order]), pool(SIGNED), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("value", [0.0, 7.25, -60.5, 1e-30])
    def test_equal_frames_are_their_own_pooling(self, pool, value):
        np.testing.assert_allclose(pool(torch.full((9, 4), value)), value, rtol=1e-6, atol=1e-12)

    def test_one_frame_is_its_own_pooling(self, pool):
        torch.testing.assert_close(pool(SIGNED[:, :, :1]), SIGNED[:, :, 0])

    def test_values_lie_between_the_least_and_the_largest(self, pool):
        assert (pool(SIGNED) <= SIGNED.amax(dim=2) + 1e-6).all()
        assert (pool(SIGNED) >= SIGNED.amin(dim=2) - 1e-6).all()

    def test_clips_do_not_change_each_other(self, pool):
        torch.testing.assert_close(pool(SIGNED)[1], pool(SIGNED[1]))

    def test_a_level_shifts_values_that_stay_negative(self, pool):
        level = SIGNED - 50
        torch.testing.assert_close(pool(level - 20), pool(level) - 20, rtol=1e-5, atol=1e-4)

"""Scenes of the training of na_beats: levels, rooms and noise are what they are said to be."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from embedders.networks.objectives.scenes import Scenes, heard, noise_gain, room_pool, shaped_noise, unit_power

RATE = 16000
SCENES = Scenes(RATE, rooms=3, sources=2, leak_db=(-15.0, -6.0), snr_db=(-5.0, 5.0))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def waves(n: int = 4, samples: int = 8000) -> torch.Tensor:
    return 0.1 * torch.randn(n, samples, generator=rng(9))


def power(x: torch.Tensor) -> torch.Tensor:
    return x.square().mean(dim=-1)


@pytest.mark.parametrize("samples", [4000, 20001])
@pytest.mark.parametrize("n", [1, 4])
def test_the_level_of_the_noise_is_the_stated_one(samples, n):
    scenes = replace(SCENES, snr_db=(3.0, 3.0))
    pair, clean = scenes.render(waves(n, samples), rng(), seed=0)
    assert (pair.shape, clean.shape) == ((n, 2, samples), (n, samples))
    ratio = power(clean) / power(pair[:, 0] - clean)
    torch.testing.assert_close(10 * ratio.log10(), torch.full((n,), 3.0), atol=1e-3, rtol=0)


def test_levels_are_drawn_from_their_ranges():
    pair, clean = SCENES.render(waves(40), rng(), seed=0)
    snr_db = 10 * (power(clean) / power(pair[:, 0] - clean)).log10()
    assert -5 <= snr_db.min() < -3 < 3 < snr_db.max() <= 5


def test_leakage_is_that_of_the_responses():
    pool = room_pool(6, 2, (-15.0, -6.0), RATE, 0)
    energy = np.square(pool).sum(axis=-1)
    np.testing.assert_allclose(energy[:, 0, 0], 1, rtol=1e-5)
    leak_db = 10 * np.log10(energy[:, 0, 1])
    assert -15.01 <= leak_db.min() < leak_db.max() <= -5.99
    np.testing.assert_allclose(energy[:, 1:, 0].mean(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(pool, room_pool.__wrapped__(6, 2, (-15.0, -6.0), RATE, 0))
    assert not np.array_equal(pool[0], pool[1])
    assert not np.array_equal(pool[0, ..., :1000], room_pool(6, 2, (-15.0, -6.0), RATE, 1)[0, ..., :1000])


def test_convolution_by_hand():
    """An impulse gives the responses; a response that is longer than the wave is cut."""
    impulse = torch.zeros(1, 1, 8)
    impulse[0, 0, 6] = 2.0
    responses = torch.tensor([[[[1.0, 0.5, 0.25], [0.0, 0.0, 3.0]]]])
    expected = torch.tensor([[[[0.5, 0, 0, 0, 0, 0, 2, 1], [6, 0, 0, 0, 0, 0, 0, 0]]]])
    torch.testing.assert_close(heard(impulse, responses), expected, atol=1e-6, rtol=0)
    long = torch.ones(1, 1, 2, 12)
    torch.testing.assert_close(heard(impulse, long), torch.full((1, 1, 2, 8), 2.0))


def test_silence_stays_silent_and_finite():
    clips = waves(2)
    clips[0] = 0
    pair, clean = SCENES.render(clips, rng(), seed=0)
    assert torch.isfinite(pair).all()
    assert not pair[0].any()
    assert clean[1].any()
    assert not unit_power(torch.zeros(1, 5)).any()
    assert noise_gain(torch.ones(1, 4), torch.ones(1, 4) / 2, torch.zeros(1)).item() == pytest.approx(2)


def test_shaped_noise_is_steeper_or_flatter_and_never_rises():
    spectrum = torch.fft.rfft(shaped_noise(200, 16000, RATE, rng())).abs().square()
    low, high = spectrum[:, 50:100].mean(dim=1), spectrum[:, 5000:8000].mean(dim=1)
    slope_db = 10 * (low / high).log10()
    assert -3 < slope_db.min() < 3
    assert 30 < slope_db.max() < 45


def test_the_same_generator_draws_the_same_scenes():
    first, second = (SCENES.render(waves(), rng(1), seed=0)[0] for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert not torch.equal(first, SCENES.render(waves(), rng(2), seed=0)[0])

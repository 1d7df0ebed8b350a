"""The deviation map: low for normal clips, high where a fault is."""

import numpy as np
from noise_plant import EMBEDDER, VIEWS, noise, with_tone

from ensemble.deviation.map import deviation
from ensemble.deviation.statistics import NormalSound

NORMAL = NormalSound.of(EMBEDDER.embed(noise(np.random.default_rng(1), 60)), VIEWS)


def z_of(wave: np.ndarray) -> np.ndarray:
    return deviation(EMBEDDER.log_mel(wave[None])[0], NORMAL)


def test_a_normal_clip_is_low() -> None:
    z = z_of(noise(np.random.default_rng(7))[0])
    assert z.shape == (126, 40)
    assert np.mean(np.abs(z) < 1) > 0.8
    assert np.abs(z).max() < 5


def test_a_burst_is_high_at_its_place_only() -> None:
    z = z_of(with_tone(noise(np.random.default_rng(7))[0], 2.0, 2.5, 1000, 0.05))
    frame, band = np.unravel_index(z.argmax(), z.shape)
    assert 62 <= frame <= 79
    assert z.max() > 8
    far = np.delete(z, np.arange(max(0, band - 4), band + 5), axis=1)
    assert np.abs(far[:50]).max() < 5


def test_a_faint_steady_tone_is_seen_in_every_frame() -> None:
    """A tone that single frames do not show, because they spread by some 5 dB."""
    wave = with_tone(noise(np.random.default_rng(7))[0], 0, 4, 3000, 0.004)
    z = z_of(wave)
    assert (z[:, z.mean(axis=0).argmax()] > 1).all()


def test_quieter_than_normal_is_negative() -> None:
    z = z_of(noise(np.random.default_rng(7))[0] * np.float32(0.1))
    assert (z < -3).all()

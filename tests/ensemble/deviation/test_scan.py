"""The matched filter: its z-score by hand, its covariance, and faults of known place."""

import numpy as np
import pytest
from noise_plant import EMBEDDER, VIEWS, noise, with_tone

from ensemble.deviation.scan import LEAST_DB, LEAST_Z, WITHIN_SCALE, Box, Filter, boxes
from ensemble.deviation.statistics import NormalSound
from featstore.errors import DataError


@pytest.fixture(scope="module")
def normal() -> NormalSound:
    return NormalSound.of(EMBEDDER.embed(noise(np.random.default_rng(1), 60)), VIEWS)


def spectrogram(wave: np.ndarray) -> np.ndarray:
    """Without the first and last frame, half of whose windows is padding."""
    return EMBEDDER.log_mel(wave[None])[0, 1:-1]


def band_of(hz: float) -> int:
    wave = with_tone(np.zeros(64_000, np.float32), 0, 4, hz)
    return int(spectrogram(wave).mean(axis=0).argmax())


def test_a_filter_is_the_most_powerful_statistic(rng: np.random.Generator) -> None:
    """z = u'Pd / sqrt(u'Pu) for the bands u, with P the inverse of the covariance of a mean over the frames."""
    A = rng.normal(size=(6, 6))
    normal = NormalSound(np.zeros((1, 6)), A @ A.T + np.eye(6), np.arange(1.0, 7), np.full(6, 2.0))
    matched = Filter.of(normal, 8)
    precision = np.linalg.inv(normal.between + np.diag((WITHIN_SCALE * normal.within) ** 2 * 2 / 8))
    np.testing.assert_allclose(matched.precision, precision, rtol=1e-5)
    u = np.array([0, 0, 1, 1, 1, 0])
    assert matched.unit[2, 5] == pytest.approx((u @ precision @ u) ** -0.5, rel=1e-5)
    assert dict(matched.units)[2][3] == matched.unit[3, 5]


def test_z_scores_have_unit_variance(rng: np.random.Generator) -> None:
    """Means over frames with the stated covariance; the z-score of any bands has variance 1."""
    A = rng.normal(size=(6, 6))
    normal = NormalSound(np.zeros((1, 6)), A @ A.T + np.eye(6), np.ones(6), np.ones(6))
    matched = Filter.of(normal, 4)
    means = rng.multivariate_normal(np.zeros(6), np.linalg.inv(matched.precision.astype(float)), 20_000)
    z = (means @ matched.precision)[:, 1:4].sum(axis=1) * matched.unit[1, 4]
    assert z.std() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(("start_s", "end_s", "hz"), [(1.0, 1.3, 1000), (0.0, 4.0, 3000), (3.0, 3.05, 500)])
def test_a_tone_burst_is_named(normal: NormalSound, start_s: float, end_s: float, hz: float) -> None:
    wave = with_tone(noise(np.random.default_rng(5))[0], start_s, end_s, hz)
    (box,) = boxes(spectrogram(wave), normal, 1)
    hop_s = EMBEDDER.hop / EMBEDDER.sample_rate_hz
    assert box.frames[0] * hop_s == pytest.approx(start_s, abs=0.2)
    assert box.frames[1] * hop_s == pytest.approx(end_s, abs=0.2)
    assert box.bands[0] <= band_of(hz) < box.bands[1] <= box.bands[0] + 6
    assert box.excess_db > 3


def test_two_bursts_are_two_regions(normal: NormalSound) -> None:
    wave = with_tone(with_tone(noise(np.random.default_rng(5))[0], 0.5, 0.8, 1000), 3.0, 3.3, 4000)
    first, second = sorted(boxes(spectrogram(wave), normal, 2), key=lambda box: box.frames)
    assert first.bands[0] <= band_of(1000) < first.bands[1]
    assert second.bands[0] <= band_of(4000) < second.bands[1]
    assert not first.meets(second)


@pytest.mark.parametrize("gain_db", [10, -10])
def test_a_level_change_of_the_whole_clip(normal: NormalSound, gain_db: float) -> None:
    wave = noise(np.random.default_rng(5))[0] * np.float32(10 ** (gain_db / 20))
    (box,) = boxes(spectrogram(wave), normal, 1)
    assert box.frames == (0, len(spectrogram(wave)))
    assert box.bands[1] - box.bands[0] >= 36
    assert box.excess_db == pytest.approx(gain_db, abs=1.5)


def test_a_gap_is_quieter(normal: NormalSound) -> None:
    wave = noise(np.random.default_rng(5))[0]
    wave[16_000:24_000] *= 0.1
    (box,) = boxes(spectrogram(wave), normal, 1)
    assert box.excess_db < -10
    assert 0.95 <= box.frames[0] * 0.032 < box.frames[1] * 0.032 <= 1.55


def test_in_normal_clips_nothing_stands_out(normal: NormalSound) -> None:
    """Less the expected maximum, the strongest rectangle is a level that is a little off, and there is no second."""
    found = [boxes(spectrogram(wave), normal, 2) for wave in noise(np.random.default_rng(9), 20)]
    assert max(box.rank for pair in found for box in pair) < 4
    assert sum(len(pair) == 2 for pair in found) <= 2
    burst = with_tone(noise(np.random.default_rng(9))[0], 1.0, 1.5, 1000)
    assert boxes(spectrogram(burst), normal, 1)[0].rank > 4


def test_training_clips_that_vary_hide_a_change(normal: NormalSound) -> None:
    """3 dB in one band is far from normal, unless the clips vary by 6 dB there."""
    S = np.repeat(normal.level, 100, axis=0)
    S[:, 20] += 3
    varying = normal.between.copy()
    varying[20, 20] += 36
    assert boxes(S, normal, 1)[0].bands == (20, 21)
    hidden = NormalSound(normal.level, varying, normal.within, normal.memory)
    assert all(not box.meets(Box((0, 100), (20, 21), 0, 0, 0)) for box in boxes(S, hidden, 1))


def test_a_band_is_named_by_its_own_level() -> None:
    """Levels vary together: 5 dB more in all bands is normal, 1.5 dB more in one of them is too little."""
    normal = NormalSound(np.zeros((1, 40)), np.full((40, 40), 25.0) + 0.01 * np.eye(40), np.full(40, 0.3), np.ones(40))
    S = np.full((50, 40), 5.0)
    S[:, 20] = 1.5
    assert all(not box.bands[0] <= 20 < box.bands[1] <= box.bands[0] + 2 for box in boxes(S, normal))


def test_an_inaudible_difference_is_not_named() -> None:
    normal = NormalSound(np.zeros((1, 40)), 0.01 * np.eye(40), np.full(40, 0.3), np.ones(40))
    assert boxes(np.full((50, 40), 0.5), normal) == []
    assert boxes(np.full((50, 40), 1.5), normal, 1)[0].bands == (0, 40)


@pytest.mark.parametrize("shape", [(10, 39), (0, 40), (40,)])
def test_another_shape_is_refused(normal: NormalSound, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"expected a finite log-mel \(frames, 40 bands\)"):
        boxes(np.zeros(shape), normal)


def test_a_clip_of_one_frame(normal: NormalSound) -> None:
    assert boxes(normal.level + 20, normal, 1)[0].frames == (0, 1)


def test_normal_noise_has_no_region_that_hardly_differs(normal: NormalSound) -> None:
    """The exact bands of a faint rectangle are bands that are reported, not wide ones of 0 dB with a z-score of 0."""
    found = [
        box for seed in range(60) for box in boxes(spectrogram(noise(np.random.default_rng(100 + seed))[0]), normal)
    ]
    assert found
    assert min(box.z for box in found) >= LEAST_Z
    assert min(abs(box.excess_db) for box in found) >= LEAST_DB

"""Near minus far: hand-computed, against least squares, and where it cannot help."""

import numpy as np
import pytest

from featstore.audio.near_far import frames as frames_module
from featstore.audio.near_far.frames import Frames
from featstore.audio.near_far.subtract import FAR_COPY, FAR_SILENT, Subtraction, near_minus_far
from featstore.errors import DataError

RATE = 16_000


def scene(rng: np.random.Generator, seconds: float = 4.0, taps: int = 24) -> tuple[np.ndarray, ...]:
    """Machine, noise at the near microphone, noise at the far one: one source, a path of a few milliseconds."""
    n = round(seconds * RATE)
    noise = 0.1 * rng.normal(size=n)
    path = rng.normal(size=taps) * np.exp(-np.arange(taps) / 8)
    machine = 0.03 * np.sin(2 * np.pi * 440 * np.arange(n) / RATE)
    return machine, np.convolve(noise, path)[:n], noise


def level_db(wave: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(wave))))


def test_the_filter_is_the_least_squares_solution_per_frequency(rng):
    near, far = rng.normal(size=(2, 3000))
    left, outcome = near_minus_far(near, far, Subtraction(window=64))
    frames = Frames(64)
    scale = 0.9 / max(np.abs(near).max(), np.abs(far).max())
    C, F = (frames.spectra(scale * wave, 0, frames.count(3000)) for wave in (near, far))
    H = np.array([np.linalg.lstsq(F[:, [k]], C[:, k], rcond=None)[0][0] for k in range(33)])
    hops = frames.empty(3000)
    frames.add(hops, C - F * H, 0)
    np.testing.assert_allclose(left, frames.wave(hops, 3000) / scale, atol=1e-5)
    assert (left.dtype, left.shape, outcome) == (np.float32, (3000,), "")


def test_several_taps_are_the_least_squares_solution_per_frequency(rng):
    near, far = rng.normal(size=(2, 3000))
    left, _ = near_minus_far(near, far, Subtraction(window=64, taps=3))
    frames = Frames(64)
    C, F = (frames.spectra(wave, 0, frames.count(3000)) for wave in (near, far))
    rows = np.stack([F, np.pad(F, ((1, 0), (0, 0)))[:-1], np.pad(F, ((2, 0), (0, 0)))[:-2]], axis=2)
    explained = np.stack([rows[:, k] @ np.linalg.lstsq(rows[:, k], C[:, k], rcond=None)[0] for k in range(33)], axis=1)
    hops = frames.empty(3000)
    frames.add(hops, C - explained, 0)
    np.testing.assert_allclose(left, frames.wave(hops, 3000), atol=1e-4)


def test_noise_of_one_source_is_removed_and_the_machine_stays(rng):
    machine, near_noise, far = scene(rng)
    left, outcome = near_minus_far(machine + near_noise, far, Subtraction())
    assert outcome == ""
    assert level_db(left - machine) < level_db(near_noise) - 25
    assert abs(level_db(left) - level_db(machine)) < 0.5


def test_independent_noise_is_not_removed(rng):
    machine, _, far = scene(rng)
    near = machine + 0.1 * rng.normal(size=len(machine))
    left, _ = near_minus_far(near, far, Subtraction())
    assert abs(level_db(left) - level_db(near)) < 0.5


def test_what_leaks_into_the_far_microphone_is_lost_too(rng):
    machine, _, _ = scene(rng)
    left, _ = near_minus_far(machine, 0.5 * machine + 1e-4 * rng.normal(size=len(machine)), Subtraction())
    assert level_db(left) < level_db(machine) - 20


def test_several_taps_remove_a_late_echo_that_one_leaves(rng):
    machine, near_noise, far = scene(rng)
    delay = 2000  # samples: about four frames
    near_noise = near_noise + 0.8 * np.concatenate([np.zeros(delay), near_noise[:-delay]])
    one, six = (near_minus_far(machine + near_noise, far, Subtraction(taps=taps))[0] - machine for taps in (1, 6))
    assert level_db(six) < level_db(one) - 6


def test_a_recursive_filter_follows_a_path_that_changes(rng):
    machine, near_noise, far = scene(rng, seconds=8)
    gain = np.linspace(1, -1, len(far))  # the noise changes sides
    near = machine + gain * near_noise
    fixed, moving = (near_minus_far(near, far, Subtraction(forget=forget))[0] - machine for forget in (0.0, 0.9))
    assert level_db(moving) < level_db(fixed) - 6


@pytest.mark.parametrize("how", [Subtraction(), Subtraction(taps=3), Subtraction(forget=0.9, taps=2)])
def test_a_silent_or_copied_far_channel_leaves_the_near_one_exactly(how, rng):
    near = rng.normal(size=5000).astype(np.float32)
    for far, expected in ((0 * near, FAR_SILENT), (near, FAR_COPY), (-0.25 * near, FAR_COPY)):
        left, outcome = near_minus_far(near, far, how)
        assert outcome == expected
        np.testing.assert_array_equal(left, near)


def test_silence_at_the_near_microphone_stays_silence(rng):
    left, outcome = near_minus_far(np.zeros(4000, np.float32), rng.normal(size=4000), Subtraction())
    assert outcome == ""
    np.testing.assert_allclose(left, 0, atol=1e-12)


@pytest.mark.parametrize("how", [Subtraction(), Subtraction(taps=4), Subtraction(forget=0.95)])
def test_the_size_of_blocks_changes_nothing(how, rng, monkeypatch):
    near, far = rng.normal(size=(2, 20_000))
    whole = near_minus_far(near, far, how)[0]
    monkeypatch.setattr(frames_module, "BLOCK", 3)  # more blocks than are kept
    np.testing.assert_allclose(near_minus_far(near, far, how)[0], whole, atol=1e-6)


@pytest.mark.parametrize("samples", [1, 2, 100, 511, 512, 513, 1025])
def test_any_length(samples, rng):
    for how in (Subtraction(), Subtraction(taps=5), Subtraction(forget=0.9)):
        left, _ = near_minus_far(*rng.normal(size=(2, samples)), how)
        assert left.shape == (samples,)
        assert np.isfinite(left).all()


def test_the_level_of_the_recording_does_not_matter(rng):
    near, far = rng.normal(size=(2, 4000))
    whole = near_minus_far(near, far, Subtraction())[0]
    np.testing.assert_allclose(
        near_minus_far(1e-4 * near, 1e-4 * far, Subtraction())[0], 1e-4 * whole, rtol=1e-4, atol=1e-9
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"window": 63}, "window=63: expected an even number"),
        ({"window": 1 << 20}, "window=1048576"),
        ({"taps": 0}, "taps=0: expected 1 to 32"),
        ({"forget": 1.0}, "forget=1: expected 0, or from 0.5"),
        ({"forget": 0.1}, "forget=0.1"),
    ],
)
def test_values_that_make_no_filter(values, message):
    with pytest.raises(DataError, match=message):
        Subtraction(**values)

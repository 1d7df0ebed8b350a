"""Frames of a wave: overlap-add gives the wave back, and blocks change nothing."""

import numpy as np
import pytest

from featstore.audio.near_far import frames as module
from featstore.audio.near_far.frames import Frames


@pytest.mark.parametrize("samples", [1, 31, 32, 33, 64, 65, 1000])
def test_overlap_add_gives_the_wave_back(samples, rng):
    frames, wave = Frames(64), rng.normal(size=samples)
    hops = frames.empty(samples)
    for first, last in frames.blocks(samples):
        frames.add(hops, frames.spectra(wave, first, last), first)
    np.testing.assert_allclose(frames.wave(hops, samples), wave, atol=1e-12)


@pytest.mark.parametrize(("precision", "spectrum"), [(np.float32, np.complex64), (np.float64, np.complex128)])
def test_the_precision_is_that_of_the_wave(precision, spectrum, rng):
    frames, wave = Frames(64), rng.normal(size=320).astype(precision)
    wave.flags.writeable = False
    spectra = frames.spectra(wave, 0, frames.count(320))
    assert spectra.dtype == spectrum
    hops = frames.empty(320, precision)
    frames.add(hops, spectra, 0)
    np.testing.assert_allclose(frames.wave(hops, 320), wave, atol=20 * np.finfo(precision).eps)


@pytest.mark.parametrize("samples", [1, 5, 40, 700])
def test_any_part_of_the_mirrored_wave(samples, rng):
    wave = rng.normal(size=samples)
    mirrored = np.pad(wave, samples - 1, mode="reflect") if samples > 1 else wave
    whole = np.concatenate([np.zeros(2000 - samples + 1), mirrored, np.zeros(2000 - samples + 1)])
    for start, end in [(-60, -10), (-60, 30), (0, samples), (3, samples + 50), (samples + 2, samples + 80), (-90, 900)]:
        np.testing.assert_array_equal(module._mirrored(wave, start, end), whole[2000 + start : 2000 + end])


def test_spectra_are_those_of_mirrored_hann_frames(rng):
    frames, wave = Frames(64), rng.normal(size=320)
    padded = np.pad(wave, 64, mode="reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(64) / 64)
    expected = [np.fft.rfft(hann * padded[32 + 32 * t : 96 + 32 * t]) for t in range(frames.count(320))]
    np.testing.assert_allclose(frames.spectra(wave, 0, frames.count(320)), expected, atol=1e-12)


def test_blocks_cover_every_frame_once(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 3)
    assert list(Frames(64).blocks(320)) == [(0, 3), (3, 6), (6, 9), (9, 11)]

"""Frames of a wave: overlap-add gives the wave back, and blocks change nothing."""

import numpy as np
import pytest

from featstore.audio.near_far import frames as module
from featstore.audio.near_far.frames import Frames


@pytest.mark.parametrize("samples", [1, 31, 32, 33, 64, 65, 1000])
def test_overlap_add_gives_the_wave_back(samples, rng):
    frames, wave = Frames(64), rng.normal(size=samples)
    out, weight = np.zeros((2, samples + 2 * frames.size))
    for first, last in frames.blocks(samples):
        frames.add(out, weight, frames.spectra(wave, first, last), first)
    inside = slice(frames.hop, frames.hop + samples)
    np.testing.assert_allclose(out[inside] / weight[inside], wave, atol=1e-12)


def test_spectra_are_those_of_mirrored_hann_frames(rng):
    frames, wave = Frames(64), rng.normal(size=320)
    padded = np.pad(wave, 64, mode="reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(64) / 64)
    expected = [np.fft.rfft(hann * padded[32 + 32 * t : 96 + 32 * t]) for t in range(frames.count(320))]
    np.testing.assert_allclose(frames.spectra(wave, 0, frames.count(320)), expected, atol=1e-12)


def test_blocks_cover_every_frame_once(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 3)
    assert list(Frames(64).blocks(320)) == [(0, 3), (3, 6), (6, 9), (9, 11)]

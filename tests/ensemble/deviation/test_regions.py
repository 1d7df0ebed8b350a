"""Regions in seconds and Hz."""

import numpy as np
import pytest
from noise_plant import EMBEDDER, VIEWS, noise, with_tone

from ensemble.deviation.regions import band_edges, regions
from ensemble.deviation.statistics import NormalSound

EDGES = band_edges(40, 0, 8000, "slaney")
HOP_S = 0.032


def test_bands_meet_between_the_centres_of_their_filters() -> None:
    """HTK mel is 2595 log10(1 + hz / 700): four filters between 0 and 8 kHz have five steps."""
    edges = band_edges(4, 0, 8000, "htk")
    mel = 2595 * np.log10(1 + edges / 700)
    top = 2595 * np.log10(1 + 8000 / 700)
    np.testing.assert_allclose(mel, top * np.array([0.5, 1.5, 2.5, 3.5, 4.5]) / 5)


def test_a_region_is_in_seconds_and_hz() -> None:
    normal = NormalSound.of(EMBEDDER.embed(noise(np.random.default_rng(1), 60)), VIEWS)
    wave = with_tone(noise(np.random.default_rng(5))[0], 1.0, 1.5, 1000)
    (region,) = regions(EMBEDDER.log_mel(wave[None])[0], normal, HOP_S, EDGES, most=1)
    assert (region.start_s, region.end_s) == (pytest.approx(1.0, abs=0.1), pytest.approx(1.5, abs=0.1))
    assert region.low_hz <= 1000 <= region.high_hz <= region.low_hz + 700
    assert region.z > 5
    (later,) = regions(EMBEDDER.log_mel(wave[None])[0], normal, HOP_S, EDGES, most=1, start_s=60.0)
    assert later.start_s == pytest.approx(region.start_s + 60)


def test_the_whole_clip_is_named_from_start_to_end() -> None:
    normal = NormalSound(np.zeros((1, 40)), np.eye(40), np.ones(40), np.ones(40))
    (region,) = regions(np.full((126, 40), -9.0), normal, HOP_S, EDGES, most=1)
    assert (region.start_s, region.end_s) == (0, pytest.approx(4.0))
    assert (region.low_hz, region.high_hz) == (EDGES[0], EDGES[-1])
    assert region.excess_db == pytest.approx(-9)
    assert region.z < -3

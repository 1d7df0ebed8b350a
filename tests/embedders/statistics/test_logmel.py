"""Log-mel statistics: values by hand, numpy as reference, and the meaning of the views."""

import numpy as np
import pytest
import torch

from embedders import create
from embedders.statistics.emphasis import gem, rdp
from embedders.statistics.logmel import STATISTICS, LogMel, statistics


def test_statistics_by_hand():
    """Frames 4, 1, 3, 2 dB of one mel."""
    S = torch.tensor([4.0, 1.0, 3.0, 2.0])[None, :, None]
    expected = {
        "mean": 2.5,
        "std": np.sqrt(1.25),
        "delta": (3 + 2 + 1) / 3,
        "min": 1.0,
        "p05": 1.15,
        "p10": 1.3,
        "p25": 1.75,
        "median": 2.5,
        "p75": 3.25,
        "p90": 3.7,
        "max": 4.0,
    }
    assert set(expected) == set(STATISTICS)
    np.testing.assert_allclose(statistics(S, tuple(expected))[0, :, 0], list(expected.values()), rtol=1e-6)


def test_the_default_views_are_all_statistics():
    assert ";".join(LogMel().views) == "mean;std;delta;min;p05;p10;p25;median;p75;p90;max"


def test_statistics_equal_numpy():
    S = np.random.default_rng(0).normal(size=(2, 57, 9)).astype(np.float32)
    values = statistics(torch.from_numpy(S), ("std", "p90", "mean", "p05"))
    expected = [S.std(1), np.quantile(S, 0.9, axis=1), S.mean(1), np.quantile(S, 0.05, axis=1)]
    np.testing.assert_allclose(values, np.stack(expected, axis=1), atol=1e-6)


@pytest.mark.parametrize("name", STATISTICS)
def test_one_frame_is_finite(name):
    S = torch.tensor([[[-3.0, 5.0]]])
    expected = [[[0.0, 0.0]]] if name in {"std", "delta"} else [[[-3.0, 5.0]]]
    assert statistics(S, (name,)).tolist() == expected


def test_level_shifts_location_and_keeps_spread():
    """Ten times the amplitude adds 20 dB to every location and 0 to every spread."""
    waves = (0.01 * np.random.default_rng(0).normal(size=(1, 48000))).astype(np.float32)
    embedder = LogMel(stats=STATISTICS)
    change = embedder.embed(10 * waves) - embedder.embed(waves)
    spread = np.isin(embedder.views, ["std", "delta"])
    np.testing.assert_allclose(change[0, ~spread], 20.0, atol=1e-3)
    np.testing.assert_allclose(change[0, spread], 0.0, atol=1e-3)


def test_order_of_frames_matters_only_to_delta():
    S = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 40, 8)).astype(np.float32))
    timeless = tuple(name for name in STATISTICS if name != "delta")
    torch.testing.assert_close(statistics(S.flip(1), timeless), statistics(S, timeless), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(statistics(S.flip(1), ("delta",)), statistics(S, ("delta",)), rtol=1e-5, atol=1e-6)
    shuffled = S[:, torch.from_numpy(np.random.default_rng(1).permutation(40))]
    torch.testing.assert_close(statistics(shuffled, timeless), statistics(S, timeless), rtol=1e-5, atol=1e-6)
    assert (statistics(shuffled, ("delta",)) - statistics(S, ("delta",))).abs().max() > 0.01


def test_one_statistic_is_a_plain_vector():
    embedder = LogMel(stats=("mean",), n_mels=32)
    assert (embedder.shape, embedder.views) == ((32,), ())
    assert embedder.embed(np.ones((3, 2048), np.float32)).shape == (3, 32)


@pytest.mark.parametrize("stats", [(), ("mean", "mean"), ("mean", "mode")])
def test_wrong_statistics_are_refused(stats):
    with pytest.raises(ValueError, match="expected distinct names from mean, std"):
        LogMel(stats=stats)


@pytest.mark.parametrize(
    ("name", "message"), [("gem0.5", "stats=gem0.5: expected p of at least 1"), ("rdp-1", "names")]
)
def test_exponents_out_of_range_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        LogMel(stats=("mean", name))


def test_rdp_and_gem_are_further_views(rng):
    """They are computed from the spectrogram that the other views are of, and do not change these."""
    waves = rng.normal(size=(2, 16_000)).astype(np.float32)
    embedder, plain = create("logmel:stats=rdp4;p10;gem2.5"), create("logmel:stats=p10")
    assert embedder.views == ("rdp4", "p10", "gem2.5")
    S = torch.from_numpy(embedder.log_mel(waves))
    expected = torch.stack([rdp(S, 4.0), torch.from_numpy(plain.embed(waves)), gem(S, 2.5)], dim=1)
    np.testing.assert_allclose(embedder.embed(waves), expected, rtol=1e-5)


def test_stores_of_the_default_views_keep_their_fingerprint():
    digest = "bf34013c109b022d630011cec8cbd78fa30cdc84cfd8bd14b8703871bf11ce14"
    assert LogMel().fingerprint == digest


def test_log_mel_is_what_is_pooled(rng):
    embedder, waves = LogMel(), rng.normal(size=(2, 16_000)).astype(np.float32)
    waves.flags.writeable = False
    S = embedder.log_mel(waves)
    assert (S.shape, S.dtype) == ((2, 32, 128), np.float32)
    pooled = dict(zip(embedder.views, embedder.embed(waves).transpose(1, 0, 2), strict=True))
    np.testing.assert_allclose(pooled["mean"], S.mean(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(pooled["max"], S.max(axis=1))

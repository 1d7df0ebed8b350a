"""What other microphones hear of a fault: weaker, by one path per recording, and nothing where they hear nothing."""

import numpy as np
import pytest

from featstore.anomalies.far import FAR_DB, path_to, with_fault
from featstore.audio.near_far.mixes import mixes_of

RATE = 16_000


@pytest.fixture
def columns(rng) -> np.ndarray:
    return (0.05 * rng.normal(size=(4000, 2))).astype(np.float32)


def faulty(columns: np.ndarray, rendered: np.ndarray, mixes: str = "0-1", channels: int = 2, **changed) -> np.ndarray:
    values = {"path": "fan/a.wav", "rate_hz": RATE, "far_db": FAR_DB} | changed
    return with_fault(columns, rendered, mixes_of(mixes), channels, **values)


def with_click(columns: np.ndarray, at: int = 1000, size: float = 0.5) -> np.ndarray:
    rendered = columns[:, 0].copy()
    rendered[at] += np.float32(size)
    return rendered


@pytest.mark.parametrize("far_db", [-15.0, -6.0])
def test_a_click_arrives_as_the_path(columns, far_db):
    rendered = with_click(columns)
    out = faulty(columns, rendered, far_db=far_db)
    np.testing.assert_array_equal(out[:, 0], rendered)
    path = path_to(1, "fan/a.wav", RATE, far_db)
    added = out[:, 1] - columns[:, 1]
    np.testing.assert_allclose(added[1000 : 1000 + len(path)], 0.5 * path, atol=1e-6)
    np.testing.assert_allclose(added[:1000], 0, atol=1e-6)
    assert 10 * np.log10(np.square(added).sum() / 0.25) == pytest.approx(far_db, abs=0.01)
    assert out.dtype == np.float32


def test_a_path_belongs_to_a_recording_and_a_channel():
    first = path_to(1, "fan/a.wav", RATE)
    np.testing.assert_array_equal(path_to(1, "fan/a.wav", RATE), first)
    for other in (path_to(2, "fan/a.wav", RATE), path_to(1, "fan/b.wav", RATE)):
        assert len(other) != len(first) or not np.array_equal(other, first)
    assert np.isfinite(path_to(1, "caf\udce9.wav", 100)).all()


def test_windows_of_a_recording_have_one_path(columns):
    rendered = with_click(columns)
    whole, first, later = (
        faulty(columns, rendered, path=path) for path in ("fan/a.wav", "fan/a.wav#t=0,2", "fan/a.wav#t=2,4")
    )
    np.testing.assert_array_equal(whole, first)
    np.testing.assert_array_equal(first, later)


def test_the_path_is_delayed_and_decays():
    for name in map(str, range(20)):
        path = path_to(1, name, RATE)
        delay = int(np.flatnonzero(path)[0])
        assert 0.001 <= delay / RATE <= 0.0061
        energy = np.square(path[delay:])
        assert energy[: len(energy) // 2].sum() > 0.9 * energy.sum()


def test_an_unplugged_microphone_hears_no_fault_and_a_copy_hears_it_as_the_near_one(columns):
    rendered = with_click(columns)
    silent = faulty(np.stack([columns[:, 0], 0 * columns[:, 0]], axis=1), rendered)
    assert not silent[:, 1].any()
    copy = faulty(np.stack([columns[:, 0], -0.5 * columns[:, 0]], axis=1), rendered)
    np.testing.assert_allclose(copy[:, 1], -0.5 * rendered, atol=1e-6)


def test_a_mean_holds_the_mean_of_what_its_channels_hear(rng):
    columns = (0.05 * rng.normal(size=(4000, 3))).astype(np.float32)
    rendered = with_click(columns)
    out = faulty(columns, rendered, "0,mean,1+2", channels=3)  # columns: 0, the mean of all, the mean of 1 and 2
    heard = [np.zeros(1000), np.zeros(1000), np.zeros(1000)]
    heard[0][0] = 0.5
    for channel in (1, 2):
        path = path_to(channel, "fan/a.wav", RATE)
        heard[channel][: len(path)] = 0.5 * path
    np.testing.assert_allclose((out - columns)[1000:2000, 1], np.mean(heard, axis=0), atol=1e-6)
    np.testing.assert_allclose((out - columns)[1000:2000, 2], np.mean(heard[1:], axis=0), atol=1e-6)


def test_a_loud_fault_is_clipped_as_a_recorder_clips_it(columns):
    out = faulty(columns, with_click(columns, size=100.0), far_db=0.0)
    assert np.abs(out[:, 1]).max() == 1.0


def test_columns_are_not_changed(columns):
    columns.flags.writeable = False
    faulty(columns, with_click(columns))

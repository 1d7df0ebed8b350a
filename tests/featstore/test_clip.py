"""Clip keys as a terminal shows them, and windows of recordings."""

import numpy as np
import pytest

from featstore.clip import Clip, Windows, checked_path, path_tail, recording_of, window_of, window_path, windows_in
from featstore.errors import DataError
from featstore.table import ClipTable


@pytest.mark.parametrize(
    ("key", "tail"),
    [
        ("data/fan/test/00.wav::leak@0dB#1", "fan/test/00.wav::leak@0dB#1"),
        ("fan/test/00.wav", "fan/test/00.wav"),
        ("00.wav", "00.wav"),
        ("", ""),
    ],
)
def test_the_tail_of_a_key_is_its_last_three_parts(key: str, tail: str) -> None:
    assert path_tail(key) == tail


def test_the_tail_of_a_key_names_the_machine() -> None:
    assert path_tail("raw/fan/test/normal/00.wav", "fan") == "fan/test/normal/00.wav"
    assert path_tail("raw/fan/test/00.wav", "fan") == "fan/test/00.wav"
    assert path_tail("6_dB_fan/fan/id_00/normal/00.wav", "fan_6_dB") == "id_00/normal/00.wav"


@pytest.mark.parametrize(
    ("start_s", "end_s", "path"),
    [
        (0, 10, "a/b.wav#t=0,10"),
        (2.5, 12.5, "a/b.wav#t=2.5,12.5"),
        (1 / 3, 4 / 3, "a/b.wav#t=0.333333,1.333333"),
        (100, 43200, "a/b.wav#t=100,43200"),
    ],
)
def test_a_window_is_read_as_it_was_written(start_s: float, end_s: float, path: str) -> None:
    assert window_path("a/b.wav", start_s, end_s) == path
    window = window_of(path)
    assert window is not None
    assert window == pytest.approx((start_s, end_s), abs=1e-6)
    assert recording_of(path) == "a/b.wav"


@pytest.mark.parametrize("path", ["a.wav", "a#t=1.wav", "a.wav#t=1", "a.wav#t=-1,2", "a.wav#t=1,2,", "#t=1,2"])
def test_other_paths_name_whole_recordings(path: str) -> None:
    assert window_of(path) is None
    assert recording_of(path) == path
    assert checked_path(path) == path


def test_a_file_must_not_look_like_a_window() -> None:
    with pytest.raises(DataError, match="names a window"):
        checked_path("a.wav#t=1,2")


def test_a_table_knows_recordings_and_windows() -> None:
    clips = [Clip(path, "fan", "00", "train") for path in ("a.wav", "a.wav#t=0,10", "b.wav#t=5,15")]
    table = ClipTable.from_clips(clips)
    assert table.recordings() == ["a.wav", "a.wav", "b.wav"] == [clip.recording for clip in clips]
    np.testing.assert_array_equal(table.windows(), [[np.nan, np.nan], [0, 10], [5, 15]])
    assert clips[1].window == (0, 10)
    assert clips[0].window is None
    assert ClipTable.from_clips([]).windows().shape == (0, 2)


def test_clips_sort_by_their_place_in_the_recording() -> None:
    paths = ["a.wav", "a.wav#t=2,12", "a.wav#t=10,20", "a.wav#t=100,110", "b.wav"]
    clips = [Clip(path, "fan", "00", "train") for path in paths]
    by_path = sorted(clips, key=lambda clip: clip.path)
    assert by_path != clips
    assert sorted(by_path, key=lambda clip: clip.place) == clips


def test_windows_and_their_text_are_inverse() -> None:
    windows = Windows(10, 2.5)
    assert windows_in(windows.length) == windows
    assert windows.option == "--window 10 --hop 2.5"
    assert windows_in("crop:3") is None
    assert not Windows(1, 0.001).is_valid
    assert not Windows(float("nan"), 1).is_valid

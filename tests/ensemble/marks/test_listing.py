"""The list of marks: windows follow each other as in the recording."""

from pathlib import Path

import numpy as np
import pytest
from window_store import recording, window_store, windows

from ensemble.marks.apply import MarkedStore
from ensemble.marks.file import Mark, append_mark, read_marks
from ensemble.marks.listing import add_mark, rows_of
from featstore.clip import Clip, window_path
from featstore.errors import OptionError, RequestError
from featstore.exchange.embeddings import import_matrix
from featstore.store import FeatureStore
from featstore.table import ClipTable


def test_windows_are_listed_by_time(tmp_path: Path) -> None:
    paths = [window_path("a.wav", start, start + 10) for start in (0, 5, 90, 100)]
    clips = [Clip(path, "fan", "00", "test") for path in paths]
    import_matrix(tmp_path / "s", "e", np.ones((4, 2), dtype=np.float32), ClipTable.from_clips(clips))
    for path in reversed(paths):
        append_mark(tmp_path / "s", Mark(clip=path, mark="fault"))
    store = MarkedStore(FeatureStore.open(tmp_path / "s"), read_marks(tmp_path / "s"))
    assert [row[0] for row in rows_of(store)] == paths


def test_a_part_ends_with_its_recording(tmp_path: Path) -> None:
    store = window_store(tmp_path / "s", [recording("fan/test/a.wav"), recording("fan/test/a.wav2")]).path
    with pytest.raises(RequestError, match=r"'fan/test/a\.wav': the part ends at 121\.5 s, but the recording at 120 s"):
        add_mark(store, Mark(clip="fan/test/a.wav", mark="fault", start_s=100.0, end_s=121.5))
    with pytest.raises(OptionError, match="the latest time is 1,000,000,000 s"):
        append_mark(store, Mark(clip="fan/test/a.wav", mark="fault", start_s=100.0, end_s=1e308))
    assert read_marks(store).items == ()
    assert add_mark(store, Mark(clip="fan/test/a.wav", mark="fault", start_s=100.0, end_s=120.9)).clips == 1


def test_the_end_of_a_recording_of_unknown_length_is_not_checked(tmp_path: Path) -> None:
    clips = [Clip("a.wav", "fan", "00", "test")]
    import_matrix(tmp_path / "s", "e", np.ones((1, 2), dtype=np.float32), ClipTable.from_clips(clips))
    assert add_mark(tmp_path / "s", Mark(clip="a.wav", mark="fault", start_s=0.0, end_s=1e5)).clips == 1


def test_the_end_is_that_of_the_recording_itself(tmp_path: Path) -> None:
    clips = [*windows(recording("fan/test/a.wav"), 2), *windows(recording("fan/test/a.wav2"), 12)]
    store = window_store(tmp_path / "s", clips).path
    with pytest.raises(RequestError, match="ends at 40 s, but the recording at 30 s"):
        add_mark(store, Mark(clip="fan/test/a.wav", mark="fault", start_s=0.0, end_s=40.0))

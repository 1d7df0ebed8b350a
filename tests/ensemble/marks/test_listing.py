"""The list of marks: windows follow each other as in the recording."""

from pathlib import Path

import numpy as np

from ensemble.marks.apply import MarkedStore
from ensemble.marks.file import Mark, append_mark, read_marks
from ensemble.marks.listing import rows_of
from featstore.clip import Clip, window_path
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

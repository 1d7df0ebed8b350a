"""Clips and scores as pandas and Arrow tables."""

import sys

import numpy as np
import pytest
from sample_store import clip

from detectors.metrics.scores import ScoreTable
from featstore.clip import Clip
from featstore.errors import DataError
from featstore.layouts.manifest import read_manifest
from featstore.layouts.tree import Tree
from featstore.table import ClipTable

WINDOW = Clip("b.wav#t=2.5,12.5", "fan", "00", "test", label="anomaly", attributes={"load": "high"})
VARIANT = Clip("a.wav", "pump", "id_02", "train", variant="leak@0dB#1")
CLIPS = ClipTable.from_clips([clip(3), WINDOW, VARIANT])


def test_clips_have_text_times_and_attributes_as_columns():
    pandas = pytest.importorskip("pandas")
    frame = CLIPS.to_pandas()
    assert frame["clip"].tolist() == CLIPS.keys()
    assert frame["path"].tolist() == [clip(3).path, "b.wav", "a.wav"]
    assert frame["section"].tolist() == ["00", "00", "id_02"]
    assert frame["variant"].tolist() == ["", "", "leak@0dB#1"]
    assert frame["start_s"].tolist()[1:2] == [2.5]
    assert frame["end_s"].isna().tolist() == [True, False, True]
    assert frame["attr_speed"].isna().tolist() == [False, True, True]
    assert frame.loc[frame["attr_load"] == "high", "clip"].tolist() == [WINDOW.key]
    assert frame["section"].dtype == pandas.Series(["text"]).dtype == ClipTable.from_clips([]).to_pandas()["clip"].dtype


def test_arrow_and_pandas_tables_have_the_same_cells():
    pytest.importorskip("pandas")
    arrow, frame = CLIPS.to_arrow(), CLIPS.to_pandas()
    assert arrow.column_names == list(frame.columns)
    assert arrow.to_pylist() == frame.astype(object).where(frame.notna(), None).to_dict("records")
    assert arrow["end_s"].to_pylist() == [None, 12.5, None]
    assert str(ClipTable.from_clips([]).to_arrow().schema.field("section").type) == "string"


def test_a_data_frame_of_recordings_is_a_manifest(tmp_path):
    pytest.importorskip("pandas")
    recordings = CLIPS[CLIPS.where(variant="")]
    frame = recordings.to_pandas().drop(columns=["clip", "variant"])
    frame.to_csv(tmp_path / "clips.csv", index=False)
    assert read_manifest(Tree(tmp_path, listed_in=tmp_path / "clips.csv")).clips == list(recordings)


def test_scores_are_joined_to_their_clips_by_key():
    pytest.importorskip("pandas")
    scores = ScoreTable("knn", (WINDOW.key, VARIANT.key), np.array([0.25, 0.5]))
    assert scores.to_pandas().to_dict("list") == {"clip": [WINDOW.key, VARIANT.key], "score": [0.25, 0.5]}
    frame = scores.to_pandas(CLIPS)
    assert frame["machine"].tolist() == ["fan", "pump"]
    assert frame["attr_load"].tolist()[0] == "high"
    assert "label" not in frame
    assert scores.to_pandas(CLIPS, labels=True)["label"].tolist() == ["anomaly", "unknown"]
    assert "label" not in scores.to_arrow(CLIPS).column_names
    with pytest.raises(ValueError, match=r"1 of 2 clips are not in `clips`, first 'b.wav#t=2.5,12.5'"):
        scores.to_pandas(CLIPS[[0, 2]])
    with pytest.raises(ValueError, match="give the clips too"):
        scores.to_arrow(labels=True)


def test_names_that_are_not_utf8_are_escaped():
    pytest.importorskip("pandas")
    odd = ClipTable.from_clips([Clip("x\udcffé.wav", "fan", "00", "train")])
    assert odd.to_pandas()["path"].tolist() == ["x\\xffé.wav"] == odd.to_arrow()["path"].to_pylist()


@pytest.mark.parametrize(("library", "method"), [("pandas", "to_pandas"), ("pyarrow", "to_arrow")])
def test_a_missing_library_names_the_extra(monkeypatch, library, method):
    monkeypatch.setitem(sys.modules, library, None)
    for table in (CLIPS, ScoreTable("knn", ("a",), np.ones(1))):
        with pytest.raises(DataError, match=rf"needs {library}; pip install 'featstore\[tables\]'"):
            getattr(table, method)()


def test_a_table_is_shown_in_few_words():
    assert repr(CLIPS) == (
        "<ClipTable: 3 clips (fan/train/section_00_0003.wav, b.wav#t=2.5,12.5, a.wav::leak@0dB#1), "
        "2 machines (fan, pump), 2 sections (00, id_02), 2 splits (test, train)>"
    )
    hostile = [Clip(f"{'x' * 500}{i}\x1b[2J", f"m\n{i}", f"{i:02d}", "train") for i in range(5000)]
    assert len(shown := repr(ClipTable.from_clips(hostile))) < 500
    assert shown.isprintable()
    scores = ScoreTable("knn", tuple(one.key for one in hostile), np.arange(5000), ("lost.wav",))
    assert repr(scores).endswith(" ...), scores 0 to 4999, 1 without a score>")
    assert len(repr(scores)) < 500
    assert repr(ScoreTable("knn", (), np.zeros(0))) == "<ScoreTable 'knn': 0 clips>"

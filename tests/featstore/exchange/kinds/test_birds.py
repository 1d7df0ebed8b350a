"""Files of BirdNET-Analyzer and databases of Hoplite."""

import json
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from featstore.clip import Clip
from featstore.errors import DataError
from featstore.exchange.kinds import hoplite

pytestmark = pytest.mark.usefixtures("unsynced")
X = np.array([[0.5, -1.25, 3.0], [2.0, 0.125, 1.5]], dtype=np.float32)
LINES = "0.0\t3.0\t0.5,-1.25,3.0\n3.0\t6.0\t2.0,0.125,1.5\n"


def test_a_text_file_per_recording(tmp_path, importing):
    folder = tmp_path / "out" / "fan"
    folder.mkdir(parents=True)
    (folder / "a.birdnet.embeddings.txt").write_text(LINES)
    (folder / "b.c.birdnet.embeddings.txt").write_text("0\t3\t1,2,3\n")
    (folder / "a.flac").touch()
    store = importing(tmp_path / "out")
    assert list(store.clips("e")) == [
        Clip("fan/a.flac#t=0,3", "fan", "00", "train"),
        Clip("fan/a.flac#t=3,6", "fan", "00", "train"),
        Clip("fan/b.c#t=0,3", "fan", "00", "train"),
    ]
    np.testing.assert_array_equal(store.matrix("e"), [*X, [1, 2, 3]])


def test_recordings_are_found_below_the_root(tmp_path, importing):
    (tmp_path / "out" / "fan").mkdir(parents=True)
    (tmp_path / "data" / "fan").mkdir(parents=True)
    (tmp_path / "out" / "fan" / "a.birdnet.embeddings.txt").write_text(LINES)
    (tmp_path / "data" / "fan" / "a.wav").touch()
    store = importing(tmp_path / "out", root=tmp_path / "data")
    assert store.clips("e").keys() == ["fan/a.wav#t=0,3", "fan/a.wav#t=3,6"]


def test_a_text_file_per_window(tmp_path, importing):
    (tmp_path / "fan_1_0.0_3.0.birdnet.embeddings.txt").write_text("0.5,-1.25,3.0")
    (tmp_path / "fan_1_3.0_6.0.birdnet.embeddings.txt").write_text("2.0,0.125,1.5")
    (tmp_path / "fan_1.wav").touch()
    store = importing(tmp_path)
    assert store.clips("e").keys() == ["fan_1.wav#t=0,3", "fan_1.wav#t=3,6"]
    np.testing.assert_array_equal(store.matrix("e"), X)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("0.0,3.0,1,2\n", r"line 1: expected start<TAB>end<TAB>number,number,\.\.\."),
        ("0\t3\t1,2\n3\t6\t1,x\n", "line 2: could not convert string to float: 'x'"),
        ("0\t3\t1,2\n3\t6\t1\n", "vectors of different lengths, 1 and 2"),
        ("3\t3\t1,2\n", "the window ends at 3 s and starts at 3 s"),
        ("0\t3\t1,inf\n", "not finite"),
        ("-1\t3\t1,2\n", "line 1: expected start"),
    ],
)
def test_other_lines_are_named(tmp_path, importing, text, message):
    (tmp_path / "a.birdnet.embeddings.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        importing(tmp_path / "a.birdnet.embeddings.txt")


def test_other_text_files_are_refused(tmp_path, importing):
    (tmp_path / "a.txt").write_text(LINES)
    with pytest.raises(DataError, match=r"of text files only \*\.birdnet\.embeddings\.txt are read"):
        importing(tmp_path / "a.txt")


MODEL = {"model_key": "m", "embedding_dim": 3, "model_config": {"window_size_s": 5.0, "sample_rate": 32000}}
TABLES = (
    "CREATE TABLE hoplite_sources (id INTEGER PRIMARY KEY AUTOINCREMENT, dataset STRING NOT NULL, "
    "source STRING NOT NULL);"
    "CREATE TABLE hoplite_embeddings (id INTEGER PRIMARY KEY AUTOINCREMENT, embedding BLOB NOT NULL, "
    "source_idx INTEGER NOT NULL, offsets BLOB NOT NULL);"
    "CREATE TABLE hoplite_metadata (key STRING PRIMARY KEY, data STRING NOT NULL);"
)


def database(path, dtype="<f2", offsets=((0.0, 5.0), (5.0, 10.0)), model=MODEL, more=""):
    """A database as Hoplite writes one that keeps its vectors in the table."""
    with closing(sqlite3.connect(path)) as db:
        db.executescript(TABLES)
        db.executemany("INSERT INTO hoplite_sources (dataset, source) VALUES (?, ?)", [("d", "fan/a.wav"), ("d", "12")])
        for number, (vector, times) in enumerate(zip(X, offsets, strict=True)):
            blobs = [np.asarray(values, dtype=dtype).tobytes() for values in (vector, times)]
            row = (blobs[0], number % 2 + 1, blobs[1])
            db.execute("INSERT INTO hoplite_embeddings (embedding, source_idx, offsets) VALUES (?, ?, ?)", row)
        if model is not None:
            db.execute("INSERT INTO hoplite_metadata VALUES ('model_config', ?)", [json.dumps(model)])
        db.executescript(more)
        db.commit()
    return path


@pytest.mark.parametrize("dtype", ["<f2", "<f4"])
@pytest.mark.parametrize("offsets", [((0.0, 5.0), (5.0, 10.0)), ((0.0,), (5.0,))], ids=["both", "start"])
def test_a_database_with_its_vectors(tmp_path, importing, dtype, offsets):
    store = importing(database(tmp_path / "x.sqlite", dtype, offsets))
    assert list(store.clips("e")) == [
        Clip("fan/a.wav#t=0,5", "fan", "00", "train", attributes={"dataset": "d"}),
        Clip("12#t=5,10", tmp_path.name, "00", "train", attributes={"dataset": "d"}),
    ]
    np.testing.assert_array_equal(store.matrix("e"), X)
    assert store.info("e").dtype == np.dtype(dtype).name


def test_a_folder_with_a_database(tmp_path, importing):
    database(tmp_path / "hoplite.sqlite")
    assert importing(tmp_path).rows("e") == 2


def test_a_database_is_not_changed(tmp_path, importing):
    path = database(tmp_path / "x.sqlite", more="PRAGMA journal_mode=WAL;")
    before, names = path.read_bytes(), set(tmp_path.iterdir())
    path.chmod(0o400)
    importing(path)
    assert path.read_bytes() == before
    assert {entry for entry in tmp_path.iterdir() if entry.name != "store"} == names


def test_a_type_that_is_not_stated_is_asked_for(tmp_path, importing):
    path = database(tmp_path / "x.sqlite", "<f4", model=None)
    with pytest.raises(DataError, match=r"vectors of 12 bytes, .* states no numbers; name their type: --key float16"):
        importing(path)
    with pytest.raises(DataError, match="--key of a Hoplite database is float16 or float32, got 'f8'"):
        importing(path, key="f8")
    np.testing.assert_array_equal(importing(path, key="float32").matrix("e"), X)


EVIL_VIEW = (
    "DROP TABLE hoplite_sources; CREATE VIEW hoplite_sources AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL "
    "SELECT n + 1 FROM c) SELECT n AS id, 'd' AS dataset, 'a' AS source FROM c;"
)
GENERATED = (
    "DROP TABLE hoplite_sources; CREATE TABLE hoplite_sources (id INTEGER PRIMARY KEY, dataset TEXT, "
    "source TEXT GENERATED ALWAYS AS (hex(zeroblob(1000000))));"
)
VERSION_1 = "CREATE TABLE windows (id INTEGER); CREATE TABLE recordings (id INTEGER);"
INDEX = "DROP TABLE hoplite_embeddings; CREATE TABLE hoplite_embeddings (id INTEGER, source_idx INTEGER, offsets BLOB);"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"more": EVIL_VIEW}, r"no table hoplite_sources: expected hoplite_sources \(dataset, id, source\) and"),
        ({"more": GENERATED}, "hoplite_sources has the columns id, dataset, source: expected .*, none generated"),
        ({"more": VERSION_1}, r"a Hoplite database of version 1 or later: its vectors are in usearch\.index"),
        ({"more": INDEX}, r"hoplite_embeddings has no column embedding: its vectors are in .*--file_output"),
        ({"more": "DROP TABLE hoplite_embeddings;"}, "no table hoplite_embeddings: expected"),
        ({"more": "DELETE FROM hoplite_embeddings;"}, "hoplite_embeddings is empty"),
        ({"more": "DELETE FROM hoplite_sources WHERE id = 2;"}, "names the source 2, which hoplite_sources lacks"),
        ({"more": "UPDATE hoplite_embeddings SET embedding = x'00' WHERE id = 2;"}, "embeddings of different sizes"),
        ({"more": "UPDATE hoplite_embeddings SET embedding = 7 WHERE id = 2;"}, "embeddings of different sizes"),
        ({"more": "UPDATE hoplite_embeddings SET offsets = 7;"}, "expected one or two offsets in seconds, got"),
        ({"more": "UPDATE hoplite_embeddings SET embedding = zeroblob(5000000);"}, "too big|no SQLite database"),
        ({"offsets": ((5.0, 5.0), (0, 1))}, "the window ends at 5 s and starts at 5 s"),
        ({"offsets": ((np.nan, 5.0), (0, 1))}, "expected one or two offsets"),
        ({"offsets": ((0,), (5,)), "model": {**MODEL, "model_config": {}}}, "does not state their length"),
        ({"model": {**MODEL, "embedding_dim": 4}}, "vectors of 6 bytes, .* states 4 numbers"),
        ({"more": "UPDATE hoplite_metadata SET data = '[[';"}, "states no numbers"),
        ({"more": "UPDATE hoplite_sources SET source = '../a.wav';"}, "contains"),
        ({"more": "UPDATE hoplite_sources SET source = 'b.wav'; UPDATE hoplite_embeddings SET offsets = (SELECT "
                  "offsets FROM hoplite_embeddings WHERE id = 1);"}, r"'b.wav#t=0,5' stands in 2 rows"),
    ],
    ids=range(18),
)  # fmt: skip
def test_databases_that_do_not_fit_say_what_was_expected(tmp_path, importing, change, message):
    path = database(tmp_path / "x.sqlite", **change)
    with pytest.raises(DataError, match=message):
        importing(path)


def test_changes_in_a_log_are_not_left_out(tmp_path, importing):
    path = database(tmp_path / "x.sqlite")
    (tmp_path / "x.sqlite-wal").write_bytes(b"x")
    with pytest.raises(DataError, match=r"x\.sqlite-wal holds changes that are not in x\.sqlite yet"):
        importing(path)


@pytest.mark.parametrize("content", [b"", b"text", b"SQLite format 3\0" + b"\xff" * 4000])
def test_files_that_are_no_database(tmp_path, importing, content):
    (tmp_path / "x.db").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.db: (no SQLite database|no table)"):
        importing(tmp_path / "x.db")


def test_a_damaged_database_is_an_error_and_ends(tmp_path, importing, monkeypatch):
    path = database(tmp_path / "x.sqlite")
    monkeypatch.setattr(hoplite, "STEPS", 100)
    whole = path.read_bytes()
    failed = 0
    for at in range(0, len(whole), 1499):
        path.write_bytes(whole[:at] + b"\xff" * 4 + whole[at + 4 :])
        try:
            importing(path)
        except DataError:
            failed += 1
        except Exception as error:
            if "already has other rows" not in str(error):
                raise
    assert failed

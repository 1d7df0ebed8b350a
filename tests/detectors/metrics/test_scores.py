import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.metrics.scores import ScoreTable, read_scores, write_scores
from featstore.errors import DataError


def table(**scores):
    return ScoreTable("knn", tuple(scores), np.array(list(scores.values())))


def test_scores_are_found_by_key():
    scores = table(a=1.0, b=2.0, c=3.0)
    np.testing.assert_array_equal(scores.aligned(["c", "a"]), [3, 1])
    np.testing.assert_array_equal(scores.exactly(["c", "b", "a"]), [3, 2, 1])
    assert len(scores) == 3
    assert scores.aligned([]).shape == (0,)


def test_missing_surplus_and_repeated_keys_are_named():
    scores = table(a=1.0, b=2.0)
    with pytest.raises(ValueError, match=r"knn: no score for 'x' \(2 of 3 clips have none\)"):
        scores.aligned(["a", "x", "y"])
    with pytest.raises(ValueError, match="1 scores belong to no expected clip, first 'b'"):
        scores.exactly(["a"])
    with pytest.raises(ValueError, match="clip 'a' is expected twice"):
        scores.exactly(["a", "b", "a"])


@pytest.mark.parametrize(
    ("keys", "scores", "message"),
    [
        (("a", "b"), [1.0], r"2 keys need as many scores, got shape \(1,\)"),
        (("a", "b", "b"), [1.0, 2.0, 3.0], "two scores for 'b'"),
        (("a", "b"), [1.0, np.nan], "the score of 'b' is nan"),
        (("a", "b"), [-np.inf, 1.0], "the score of 'a' is -inf"),
    ],
)
def test_bad_tables_are_refused(keys, scores, message):
    with pytest.raises(ValueError, match=message):
        ScoreTable("knn", keys, np.array(scores))


def test_a_table_is_its_own_copy():
    given_scores = np.array([1.0, 2.0])
    scores = ScoreTable("knn", ("a", "b"), given_scores)
    given_scores[0] = 9
    assert scores.aligned(["a"]) == 1
    with pytest.raises(ValueError, match="read-only"):
        scores.scores[0] = 9


finite = st.floats(allow_nan=False, allow_infinity=False)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r\n"), min_size=1)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(names, finite, min_size=1, max_size=8), st.booleans())
def test_what_goes_in_comes_out(tmp_path_factory, scores, header):
    if not header and next(iter(scores)).startswith("\ufeff"):
        return  # the byte-order mark that spreadsheets put first is dropped
    path = tmp_path_factory.mktemp("scores") / "s.csv"
    write_scores(path, ScoreTable("s", tuple(scores), np.array(list(scores.values()))), header=header)
    back = read_scores(path, count=len(scores))
    assert back.keys == tuple(scores)
    np.testing.assert_array_equal(back.scores, list(scores.values()))


@pytest.mark.parametrize("name", ["", "a\nb.wav", "a\rb.wav"])
def test_names_that_break_lines_are_refused(tmp_path, name):
    with pytest.raises(DataError, match="cannot stand on a line"):
        write_scores(tmp_path / "s.csv", table(**{name: 1.0}))


def test_files_are_plain(tmp_path):
    write_scores(tmp_path / "official.csv", table(**{"a.wav": 0.1, "b.wav": -1e-300}), header=False)
    assert (tmp_path / "official.csv").read_bytes() == b"a.wav,0.1\nb.wav,-1e-300\n"
    write_scores(tmp_path / "ours.csv", table(**{"a.wav": 2.0}))
    assert (tmp_path / "ours.csv").read_bytes() == b"clip,score\na.wav,2.0\n"


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    write_scores(tmp_path / "s.csv", table(**{"a.wav": 1.0}))

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_scores(tmp_path / "s.csv", table(**{"a.wav": 2.0}))
    assert read_scores(tmp_path / "s.csv").scores.tolist() == [1.0]
    assert [path.name for path in tmp_path.iterdir()] == ["s.csv"]


def test_any_table_with_the_two_columns_is_read(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_bytes(b"machine,score,clip\r\nfan,0.5,x.wav\r\n\r\nfan,0.25,y.wav\r\n")
    scores = read_scores(path)
    assert (scores.name, scores.keys) == ("scores", ("x.wav", "y.wav"))
    np.testing.assert_array_equal(scores.scores, [0.5, 0.25])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("text", ["Clip;Score\na ü.wav;0.5\n;\n", "path,score\na ü.wav,0.5\n", "a ü.wav\t0.5\n"])
def test_tables_as_programs_write_them_are_read(tmp_path, text, encoding):
    (tmp_path / "s.csv").write_bytes(text.encode(encoding))
    scores = read_scores(tmp_path / "s.csv")
    assert (scores.keys, scores.scores.tolist()) == (("a ü.wav",), [0.5])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,1\nb,x\n", "line 2: 'x' is not a number"),
        ("a,1\nb,nan\n", "line 2: the score is nan"),
        ("a,1e999\n", "line 1: the score is 1e999"),
        ("a,1\nb,2\na,3\n", "line 3: 'a' already has a score on line 1"),
        ("a,1\nb\n", "line 2: expected 2 columns, found 1"),
        ("a,1\n,2\n", "line 2: the clip has no name"),
        ("", "the file is empty"),
        ("clip,scor\na,1\n", "line 1: no columns clip and score, or clip and number; found clip, scor$"),
        ("clip\na\n", "line 1: no columns clip and score, or clip and number; found clip$"),
        ("clip,score\n", "no scores in the file"),
        ("a,1\nb,2\n", "expected 3 scores, found 2"),
        ('a,1\n"b,2\n', "not a CSV file"),
    ],
)
def test_bad_files_name_file_and_line(tmp_path, text, message):
    path = tmp_path / "anomaly_score.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"anomaly_score\.csv.*{message}"):
        read_scores(path, count=3)


def test_a_missing_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: No such file"):
        read_scores(tmp_path / "none.csv")

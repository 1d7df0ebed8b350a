"""Marks to other programs and back: nothing changes on the way, twice is once, and a bad line stops everything."""

import csv
import io
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from window_store import recording, window_store, windows

from ensemble.marks import file as file_module
from ensemble.marks.exchange import MAX_MARKS, NAMED, Imported, Source, import_marks, label_files, sources, write_labels
from ensemble.marks.file import FILE, Mark, append_mark, read_marks
from ensemble.marks.listing import add_mark, csv_bytes, opened
from ensemble.selection.faults import read_faults
from featstore.clip import Clip, window_path
from featstore.errors import AsdError, DataError
from featstore.exchange.embeddings import import_matrix
from featstore.store import FeatureStore
from featstore.table import ClipTable

WHOLE, FORMULA, ODD = "fan/test/a.wav", "=cmd|' /C calc'!A0.wav", os.fsdecode(b"fan/test/\xff.wav")
LONG = "fan/test/long.wav"
WINDOWS = [window_path(LONG, start, start + 10) for start in (0, 10, 20, 30)]
PATHS = [WHOLE, "fan/train/a.wav", FORMULA, ODD, 'fan/test/b,"c".wav', *WINDOWS]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    clips = [Clip(path, "fan", "00", "train" if "train" in path else "test") for path in PATHS]
    import_matrix(tmp_path / "s", "e", np.ones((len(clips), 2), dtype=np.float32), ClipTable.from_clips(clips))
    return tmp_path / "s"


def copied(store: Path, tmp_path: Path, name: str) -> Path:
    """The store without its marks."""
    return Path(shutil.copytree(store, tmp_path / name, ignore=shutil.ignore_patterns(FILE)))


def marks_of(store: Path) -> dict[str, tuple[str, str, float | None, float | None]]:
    return {key: (mark.mark, mark.note, mark.start_s, mark.end_s) for key, mark in opened(store).marked.items()}


def labels(text: str, name: str = "fan/test/a.wav.txt", clip: str = "") -> Source:
    return Source(name, text.encode(), clip)


def table(*rows: Sequence[object], header: str = "clip,label") -> Source:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return Source("m.csv", f"{header}\n{text.getvalue()}".encode("utf-8", "surrogateescape"))


def many(store: Path) -> None:
    for key, mark, note, part in (
        (WHOLE, "fault", "=1+1", (2.0, 3.0)),
        (FORMULA, "normal", "'quoted", (None, None)),
        (ODD, "ignore", "two\nlines", (None, None)),
        (LONG, "fault", "all", (None, None)),
        (WINDOWS[1], "normal", "", (None, None)),
        ('fan/test/b,"c".wav', "fault", "@x", (None, None)),
    ):
        add_mark(store, Mark(clip=key, mark=mark, note=note, start_s=part[0], end_s=part[1], who="-anna"))


def test_csv_and_back(store: Path, tmp_path: Path) -> None:
    many(store)
    data = csv_bytes(opened(store))
    other = copied(store, tmp_path, "other")
    assert import_marks(other, [Source("m.csv", data)]) == Imported(len(marks_of(store)), 0)
    assert csv_bytes(opened(other)) == data
    for key, mark in opened(store).marked.items():
        own = opened(other).marked[key]
        assert (own.mark, own.note, own.who, own.when) == (mark.mark, mark.note, mark.who, mark.when)
    assert marks_of(other)[WHOLE] == ("fault", "=1+1", 2.0, 3.0)
    for path in (store, other):
        before = (path / FILE).read_bytes()
        assert import_marks(path, [Source("m.csv", data)]) == Imported(0, len(marks_of(store)))
        assert (path / FILE).read_bytes() == before


def test_a_spreadsheet_gets_no_formula_and_other_commands_find_the_clips(store: Path, tmp_path: Path) -> None:
    many(store)
    data = csv_bytes(opened(store))
    cells = [cell for row in csv.reader(io.StringIO(data.decode("utf-8", "surrogateescape"))) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    (tmp_path / "m.csv").write_bytes(data)
    faults = read_faults(tmp_path / "m.csv", FeatureStore.open(store))
    assert faults[FORMULA] is False
    assert faults[WHOLE] is True


def test_labels_and_back(store: Path, tmp_path: Path) -> None:
    many(store)
    files = label_files(opened(store))
    assert files["fan/test/a.wav.txt"] == b"2.000000\t3.000000\tfault: =1+1\n"
    lines = files["fan/test/long.wav.txt"].decode().splitlines()
    assert lines == [
        "0.000000\t10.000000\tfault: all",
        "10.000000\t20.000000\tnormal",
        "20.000000\t30.000000\tfault: all",
        "30.000000\t40.000000\tfault: all",
    ]
    other = copied(store, tmp_path, "other")
    assert write_labels(opened(store), tmp_path / "labels") == len(files) == 5
    read = sources([tmp_path / "labels"])
    written = import_marks(other, read, "bert").written
    assert {key: mark[0] for key, mark in marks_of(other).items()} == {k: m[0] for k, m in marks_of(store).items()}
    assert opened(other).marked[WHOLE].who == "bert"
    for path in (store, other):
        assert import_marks(path, read) == Imported(0, written)


def test_a_mark_of_all_windows_is_one_label(store: Path) -> None:
    add_mark(store, Mark(clip=LONG, mark="fault"))
    assert label_files(opened(store)) == {"fan/test/long.wav.txt": b"0.000000\t40.000000\tfault\n"}
    add_mark(store, Mark(clip=LONG, mark="normal", start_s=10.0, end_s=29.0))
    text = label_files(opened(store))["fan/test/long.wav.txt"].decode()
    assert "10.000000\t29.000000\tnormal\n" in text
    assert text.count("fault") == 2


@pytest.mark.parametrize(
    ("name", "clip"),
    [("a.wav.txt", "fan/test/a.wav"), ("x/fan/test/a.wav.TXT", ""), ("fan/test/a.txt", ""), ("long.txt", WHOLE)],
)
def test_a_label_file_is_of_the_recording_that_its_name_or_the_user_says(store: Path, name: str, clip: str) -> None:
    import_marks(store, [labels("0\t0\tfault\n", name, clip)])
    assert list(marks_of(store)) == [WHOLE]


def test_a_name_that_several_recordings_have_names_them(store: Path) -> None:
    with pytest.raises(DataError, match=r"fits 2 recordings: 'fan/test/a.wav', 'fan/train/a.wav'"):
        import_marks(store, [labels("0\t0\tfault\n", "a.txt")])
    with pytest.raises(DataError, match=r"'none.wav' is no recording of"):
        import_marks(store, [labels("0\t0\tfault\n", "a.txt", "none.wav")])


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("2\t3\tanomaly: a knock, a second\n", ("fault", "a knock, a second", 2.0, 3.0)),
        ("2,5\t3,25\tFAULT\n", ("fault", "", 2.5, 3.25)),
        ("\ufeff2\t3\tfault\r\n\\\t100.0\t2000.0\r\n\n", ("fault", "", 2.0, 3.0)),
        ("4\t4\tbroken\n", ("fault", "", None, None)),
        ("0\t0\tfalse alarm\n", ("normal", "", None, None)),
    ],
)
def test_labels_are_read_as_audacity_writes_them(store: Path, text: str, mark: tuple[object, ...]) -> None:
    import_marks(store, [labels(text)])
    assert marks_of(store) == {WHOLE: mark}
    other = Source("fan/test/a.wav.txt", text.removeprefix("\ufeff").encode("utf-16"))
    assert import_marks(store, [other]).written == 0


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("0\t40\tnormal\n", WINDOWS),
        ("11\t29\tnormal\n", WINDOWS[1:3]),
        ("12\t13\tfault\n", WINDOWS[1:2]),
        ("25\t25\tfault\n", WINDOWS[2:3]),
        ("0\t0\tignore\n", WINDOWS),
    ],
)
def test_labels_mark_the_windows_that_they_lie_in(store: Path, text: str, marked: list[str]) -> None:
    source = labels(text, "long.txt")
    import_marks(store, [source])
    assert list(marks_of(store)) == marked
    assert import_marks(store, [source]).written == 0


@pytest.mark.parametrize(("text", "part"), [("0\t119.95\t", (None, None)), ("0\t119.8\t", (0.0, 119.8))])
def test_a_label_of_all_of_a_recording_has_no_times(tmp_path: Path, text: str, part: tuple[float | None, ...]) -> None:
    store = window_store(tmp_path / "s", [recording("fan/test/a.wav"), *windows(recording("fan/test/b.wav"), 12)]).path
    import_marks(store, [labels(f"{text}fault\n", f"{name}.txt") for name in ("a", "b")])
    assert [(mark.start_s, mark.end_s) for mark in read_marks(store).items] == [part, part]
    if part == (None, None):
        import_marks(store, [labels("0\t120\tnormal\n", "a.txt")])
        assert label_files(opened(store))["fan/test/a.wav.txt"] == b"0.000000\t120.000000\tnormal\n"


BAD_LABELS = [
    ("0\t1\thumming\n", "line 1: the label 'humming'; expected normal, fault, ignore, none"),
    ("0\t1\n", "line 1: expected start, end and text with tabs"),
    ("x\t1\tfault\n", "line 1: expected start, end and text with tabs"),
    ("-1\t1\tfault\n", "line 1: expected start, end"),
    ("nan\t1\tfault\n", "line 1: expected start, end"),
    ("1_0\t11\tfault\n", "line 1: expected start, end"),
    ("\n3\t2\tfault\n", "line 2: it ends at 2 s, before its start at 3 s"),
    ("1\t2\tnormal\n", "line 1: a recording that is stored as a whole can be normal only as a whole"),
    ("1\t2\tfault\n1\t2\tnone\n", "is none, but fault in"),
    ("0\t1\tfault: " + "x" * 5000 + "\n", "the limit is 4,000"),
    ("\0\0", "null bytes"),
]


@pytest.mark.parametrize(("text", "words"), BAD_LABELS)
def test_a_bad_label_writes_nothing(store: Path, text: str, words: str) -> None:
    good = labels("0\t0\tfault\n", "fan/train/a.txt")
    with pytest.raises(DataError) as error:
        import_marks(store, [good, labels(text)])
    assert words in str(error.value)
    assert str(error.value).startswith("nothing was imported:\nfan/test/a.wav.txt")
    assert not (store / FILE).exists()


def test_a_short_label_that_is_no_fault_marks_no_window(store: Path) -> None:
    with pytest.raises(DataError, match="no window lies at least half in 12 s to 13 s; only a fault may be shorter"):
        import_marks(store, [labels("12\t13\tnormal\n", "long.txt")])
    with pytest.raises(DataError, match="no window"):
        import_marks(store, [labels("90\t91\tfault\n", "long.txt")])


BAD_ROWS = [
    ((["none.wav", "fault"],), "clip,label", "line 2: 'none.wav' is no recording of"),
    (([WHOLE, "fault"], [WHOLE, "humming"]), "clip,label", "line 3: the label 'humming'"),
    (([WHOLE, "fault", "1"],), "clip,label,start_s", "line 2: a part of a recording needs both"),
    (([WHOLE, "fault", "2", "1"],), "clip,label,start_s,end_s", "line 2: the part from 2 s to 1 s is empty"),
    (([WHOLE, "fault", "inf", "1"],), "clip,label,start_s,end_s", "line 2: start_s 'inf' is no time"),
    (([WHOLE, "normal", "0", "1"],), "clip,label,start_s,end_s", "no clip of the store lies at least half"),
    (([WINDOWS[0], "fault", "0", "5"],), "clip,label,start_s,end_s", "is a window from 0 s to 10 s"),
    (([WHOLE, "fault", "yesterday"],), "clip,label,when", "when 'yesterday'; expected a time as"),
    (([WHOLE, "fault", "2026-05-03T10:00:00"],), "clip,label,when", "expected a time as"),
    (([WHOLE],), "clip,label", "line 2: expected 2 columns, got 1"),
    (
        ([WHOLE, "fault"], [WHOLE, "normal"]),
        "clip,label",
        "line 3: fan/test/a.wav is normal, but fault in m.csv, line 2",
    ),
    (([WHOLE, "fault"],), "file,label", "the first line lacks the column 'clip'"),
]


@pytest.mark.parametrize(("rows", "header", "words"), BAD_ROWS)
def test_a_bad_row_writes_nothing(store: Path, rows: tuple[list[str], ...], header: str, words: str) -> None:
    with pytest.raises(DataError) as error:
        import_marks(store, [table(*rows, header=header)])
    assert words in str(error.value)
    assert not (store / FILE).exists()


def test_rows_of_other_programs(store: Path) -> None:
    text = f"clip;label;start_s;end_s;extra\n{WHOLE};False Alarm;;;x\na,b;;;\n".replace("a,b;;;\n", "")
    import_marks(store, [Source("m.csv", b"\xef\xbb\xbf" + text.encode())])
    assert marks_of(store) == {WHOLE: ("normal", "", None, None)}
    german = f"clip;label;start_s;end_s\n{WHOLE};fault;1,5;2,5\n".encode("utf-16")
    import_marks(store, [Source("m.csv", german)])
    assert marks_of(store)[WHOLE] == ("fault", "", 1.5, 2.5)


def test_what_is_taken_back_can_be_imported_again_and_what_is_newer_stays(store: Path) -> None:
    source = table([WHOLE, "fault"], ["fan/train/a.wav", "fault"])
    assert import_marks(store, [source]).written == 2
    append_mark(store, Mark(clip=WHOLE, mark="none"))
    append_mark(store, Mark(clip="fan/train/a.wav", mark="normal"))
    assert import_marks(store, [source]) == Imported(1, 1)
    assert {key: mark[0] for key, mark in marks_of(store).items()} == {WHOLE: "fault", "fan/train/a.wav": "normal"}
    assert import_marks(store, [table([WHOLE, "none"])]).written == 1
    assert import_marks(store, [table([WHOLE, "none"])]).written == 0


def test_sizes_are_bounded(store: Path) -> None:
    rows = b"clip,label\n" + b"none.wav,fault\n" * 1000
    with pytest.raises(DataError, match=f"and {1000 - NAMED:,} more lines"):
        import_marks(store, [Source("m.csv", rows)])
    for name in ("m.csv", "a.txt"):
        with pytest.raises(DataError, match="more than 100,000 lines"):
            import_marks(store, [Source(name, b"a,b\n" * 1_000_000)])
    with pytest.raises(DataError, match=f"more than {MAX_MARKS:,} marks"):
        import_marks(store, [Source(f"{i}.csv", b"clip,label\n" + b"x,fault\n" * (MAX_MARKS // 2)) for i in range(3)])
    with pytest.raises(DataError, match="more than 16,777,216 bytes"):
        import_marks(store, [Source("m.csv", b"x" * ((1 << 24) + 1))])
    with pytest.raises(DataError, match=r"expected a .csv file, label files"):
        import_marks(store, [Source("a.exe", b"MZ")])
    with pytest.raises(DataError, match="not a CSV file: field larger"):
        import_marks(store, [Source("m.csv", b'clip,label\n"' + b"x" * 200_000)])
    for encoding in ("utf-8", "utf-16"):
        with pytest.raises(DataError, match="null bytes"):
            import_marks(store, [Source("m.csv", f"clip,label,note\n{WHOLE},fault,a\0b\n".encode(encoding))])
    with pytest.raises(DataError, match="more than 100,000 lines"):
        import_marks(store, [Source("m.csv", b"clip,label\r" + b"none.wav,fault\r" * 100_001)])


def test_many_marks_are_one_write(store: Path) -> None:
    rows = [[WHOLE, "fault", str(i), str(i + 1)] for i in range(3000)]
    assert import_marks(store, [table(*rows, header="clip,label,start_s,end_s")]).written == 3000
    marks = read_marks(store).items
    assert [mark.start_s for mark in marks] == list(range(3000))
    assert [mark.line for mark in marks] == list(range(1, 3001))


@pytest.mark.parametrize("text", ["100\t122\tfault\n", "0\t122\tfault\n", "0\t1e308\tfault\n", "122\t122\tfault\n"])
def test_a_label_after_the_end_of_its_recording_is_refused(tmp_path: Path, text: str) -> None:
    store = window_store(tmp_path / "s", [recording("fan/test/a.wav")]).path
    with pytest.raises(DataError, match=r"line 1: it ends at .* s, but the recording at 120 s"):
        import_marks(store, [labels(text)])
    assert import_marks(store, [labels("100\t120.5\tfault\n")]).written == 1


@pytest.mark.parametrize(("end", "words"), [("1e308", "the latest time is 1,000,000,000 s"), ("122", "at 120 s")])
def test_a_row_after_the_end_of_its_recording_is_refused(tmp_path: Path, end: str, words: str) -> None:
    store = window_store(tmp_path / "s", [recording("fan/test/a.wav")]).path
    with pytest.raises(DataError, match=words):
        import_marks(store, [table([WHOLE, "fault", "0", end], header="clip,label,start_s,end_s")])


def test_a_part_of_windows_may_end_in_the_rest_after_the_last_one(store: Path) -> None:
    header = "clip,label,start_s,end_s"
    assert import_marks(store, [table([LONG, "fault", "30", "45"], header=header)]).written == 1
    with pytest.raises(DataError, match="ends at 60 s, but the recording at 50 s"):
        import_marks(store, [table([LONG, "fault", "30", "60"], header=header)])
    with pytest.raises(DataError, match=r"it ends at 1e.308 s, but the latest time is"):
        import_marks(store, [labels("0\t1e308\tfault\n", "long.txt")])


def test_null_bytes_of_an_earlier_version_are_left_out(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(file_module, "problem_of", lambda mark: "")
        append_mark(store, Mark(clip=WHOLE, mark="fault", who="an\0na", note="\0a kn\0ock"))
    data, files = csv_bytes(opened(store)), label_files(opened(store))
    other = copied(store, tmp_path, "other")
    assert import_marks(other, [Source("m.csv", data)]).written == 1
    assert (opened(other).marked[WHOLE].who, opened(other).marked[WHOLE].note) == ("anna", "a knock")
    for source in (Source("m.csv", data), *(Source(name, content) for name, content in files.items())):
        assert import_marks(store, [source]) == Imported(0, 1)


@pytest.mark.parametrize("source", [labels("\n"), table()])
def test_a_file_without_marks_says_so(store: Path, source: Source) -> None:
    with pytest.raises(AsdError, match=f"no marks found in {source.name}") as error:
        import_marks(store, [source])
    assert type(error.value) is AsdError

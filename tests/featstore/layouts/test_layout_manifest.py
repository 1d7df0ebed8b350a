import os
import unicodedata

import pytest

from featstore.errors import DataError
from featstore.layouts.recognise import find_clips


def touch(root, *paths):
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return root


def write(path, text):
    path.write_text(text)
    return path


FULL = """path,machine,section,split,domain,label,attributes,attr_load
a/1.wav,fan,07,test,target,anomaly,"{""vel"": ""6"", ""on"": true}",high
./a//2.wav,,,,,,,
a/3.wav,,,,,anomaly,,
"""


def test_csv_with_all_columns(tmp_path):
    touch(tmp_path, "a/1.wav", "a/2.wav", "a/3.wav")
    listing = find_clips(write(tmp_path / "clips.csv", FULL))
    assert (listing.layout, listing.root) == ("manifest", tmp_path)
    fields = {c.path: (c.machine, c.section, c.split, c.domain, c.label, c.attributes) for c in listing.clips}
    assert fields == {
        "a/1.wav": ("fan", "07", "test", "target", "anomaly", {"vel": "6", "on": "true", "load": "high"}),
        "a/2.wav": ("a", "00", "train", "unknown", "unknown", {}),
        "a/3.wav": ("a", "00", "test", "unknown", "anomaly", {}),
    }


def test_parquet_equals_csv(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    touch(tmp_path, "a/1.wav", "a/2.wav")
    columns = {"path": ["a/1.wav", "a/2.wav"], "label": ["normal", None], "attr_vel": [6, None]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "clips.parquet")
    csv = write(tmp_path / "clips.csv", "path,label,attr_vel\na/1.wav,normal,6\na/2.wav,,\n")
    assert find_clips(tmp_path / "clips.parquet").clips == find_clips(csv).clips
    numbers = {
        "path": ["a/1.wav", "a/2.wav"],
        "section": [0.0, float("nan")],
        "machine": [3, 3],
        "anomaly": [True, False],
    }
    parquet.write_table(pyarrow.table(numbers), tmp_path / "clips.parquet")
    clips = find_clips(tmp_path / "clips.parquet").clips
    assert {(clip.path, clip.machine, clip.section, clip.label) for clip in clips} == {
        ("a/1.wav", "3", "00", "anomaly"),
        ("a/2.wav", "3", "00", "normal"),
    }
    parquet.write_table(pyarrow.table({"path": ["a/1.wav"], "split": [0]}), tmp_path / "clips.parquet")
    with pytest.raises(DataError, match=r"column split: expected text, got 0 \(int\)"):
        find_clips(tmp_path / "clips.parquet")
    write(tmp_path / "clips.parquet", "not parquet")
    with pytest.raises(DataError, match="magic bytes"):
        find_clips(tmp_path / "clips.parquet")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty; expected a CSV file"),
        ("label\nnormal\n", r"no column path \(known: path"),
        ("file\na.wav\n", "unknown column 'file'"),
        ("path,machin\na.wav,fan\n", "'machin'; did you mean machine"),
        ("path,path\na.wav,a.wav\n", "occurs 2 times"),
        ("path,attr_\na.wav,1\n", "unknown column 'attr_'"),
        ("path,label\na.wav,unnormal\n", r"row 2, column label: expected normal or ok .*; got 'unnormal'$"),
        ("path,label\na.wav,1\n", "got '1'; name the column anomaly or normal, so that it says what 1 means"),
        ("path,anomaly\na.wav,2\n", "row 2, column anomaly: expected 0 or 1, got '2'"),
        ("path,label,anomaly\na.wav,normal,1\n", "columns label and anomaly all state a label"),
        ("path\n..\\a.wav\n", "contains '..'"),
        ("path\n\\\\server\\a.wav\n", "is absolute"),
        ("path,label\na.wav,1.0\n", "got '1.0'; name the column anomaly or normal, so that it says what 1 means"),
        ("path,split\na.wav,Trian\n", "did you mean train"),
        ("path,split\na.wav\n", "row 2: 1 cells, but the header has 2"),
        ("path\na.wav\na.wav\n", r"row 3: 'a.wav' is already listed at row 2"),
        ("path\na.wav\n./a.wav\n", "already listed"),
        ("path\n/etc/passwd\n", "row 2, column path: '/etc/passwd' is absolute"),
        ("path\nC:/a.wav\n", "is absolute"),
        ("path\nx/../../a.wav\n", "contains '..'"),
        ("path\nx/../a.wav\n", "contains '..'"),
        ('path,machine\n"",fan\n', "expected the path"),
        ('path,attributes\na.wav,"{1"\n', "column attributes: .* is not JSON"),
        ("path,attributes\na.wav,[]\n", "expected a JSON object"),
        ('path,attributes,attr_v\na.wav,"{""v"": ""1""}",2\n', "attribute 'v' is in column attributes and"),
        ("path\nout/a.wav\n", "link that leads out"),
        ("path\nout.wav\n", "not a file below"),
        ("path\npipe.wav\n", "not a file below"),
    ],
)
def test_errors_of_manifests_name_row_and_column(tmp_path, text, message):
    root = touch(tmp_path / "data", "a.wav")
    outside = touch(tmp_path / "outside", "a.wav")
    (root / "out").symlink_to(outside)
    (root / "out.wav").symlink_to(outside / "a.wav")
    os.mkfifo(root / "pipe.wav")
    with pytest.raises(DataError, match=message):
        find_clips(write(root / "clips.csv", text))


def test_missing_recordings_stay_listed_for_the_build_to_reject(tmp_path):
    listing = find_clips(write(touch(tmp_path, "a.wav") / "clips.csv", "path\na.wav\nb.wav\nno/c.wav\n"))
    assert len(listing.clips) == 3
    assert "2 listed recordings are missing, first 'b.wav'" in listing.notes


def test_a_manifest_in_the_folder_is_used_with_layout_manifest(tmp_path):
    touch(tmp_path, "a.wav", "b.wav")
    write(tmp_path / "manifest.csv", "path\na.wav\n")
    assert len(find_clips(tmp_path).clips) == 2
    assert any("manifest.csv was not used" in note for note in find_clips(tmp_path).notes)
    assert len(find_clips(tmp_path, "manifest").clips) == 1
    with pytest.raises(DataError, match="needs a table"):
        find_clips(touch(tmp_path / "other", "a.wav"), "manifest")


def test_names_with_line_breaks_and_commas(tmp_path):
    names = ['a,"b\n.wav', "tab\t.wav", "🔧.wav"]
    touch(tmp_path, *names)
    rows = "\n".join('"' + name.replace('"', '""') + '"' for name in names)
    assert sorted(c.path for c in find_clips(write(tmp_path / "m.csv", f"path\n{rows}\n")).clips) == sorted(names)


def test_windows_of_recordings(tmp_path):
    touch(tmp_path, "a/1.wav", "a/2.wav")
    rows = "a/1.wav,100,110,normal\na/1.wav,20,30.5,anomaly\na/2.wav,,,\na/1.wav,0,1e1,\na/1.wav,,,\n"
    listing = find_clips(write(tmp_path / "clips.csv", f"path,start_s,end_s,label\n{rows}"))
    assert [(c.path, c.split) for c in listing.clips] == [
        ("a/1.wav", "train"),
        ("a/1.wav#t=0,10", "train"),
        ("a/1.wav#t=100,110", "train"),
        ("a/2.wav", "train"),
        ("a/1.wav#t=20,30.5", "test"),
    ]
    assert not any("missing" in note for note in listing.notes)


def test_windows_in_parquet_are_numbers_or_text(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    touch(tmp_path, "1.wav", "2.wav")
    columns = {"path": ["1.wav", "1.wav", "2.wav"], "start_s": [0.0, 2.5, None], "end_s": [1, 3, None]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "clips.parquet")
    paths = [clip.path for clip in find_clips(tmp_path / "clips.parquet").clips]
    assert paths == ["1.wav#t=0,1", "1.wav#t=2.5,3", "2.wav"]
    parquet.write_table(pyarrow.table({**columns, "start_s": [True, True, None]}), tmp_path / "clips.parquet")
    with pytest.raises(DataError, match=r"column start_s: expected text, got True \(bool\)"):
        find_clips(tmp_path / "clips.parquet")


def test_a_missing_recording_with_windows_is_counted_once(tmp_path):
    listing = find_clips(write(tmp_path / "m.csv", "path,start_s,end_s\nb.wav,0,1\nb.wav,1,2\n"))
    assert "1 listed recordings are missing, first 'b.wav'" in listing.notes


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.wav,1,", "row 3, column end_s: empty; give both"),
        ("a.wav,,1", "row 3, column start_s: empty; give both"),
        ("a.wav,x,1", "row 3, column start_s: expected seconds .* got 'x'"),
        ("a.wav,-1,1", "column start_s: expected seconds"),
        ("a.wav,nan,1", "column start_s: expected seconds"),
        ("a.wav,0,inf", "column end_s: expected seconds"),
        ("a.wav,0,1e12", "column end_s: expected seconds"),
        ("a.wav,2,2", "row 3, column end_s: the window ends at 2 s and starts at 2 s"),
        ("a.wav,2,2.0000001", "must end after its start"),
        ("a.wav,0,10.0", r"row 3: 'a.wav#t=0,10' is already listed at row 2"),
        ('"a.wav#t=0,1",,', "row 3, column path: .* names a window; give its times in the columns"),
    ],
)
def test_bad_windows_name_row_and_column(tmp_path, row, message):
    touch(tmp_path, "a.wav", "a.wav#t=0,1")
    with pytest.raises(DataError, match=message):
        find_clips(write(tmp_path / "clips.csv", f"path,start_s,end_s\na.wav,0,10\n{row}\n"))


@pytest.mark.parametrize(
    "content",
    [
        "path;label\nfan/Lüfter.wav;normal\n".encode(),
        "sep=;\r\npath;label\r\nfan/Lüfter.wav;normal\r\n".encode(),
        "path\tlabel\nfan/Lüfter.wav\tok\n".encode("utf-16"),
        "path,label\r\nfan\\Lüfter.wav,normal\r\n".encode("cp1252"),
        unicodedata.normalize("NFD", "path,label\nfan/Lüfter.wav,good\n").encode(),
        ",path,label\n0,fan/Lüfter.wav,normal\n".encode(),
        "Unnamed: 0,Path,Label,\n0,fan/Lüfter.wav,Normal,\n".encode(),
        "\ufeffpath,is_anomaly\nfan/Lüfter.wav,0\n".encode(),
    ],
    ids=["semicolon", "excel", "utf16", "windows", "decomposed", "pandas", "pandas-and-excel", "flag"],
)
def test_manifests_of_other_programs(tmp_path, content):
    root = touch(tmp_path, "fan/Lüfter.wav")
    (root / "m.csv").write_bytes(content)
    listing = find_clips(root / "m.csv")
    assert [(c.path, c.machine, c.label) for c in listing.clips] == [("fan/Lüfter.wav", "fan", "normal")]
    assert len(listing.notes) == 1, "nothing is missing"


def test_names_that_are_no_text_stay_as_they_are(tmp_path):
    name = b"L\xfcfter.wav".decode("utf-8", "surrogateescape")
    (touch(tmp_path, name) / "m.csv").write_bytes(b"path\nL\xfcfter.wav\n")
    listing = find_clips(tmp_path / "m.csv")
    assert [clip.path for clip in listing.clips] == [name]
    assert len(listing.notes) == 1


def test_a_section_that_lost_its_zero_gets_it_back(tmp_path):
    sections = {"a": "00", "b": "01", "c": "00", "d": "id_02", "e": "03"}
    text = "path,section\na.wav,0\nb.wav,1.0\nc.wav,\nd.wav,id_02\ne.wav,03\n"
    listing = find_clips(write(touch(tmp_path, *(f"{x}.wav" for x in "abcde")) / "m.csv", text))
    assert {clip.path[0]: clip.section for clip in listing.clips} == sections
    assert any(note.endswith("written with two digits, as folders are: 0 is 00") for note in listing.notes)


def test_recordings_in_other_formats_are_counted_as_in_folders(tmp_path):
    names = ("a.MP3", "b.opus", "c.m4a", "d.M4A", "e.wma")
    root = touch(tmp_path, *names)
    note = "not read: 3 recordings in other formats (2 .m4a, 1 .wma), first 'c.m4a'; convert them to WAV or FLAC"
    assert note in find_clips(root).notes
    assert len(find_clips(root).clips) == 2
    listing = find_clips(write(root / "m.csv", "path\n" + "\n".join(names) + "\n"))
    assert note in listing.notes
    assert len(listing.clips) == 5, "a build rejects what is listed and cannot be read"
    listing = find_clips(write(root / "m.scp", "".join(f"{i} {name}\n" for i, name in enumerate(names))))
    assert note in listing.notes


def test_split_and_domain_are_read_in_any_case(tmp_path):
    touch(tmp_path, "a.wav", "b.wav")
    listing = find_clips(write(tmp_path / "clips.csv", "path;split;domain\na.wav;Train;SOURCE\n;;\nb.wav;TEST ;\n"))
    assert [(clip.split, clip.domain) for clip in listing.clips] == [("train", "source"), ("test", "unknown")]

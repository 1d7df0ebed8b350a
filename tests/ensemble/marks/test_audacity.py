"""Names of label files stay in their folder, and archives are bounded."""

import io
import zipfile
from pathlib import PurePosixPath

import pytest

from ensemble.marks.audacity import Label, file_names, parsed_seconds, read_labels, unzipped, zipped
from featstore.errors import DataError

HOSTILE = [
    "../../etc/x.wav",
    "/abs.wav",
    "a\\b.wav",
    "con.wav",
    "a/NUL",
    "dot./x",
    "a\x00b",
    "\udcff.wav",
    "..",
    "x" * 250,
]


def test_names_stay_below_the_folder() -> None:
    names = file_names(HOSTILE)
    assert len(set(names.values())) == len(HOSTILE)
    for name in names.values():
        path = PurePosixPath(name)
        assert not path.is_absolute()
        assert not {"..", "."} & set(path.parts)
        assert not set('\\:*?"<>|\x00') & set(name)
        assert all(len(part.encode()) < 250 for part in path.parts)
    assert names["con.wav"] == "_con.wav"
    assert file_names(["fan/a.wav"]) == {"fan/a.wav": "fan/a.wav"}


def test_names_that_would_be_the_same_differ() -> None:
    names = file_names(["a?.wav", "a*.wav", "A_.wav"])
    assert len({name.casefold() for name in names.values()}) == 3
    assert names == file_names(["A_.wav", "a*.wav", "a?.wav"])


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [
        ("1.5", 1.5),
        ("1,5", 1.5),
        (" 2 ", 2.0),
        ("1,000.5", None),
        ("", None),
        ("1e999", None),
        ("-0.1", None),
        ("1_0", None),
    ],
)
def test_seconds_have_a_point_or_a_comma(cell: str, seconds: float | None) -> None:
    assert parsed_seconds(cell) == seconds


def test_frequencies_are_read_over_and_lines_keep_their_numbers() -> None:
    text = b"0\t1\tfault\r\n\\\t10\t20\r\n\r\n1\t2\tfault: a\tb\r\n"
    assert list(read_labels(text)) == [Label(1, 0.0, 1.0, "fault"), Label(4, 1.0, 2.0, "fault: a\tb")]


def test_archives_are_the_same_for_the_same_files() -> None:
    files = {"b.txt": b"2", "a/c.txt": b"1"}
    assert zipped(files) == zipped(dict(reversed(files.items())))
    assert dict(unzipped("x.zip", zipped(files), most_files=2, most_bytes=2)) == files


def bomb() -> bytes:
    image = io.BytesIO()
    with zipfile.ZipFile(image, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", b"0" * 10_000_000)
    return image.getvalue()


def damaged(method: int) -> bytes:
    """An archive whose file has other bytes in the middle."""
    image = io.BytesIO()
    with zipfile.ZipFile(image, "w", method) as archive:
        archive.writestr("a.txt", bytes(range(256)) * 8)
    content = image.getvalue()
    return content[:45] + b"\xff" * 40 + content[85:]


def encrypted() -> bytes:
    """An archive that says its file is encrypted."""
    content = bytearray(zipped({"a.txt": b"0\t0\tfault\n"}))
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(magic) + offset] |= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (bomb(), "more than 1,000 bytes when unpacked"),
        (zipped({f"{i}.txt": b"" for i in range(5)}), "5 files; at most 3"),
        (b"PK\x03\x04 not a zip", "not a zip archive that can be read"),
        (damaged(zipfile.ZIP_LZMA), "not a zip archive that can be read"),
        (damaged(zipfile.ZIP_BZIP2), "not a zip archive that can be read"),
        (encrypted(), "^x.zip: a.txt is encrypted; import it without a password$"),
        (zipped({"a.txt": b"0" * 500})[:-200] + b"x" * 200, "not a zip archive that can be read"),
    ],
)
def test_bad_archives_are_refused(content: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        list(unzipped("x.zip", content, most_files=3, most_bytes=1000))


def test_half_a_character_is_no_text() -> None:
    assert "null bytes" in str(next(iter(read_labels(b"\xff\xfe0"))))

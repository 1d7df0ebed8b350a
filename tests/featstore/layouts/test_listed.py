"""Listed paths against the disk."""

import unicodedata
from pathlib import Path

import pytest

from featstore.errors import DataError
from featstore.layouts.listed import Disk, check_paths, relative_path

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "ü/ö.wav") for form in ("NFC", "NFD"))


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    for name in ("a/b.wav", COMPOSED, "plain.wav", "a\\plain.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return Disk(tmp_path)


@pytest.mark.parametrize(
    ("listed", "spelt"),
    [
        ("a/b.wav", "a/b.wav"),
        ("./a//b.wav", "a/b.wav"),
        ("a\\b.wav", "a/b.wav"),
        ("a\\plain.wav", "a\\plain.wav"),
        (COMPOSED, COMPOSED),
        (DECOMPOSED, COMPOSED),
        (DECOMPOSED.replace("/", "\\"), COMPOSED),
        ("a\\gone.wav", "a\\gone.wav"),
    ],
)
def test_paths_are_spelt_as_on_the_disk(disk: Disk, listed: str, spelt: str) -> None:
    assert disk.spelt("here", listed) == spelt


@pytest.mark.parametrize("path", ["", "/a", "C:\\a", "\\\\host\\a", "a/../b", "..\\b.wav"])
def test_paths_that_lead_out(disk: Disk, path: str) -> None:
    with pytest.raises(DataError, match="here: "):
        disk.spelt("here", path)
    if "\\b" not in path:
        with pytest.raises(DataError, match="here: "):
            relative_path("here", path)


def test_missing_recordings_are_counted(disk: Disk) -> None:
    places = [
        ("t, row 2", "a/b.wav"),
        ("t, row 3", "a\\gone.wav"),
        ("t, row 4", "gone.wav#t=0,1"),
        ("t, row 5", "gone.wav#t=1,2"),
    ]
    assert check_paths(disk, places) == [
        "2 listed recordings are missing, first 'a\\\\gone.wav'; paths with backslashes need slashes on this system"
    ]
    with pytest.raises(DataError, match=r"t, row 9: 'a/b.wav' is already listed at row 2; keep one"):
        check_paths(disk, [*places, ("t, row 9", "a/b.wav")])

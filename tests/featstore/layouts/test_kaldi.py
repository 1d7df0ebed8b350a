"""Kaldi lists of recordings, and of their windows."""

import json
from pathlib import Path

import pytest

from featstore.errors import DataError
from featstore.layouts.recognise import find_clips


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return root


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_scp_follows_the_names(tmp_path: Path) -> None:
    name = "fan/train/section_00_source_train_normal_0000_vel_6.wav"
    touch(tmp_path, name, "fan/train/section 1.wav")
    listing = find_clips(write(tmp_path / "wav.scp", f"k1 {name}\n"))
    assert listing.layout == "dcase2023"
    assert json.dumps(listing.clips[0].attributes) == '{"vel": "6"}'
    plain = find_clips(write(tmp_path / "b.scp", f"k1\t{tmp_path}/fan/train/section 1.wav\r\n\n"))
    assert [(c.path, c.machine, c.split) for c in plain.clips] == [("fan/train/section 1.wav", "fan", "train")]
    assert plain.layout == "folder"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("k a.wav\nk b.wav\n", "line 2: key 'k' is already on line 1"),
        ("k sox a.wav -t wav - |\n", "line 1: .* is a command"),
        ("k a.ark:17\n", "expected a key and a path that ends in .wav .*; got 'a.ark:17'"),
        ("k\n", "expected the path"),
        ("k /etc/passwd.wav\n", "contains '..'"),
        ("k ../a.wav\n", "contains '..'"),
        ("k a.wav\nj a.wav\n", "line 2: 'a.wav' is already listed at line 1"),
    ],
)
def test_bad_scp(tmp_path: Path, text: str, message: str) -> None:
    touch(tmp_path, "a.wav", "b.wav")
    with pytest.raises(DataError, match=message):
        find_clips(write(tmp_path / "wav.scp", text))


def test_segments_make_windows_of_the_recordings(tmp_path: Path) -> None:
    name = "fan/train/section_00_source_train_normal_0000_vel_6.wav"
    touch(tmp_path, name, "fan/train/section_00_source_train_normal_0001_vel_6.wav")
    scp = write(tmp_path / "wav.scp", f"r1 {name}\nr2 {name.replace('0000', '0001')}\n")
    write(tmp_path / "segments", "u3 r1 100.0 110.00\nu1 r1 0.00 10\n\nu2\tr1 20 30.5\n")
    listing = find_clips(scp)
    assert [clip.path for clip in listing.clips] == [f"{name}#t={times}" for times in ("0,10", "20,30.5", "100,110")]
    assert {(clip.section, clip.attributes["vel"], clip.domain) for clip in listing.clips} == {("00", "6", "source")}
    assert f"3 windows of 1 of them listed in {tmp_path / 'segments'}" in listing.notes
    (tmp_path / "segments").unlink()
    assert len(find_clips(scp).clips) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "segments: empty; expected lines"),
        ("u r 0\n", "segments, line 1: expected `utterance recording start end`, got 3 fields"),
        ("u r 0 1 0\n", "got 5 fields"),
        ("u x 0 1\n", "line 1: recording 'x' of 'u' is not in .*wav.scp"),
        ("u r 0 1\nu r 1 2\n", "line 2: key 'u' is already on line 1"),
        ("u r 0 1\nv r 0 1.0\n", "line 2: this window of 'r' is already on line 1"),
        ("u r a 1\n", "line 1, start: expected seconds .* got 'a'"),
        ("u r 0 -1\n", "line 1, end: expected seconds"),
        ("u r 3 2\n", "line 1, end: the window ends at 2 s and starts at 3 s"),
    ],
)
def test_bad_segments(tmp_path: Path, text: str, message: str) -> None:
    touch(tmp_path, "a.wav")
    write(tmp_path / "segments", text)
    with pytest.raises(DataError, match=message):
        find_clips(write(tmp_path / "wav.scp", "r a.wav\n"))


def test_segments_that_are_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "segments/x")
    with pytest.raises(DataError, match="segments: expected a file"):
        find_clips(write(tmp_path / "wav.scp", "r a.wav\n"))

"""What a header declares, and the versions of a path."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from ensemble.watching.whole import Version, missing_bytes, version_of


def riff(length: int, *, before: bytes = b"", kind: bytes = b"RIFF") -> bytes:
    head = kind + struct.pack("<I", 36) + b"WAVE" + before + b"fmt " + struct.pack("<I", 16) + bytes(16)
    return head + b"data" + struct.pack("<I", length)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (riff(1000), 1044),
        (riff(1000, before=b"LIST" + struct.pack("<I", 3) + b"abc\0"), 1056),
        (riff(0), None),
        (riff(0xFFFFFFFF), None),
        (riff(0xFFFFF000), None),
        (riff(1000)[:-8], None),
        (b"RIFF", None),
        (b"", None),
        (b"fLaC" + bytes(100), None),
        (riff(0xFFFFFFFF, kind=b"RF64", before=b"ds64" + struct.pack("<IQQQI", 28, 0, 5 << 32, 0, 0)), (5 << 32) + 80),
        (riff(0xFFFFFFFF, kind=b"RF64"), None),
    ],
)
def test_the_length_that_a_header_declares(tmp_path: Path, head: bytes, expected: int | None) -> None:
    (tmp_path / "a.wav").write_bytes(head)
    assert missing_bytes(tmp_path / "a.wav", 40) == (expected and expected - 40)


@pytest.mark.parametrize("form", ["WAV", "RF64", "W64", "AIFF", "AU", "CAF"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_a_whole_file_lacks_nothing_and_a_cut_one_what_was_cut(tmp_path: Path, form: str, subtype: str) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, np.zeros(1000), 8000, format=form, subtype=subtype)
    data = path.read_bytes()
    assert missing_bytes(path, len(data)) == 0
    assert missing_bytes(path, len(data) - 100) == 100


def test_a_flac_does_not_tell(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.flac", np.zeros(1000), 8000)
    assert missing_bytes(tmp_path / "a.flac", 10) is None


def test_versions(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    assert version_of(path) is None
    path.write_bytes(b"abc")
    os.utime(path, ns=(7, 7))
    assert version_of(path) == Version(3, 7)
    assert version_of(tmp_path) is None
    assert version_of(path / "below") is None
    os.mkfifo(tmp_path / "pipe")
    assert version_of(tmp_path / "pipe") is None

"""Content hashes of recordings."""

from pathlib import Path

import pytest
import soundfile as sf
from recordings import RATE, tone

from featstore.audio import hashes as hashing
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import read_recording
from featstore.clip import Window

NATIVE = AudioPolicy()


def test_a_file_is_hashed_once_for_all_its_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []
    monkeypatch.setattr(hashing, "_hash_blocks", lambda file: hashed.append(file.name) or str(len(hashed)))
    for name in "ab":
        sf.write(tmp_path / name, tone(1.0), RATE, format="WAV")
    windows = [(name, Window(i / 10, i / 10 + 0.1)) for i in range(5) for name in "ab"]
    hashes = [read_recording(tmp_path / name, RATE, NATIVE, window=window).content_hash for name, window in windows]
    assert hashes == ["1", "2"] * 5
    sf.write(tmp_path / "a", -tone(1.0), RATE, format="WAV")
    assert read_recording(tmp_path / "a", RATE, NATIVE, window=windows[0][1]).content_hash == "3"

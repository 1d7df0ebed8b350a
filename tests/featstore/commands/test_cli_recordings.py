"""What `featstore build` says about recordings whose headers are wrong, and about rejected ones."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from recordings import RATE, content_of, noise, with_length

from featstore.cli import main


def build(folder: Path, *more: object) -> Result:
    store = folder.parent / "store"
    options = ("-e", "logmel", "--anomalies", "none", "--workers", 0, *more)
    return CliRunner().invoke(main, ["build", str(folder), str(store), *map(str, options)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with sound, silent, unknown, longer and truncated recordings of three seconds."""
    root = tmp_path / "data"
    (root / "fan/normal").mkdir(parents=True)
    wav = content_of("wav", noise(3))
    contents = {
        "sound.wav": wav,
        "silent.wav": content_of("wav", np.zeros(3 * RATE)),
        "longer.wav": with_length("wav", wav, len(wav) // 2),
        "cut.flac": content_of("flac", noise(3))[:-3000],
        "cut.ogg": content_of("ogg", noise(3))[:-100],
        **{f"unknown{i}.au": with_length("au", content_of("au", noise(3)), 0xFFFFFFFF) for i in range(4)},
    }
    for name, content in contents.items():
        (root / "fan/normal" / name).write_bytes(content)
    return root


def test_a_line_per_outcome_and_a_rejection_per_truncated_recording(folder: Path) -> None:
    result = build(folder)
    assert result.exit_code == 3, result.output
    assert "logmel holds 7 rows (9 new, 0 changed, 0 kept, less 2 rejected)" in result.stdout
    notes = [line for line in result.stderr.splitlines() if "recording: " in line or "recordings: " in line]
    assert [note.partition(" (")[0] for note in notes] == [
        "note: 1 recording: silent",
        "note: 4 recordings: length unknown",
        "note: 1 recording: longer than its header says",
    ]
    assert notes[1].endswith(": 'fan/normal/unknown0.au', 'fan/normal/unknown1.au', 'fan/normal/unknown2.au', ...")
    assert "2 rejected" in result.stderr
    assert "recordings: length" not in build(folder).stderr, "nothing was read this time"


def test_windows_of_such_recordings(folder: Path) -> None:
    result = build(folder, "--window", 1, "--hop", 1, "--json")
    report = json.loads(result.stdout)
    assert report["rows"] == {"logmel": 7 * 3}
    assert sorted(item["path"] for item in report["rejected"]) == ["fan/normal/cut.flac", "fan/normal/cut.ogg"]
    assert report["outcomes"] == {"silent": 3, "length unknown": 4, "longer than its header says": 1}


def test_the_audio_that_was_read_is_counted(folder: Path) -> None:
    report = json.loads(build(folder, "--length", "crop:0.5", "--json").stdout)
    assert report["audio_s"] == 7 * 0.5

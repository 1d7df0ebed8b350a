"""Looks at a folder, and which files are ready."""

import os
from math import inf
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from ensemble.watching.folder import LONGEST_PAUSE_S, Arrivals, Look, look
from ensemble.watching.state import Known
from ensemble.watching.whole import Version

LONG_AGO = 0.0


def wav(path: Path, *, missing: int = 0) -> Version:
    """A recording that lacks bytes; its time is 1970."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, np.zeros(500), 8000, subtype="PCM_16")
    os.truncate(path, path.stat().st_size - missing)
    os.utime(path, ns=(int(1e9), int(1e9)))
    return Version(path.stat().st_size, int(1e9))


def arrivals(**changes: float) -> Arrivals:
    return Arrivals(**{"settle_s": 1.0, "glance_s": 0.5, "give_up_s": 600.0, **changes})


def ready(files: Arrivals, root: Path, now: float) -> list[str]:
    return [path for path, _ in files.ready(root, now, wall=now)]


def test_a_look_lists_audio_of_all_folders(tmp_path: Path) -> None:
    version = wav(tmp_path / "a.wav")
    wav(tmp_path / "line 1" / "deep" / "b.WAV")
    for name in ("c.txt", "d.wav.part", ".e.wav", ".hidden/f.wav", "folder.wav/x.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe.wav")
    seen = look(tmp_path)
    assert set(seen.files) == {"a.wav", "line 1/deep/b.WAV"}
    assert seen.files["a.wav"] == version
    assert seen.problems == ()


def test_the_version_of_an_old_known_file_may_be_taken_for_granted(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav", "new.wav"):
        wav(tmp_path / name)
    known = {
        "a.wav": Known(Version(1, 100), 1),
        "b.wav": Known(Version(1, 200), 1),
        "gone.wav": Known(Version(1, 1), 1),
    }
    seen = look(tmp_path, known, 200)
    assert set(seen.files) == {"a.wav", "b.wav", "new.wav"}
    assert {path: version.size for path, version in seen.files.items()} == {"a.wav": 1, "b.wav": 1044, "new.wav": 1044}


def test_links_count_where_they_stay_inside(tmp_path: Path) -> None:
    wav(tmp_path / "outside.wav")
    version = wav(tmp_path / "in" / "a.wav")
    (tmp_path / "in" / "b.wav").symlink_to("a.wav")
    (tmp_path / "in" / "out.wav").symlink_to(tmp_path / "outside.wav")
    (tmp_path / "in" / "nowhere.wav").symlink_to("missing")
    (tmp_path / "in" / "circle").symlink_to(tmp_path / "in")
    assert look(tmp_path / "in").files == {"a.wav": version, "b.wav": version}


def test_a_folder_that_is_away_is_a_problem(tmp_path: Path) -> None:
    seen = look(tmp_path / "away")
    assert seen.files == {}
    assert seen.problems == (f"{tmp_path}/away/: No such file or directory",)


def test_a_folder_below_that_cannot_be_read_hides_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wav(tmp_path / "a.wav")
    (tmp_path / "bad").mkdir()
    scandir = os.scandir

    def denied(path: str) -> object:
        if path.endswith("bad/"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    seen = look(tmp_path)
    assert list(seen.files) == ["a.wav"]
    assert seen.problems == (f"{tmp_path}/bad/: Permission denied",)


def test_a_wav_that_is_all_there_is_ready_at_the_second_look(tmp_path: Path) -> None:
    version = wav(tmp_path / "a.wav")
    files = arrivals()
    files.update(Look({"a.wav": version}), {}, 10.0)
    assert ready(files, tmp_path, 10.0) == []
    assert files.due(10.0) == 0.5
    assert ready(files, tmp_path, 10.5) == ["a.wav"]


def test_other_files_wait_until_they_settle(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.flac", np.zeros(100), 8000)
    files = arrivals()
    seen = look(tmp_path)
    files.update(seen, {}, 10.0)
    files.update(seen, {}, 10.9)
    assert ready(files, tmp_path, 10.9) == []
    assert files.unsettled(10.9, latest=10)
    assert not files.unsettled(10.9, latest=9)
    assert files.due(10.9) == pytest.approx(0.1)
    assert ready(files, tmp_path, 11.0) == ["a.flac"]
    assert files.due(11.0) == inf


def test_a_file_that_grows_starts_to_wait_again(tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(b"")
    files = arrivals()
    for now in range(10, 20):
        files.update(Look({"a.flac": Version(now, now)}), {}, now)
        assert ready(files, tmp_path, now + 0.9) == []
    assert ready(files, tmp_path, 20) == ["a.flac"]


def test_a_wav_that_lacks_bytes_waits_and_is_given_up_at_last(tmp_path: Path) -> None:
    version = wav(tmp_path / "a.wav", missing=1)
    files = arrivals()
    files.update(Look({"a.wav": version}), {}, 10.0)
    assert ready(files, tmp_path, 600.9) == []
    assert ready(files, tmp_path, 601) == ["a.wav"]  # unchanged since the second 1


def test_a_wrong_clock_does_not_make_a_file_wait_for_ever(tmp_path: Path) -> None:
    version = wav(tmp_path / "a.wav", missing=1)
    files = arrivals()
    files.update(Look({"a.wav": version}), {}, 10.0)
    assert [*files.ready(tmp_path, 609.9, wall=LONG_AGO)] == []
    assert len([*files.ready(tmp_path, 610, wall=LONG_AGO)]) == 1


def test_old_files_come_first(tmp_path: Path) -> None:
    for name in "abc":
        wav(tmp_path / f"{name}.wav")
    times = {"a.wav": 3, "b.wav": 1, "c.wav": 1}
    files = arrivals()
    files.update(Look({name: Version(1044, time) for name, time in times.items()}), {}, 0)
    assert ready(files, tmp_path, 5) == ["b.wav", "c.wav", "a.wav"]


def test_known_versions_do_not_wait_and_changed_ones_do(tmp_path: Path) -> None:
    version = wav(tmp_path / "a.wav")
    files = arrivals()
    files.update(Look({"a.wav": version}), {"a.wav": Known(version, 1)}, 0)
    assert files.waiting == {}
    files.update(Look({"a.wav": version}), {"a.wav": Known(Version(1, 1), 1)}, 0)
    assert list(files.waiting) == ["a.wav"]


def test_files_that_are_gone_are_forgotten_unless_their_folder_is_away() -> None:
    files = arrivals()
    files.update(Look({"a.wav": Version(1, 1), "b.wav": Version(1, 1)}), {}, 0)
    files.update(Look({"b.wav": Version(1, 1)}, ("away",)), {}, 1)
    assert (list(files.waiting), files.oldest()) == (["a.wav", "b.wav"], "a.wav")
    files.update(Look({"b.wav": Version(1, 1)}), {}, 2)
    assert (list(files.waiting), files.waiting["b.wav"].since) == (["b.wav"], 0)
    files.done("b.wav")
    assert files.oldest() == ""


def test_a_file_that_cannot_be_read_is_tried_less_and_less_often(tmp_path: Path) -> None:
    version = wav(tmp_path / "a.wav")
    files = arrivals()
    files.update(Look({"a.wav": version}), {}, 0)
    assert [files.later("a.wav", 100) for _ in range(3)] == [1, 2, 3]
    assert ready(files, tmp_path, 103.9) == []
    assert ready(files, tmp_path, 104) == ["a.wav"]
    for _ in range(50):
        files.later("a.wav", 200)
    assert files.waiting["a.wav"].not_before == 200 + LONGEST_PAUSE_S

"""No path and no link leads out of the folder of the recordings."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ensemble.review.sound import files
from ensemble.review.sound.files import opened_below
from featstore.errors import RejectedAudio


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/a.wav").write_text("secret")
    (tmp_path / "data/in").mkdir(parents=True)
    (tmp_path / "data/in/a.wav").write_text("sound")
    return tmp_path / "data"


def content(root: Path, path: str) -> bytes:
    with opened_below(root, path) as (file, info):
        read = file.read()
        assert info.st_size == len(read)
        return read


def test_a_file_below_the_folder_is_read(data: Path) -> None:
    assert content(data, "in/a.wav") == b"sound"


def test_links_that_stay_inside_are_followed(data: Path, tmp_path: Path) -> None:
    (data / "link.wav").symlink_to("in/a.wav")
    (data / "folder").symlink_to(data / "in")
    (tmp_path / "root").symlink_to(data)
    for root, path in ((data, "link.wav"), (data, "folder/a.wav"), (tmp_path / "root", "in/a.wav")):
        assert content(root, path) == b"sound"


@pytest.mark.parametrize("path", ["../secret", "in/../../secret", "/etc/hostname", "in/a.wav\0", "..", "in/..", "//x"])
def test_a_path_that_leads_out_is_refused(data: Path, path: str) -> None:
    with pytest.raises(RejectedAudio, match="leads out"):
        content(data, path)


@pytest.mark.parametrize("name", ["link.wav", "folder/a.wav", "twice.wav"])
def test_a_link_that_leads_out_is_refused(data: Path, name: str) -> None:
    (data / "link.wav").symlink_to("../secret")
    (data / "folder").symlink_to("../outside")
    (data / "twice.wav").symlink_to("link.wav")
    with pytest.raises(RejectedAudio, match="leads out"):
        content(data, name)


def test_a_link_that_leads_out_is_refused_whether_its_target_exists(data: Path) -> None:
    (data / "to.wav").symlink_to("../secret")
    (data / "nowhere.wav").symlink_to("../missing/file")
    for path in ("to.wav", "nowhere.wav", "nowhere.wav/x"):
        with pytest.raises(RejectedAudio) as error:
            content(data, path)
        assert str(error.value) == files.OUTSIDE


def test_a_loop_of_links_does_not_show_the_folder(data: Path) -> None:
    (data / "loop.wav").symlink_to("loop.wav")
    with pytest.raises(RejectedAudio) as error:
        content(data, "loop.wav")
    assert str(error.value) == f"cannot be read: {files.LOOP}"


def test_what_is_no_regular_file_is_refused(data: Path) -> None:
    os.mkfifo(data / "pipe.wav")
    (data / "empty.wav").touch()
    (data / "loop.wav").symlink_to("loop.wav")
    for path, reason in {
        "pipe.wav": "not a regular file",
        "in": "not a regular file",
        "": "not a regular file",
        "empty.wav": "empty",
        "loop.wav": "cannot be read",
        "missing.wav": "No such file",
        "in/a.wav/b.wav": "Not a directory",
        "x" * 5000: "too long",
    }.items():
        with pytest.raises(RejectedAudio, match=reason):
            content(data, path)


@pytest.mark.skipif(not Path("/dev/zero").is_char_device(), reason="needs /dev/zero")
def test_a_device_is_refused(data: Path) -> None:
    with pytest.raises(RejectedAudio, match="not a regular file"):
        content(Path("/dev"), "zero")


def test_a_pipe_that_appears_after_the_check_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[[Path, Path], int] = files._descriptor

    def attacked(base: Path, place: Path) -> int:
        place.unlink()
        os.mkfifo(place)
        return real(base, place)

    monkeypatch.setattr(files, "_descriptor", attacked)
    with pytest.raises(RejectedAudio, match="not a regular file"):
        content(data, "in/a.wav")


@pytest.mark.parametrize("where", ["folder", "file"])
def test_a_link_that_appears_after_the_check_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    real: Callable[[Path, Path], int] = files._descriptor

    def attacked(base: Path, place: Path) -> int:
        if where == "folder":
            (data / "in").rename(tmp_path / "away")
            (data / "in").symlink_to(tmp_path / "outside")
        else:
            (data / "in/a.wav").unlink()
            (data / "in/a.wav").symlink_to(tmp_path / "secret")
        return real(base, place)

    monkeypatch.setattr(files, "_descriptor", attacked)
    with pytest.raises(RejectedAudio, match="cannot be read"):
        content(data, "in/a.wav")

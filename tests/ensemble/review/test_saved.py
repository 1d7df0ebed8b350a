"""Thresholds set in the page: the file is one that `detect --threshold` reads, whole or not there."""

from pathlib import Path

import pytest

from ensemble.decision.given import choice_of
from ensemble.page.scored import DEFAULT
from ensemble.review.saved import FILE, save_thresholds, saved_thresholds
from featstore.disk import files
from featstore.errors import AsdError, DataError, StoreError

VALUES = {("fan", "00"): 0.97, ("line 1/pump", "id_02"): 0.5, ('"ä" <b>\n', "01"): 0.1 + 0.2}


@pytest.mark.parametrize("values", [VALUES, {DEFAULT: 0.5}, {**VALUES, DEFAULT: 1e-9}, {("fan", "00"): 1.0}])
def test_what_is_saved_comes_back_and_is_read_by_the_option(
    tmp_path: Path, values: dict[tuple[str, str], float]
) -> None:
    save_thresholds(tmp_path, values)
    assert saved_thresholds(tmp_path) == values
    choice = choice_of([str(tmp_path / FILE)])
    assert dict(choice.values) == {"/".join(key).lstrip("/"): value for key, value in values.items()}


def test_without_thresholds_there_is_no_file(tmp_path: Path) -> None:
    assert saved_thresholds(tmp_path) == {}
    save_thresholds(tmp_path, {})
    save_thresholds(tmp_path, VALUES)
    save_thresholds(tmp_path, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["x", "other = 1", "[thresholds]\nfan = 1", '[thresholds]\n"fan/00" = nan', "\x00"])
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(DataError, match=str(tmp_path / FILE)):
        saved_thresholds(tmp_path)


def test_a_name_that_toml_cannot_hold_is_refused_and_the_old_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_thresholds(tmp_path, VALUES)
    with pytest.raises(DataError, match="not valid Unicode"):
        save_thresholds(tmp_path, {("fan\udcff", "00"): 0.5})

    def full(*args: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "write", full)
    with pytest.raises(AsdError, match="no space for"):
        save_thresholds(tmp_path, {("fan", "00"): 0.5})
    monkeypatch.undo()
    assert saved_thresholds(tmp_path) == VALUES
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_file_that_cannot_be_removed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_thresholds(tmp_path, VALUES)

    def refuse(self: Path, *, missing_ok: bool) -> None:
        raise OSError(30, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StoreError, match=f"cannot write {tmp_path / FILE}: Read-only file system"):
        save_thresholds(tmp_path, {})

"""Thresholds set in the page: the file is one that `detect --threshold` reads, whole or not there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scored_results import limit_of, results

from ensemble.decision.given import choice_of
from ensemble.page.scored import DEFAULT, Scored
from ensemble.review.saved import FILE, save_thresholds, saved_thresholds, thresholds_of_run, unused_text
from featstore.disk import files
from featstore.errors import AsdError, DataError, StoreError

VALUES = {("fan", "00"): 0.97, ("line 1/pump", "id_02"): 0.5, ('"ä" <b>\n', "01"): 0.1 + 0.2}


@pytest.mark.parametrize("values", [VALUES, {DEFAULT: 0.5}, {**VALUES, DEFAULT: 1e-9}, {("fan", "00"): 1.0}])
def test_what_is_saved_comes_back_and_is_read_by_the_option(
    tmp_path: Path, values: dict[tuple[str, str], float]
) -> None:
    save_thresholds(tmp_path, values, RUN)
    assert saved_thresholds(tmp_path) == values
    choice = choice_of([str(tmp_path / FILE)])
    assert dict(choice.values) == {"/".join(key).lstrip("/"): value for key, value in values.items()}


def trained(reference: list[float], value: float = 0.9, rate: float | None = 0.1) -> Scored:
    """Results of two sections, whose reference scores are these."""
    scored = results({"fan/00": [0.5], "fan/01": [0.5]})
    train = scored.clips[[0] * len(reference) + [1] * len(reference)]
    limits = (limit_of("fan", "00", rate, value=value), limit_of("fan", "01"))
    return replace(scored, train=train, reference=np.array([*reference, *reference]), limits=limits)


RUN = trained([0.1, 0.2])


def test_a_threshold_belongs_to_its_run(tmp_path: Path) -> None:
    values = {("fan", "00"): 0.85, DEFAULT: 0.7}
    save_thresholds(tmp_path, values, RUN)
    assert thresholds_of_run(tmp_path, RUN) == (values, [])
    assert thresholds_of_run(tmp_path, RUN.with_thresholds(values)) == (values, [])
    more = replace(RUN, clips=RUN.clips[[0, 0, 1]], score=np.full(3, 0.5), threshold=np.full(3, 0.9))
    assert thresholds_of_run(tmp_path, more) == (values, [])  # new recordings, the same scale
    others = sorted(values)
    assert thresholds_of_run(tmp_path, trained([0.1, 0.3])) == ({}, others)
    assert thresholds_of_run(tmp_path, replace(RUN, members=("other",))) == ({}, others)
    save_thresholds(tmp_path, {("fan", "01"): 0.5, ("gone", "00"): 0.5}, RUN)
    assert thresholds_of_run(tmp_path, RUN) == ({("fan", "01"): 0.5}, [("gone", "00")])


def test_only_the_section_whose_scale_changed_loses_its_threshold(tmp_path: Path) -> None:
    values = {("fan", "00"): 0.85, ("fan", "01"): 0.7}
    save_thresholds(tmp_path, values, RUN)
    other = replace(RUN, reference=np.array([0.1, 0.2, 0.1, 0.4]))
    assert thresholds_of_run(tmp_path, other) == ({("fan", "00"): 0.85}, [("fan", "01")])


def test_a_threshold_that_the_run_decided_by_is_its_own(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('[thresholds]\n"fan/00" = 0.8\n')
    assert thresholds_of_run(tmp_path, RUN) == ({}, [("fan", "00")])
    assert thresholds_of_run(tmp_path, trained([0.1], 0.8)) == ({}, [("fan", "00")])
    assert thresholds_of_run(tmp_path, trained([0.1], 0.8, None)) == ({("fan", "00"): 0.8}, [])


def test_thresholds_of_another_run_in_words() -> None:
    assert not unused_text(0)
    assert unused_text(1) == "1 threshold was set for an earlier run and is not used: set it again in Threshold."
    assert unused_text(2).startswith("2 thresholds were set for an earlier run and are not used: set them")


def test_without_thresholds_there_is_no_file(tmp_path: Path) -> None:
    assert saved_thresholds(tmp_path) == {}
    save_thresholds(tmp_path, {}, RUN)
    save_thresholds(tmp_path, VALUES, RUN)
    save_thresholds(tmp_path, {}, RUN)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["x", "other = 1", "[thresholds]\nfan = 1", '[thresholds]\n"fan/00" = nan', "\x00"])
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(DataError, match=str(tmp_path / FILE)):
        saved_thresholds(tmp_path)


def test_a_name_that_toml_cannot_hold_is_refused_and_the_old_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_thresholds(tmp_path, VALUES, RUN)
    with pytest.raises(DataError, match="not valid Unicode"):
        save_thresholds(tmp_path, {("fan\udcff", "00"): 0.5}, RUN)

    def full(*args: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "write", full)
    with pytest.raises(AsdError, match="no space for"):
        save_thresholds(tmp_path, {("fan", "00"): 0.5}, RUN)
    monkeypatch.undo()
    assert saved_thresholds(tmp_path) == VALUES
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_file_that_cannot_be_removed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_thresholds(tmp_path, VALUES, RUN)

    def refuse(self: Path, *, missing_ok: bool) -> None:
        raise OSError(30, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StoreError, match=f"cannot write {tmp_path / FILE}: Read-only file system"):
        save_thresholds(tmp_path, {}, RUN)

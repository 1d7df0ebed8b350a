"""Files and folders become clips of the machines and sections of a model."""

import shutil
from pathlib import Path

import pytest
from scored_plant import Plant

from ensemble.scoring.model import Model
from ensemble.scoring.targets import targets_of
from featstore.errors import DataError
from featstore.layouts.recognise import find_clips


def test_files_are_one_target_and_folders_one_each(plant: Plant, model: Model) -> None:
    files = plant.files()[:2]
    first, second = targets_of(model, [files[0], plant.root, files[1]])
    assert [clip.path for clip in first.clips] == [str(file) for file in files]
    assert {(clip.machine, clip.section) for clip in first.clips} == {("fan", "00")}
    assert len(second.clips) == 48
    assert {(clip.machine, clip.section) for clip in second.clips} == set(model.sections)
    assert first.rejected == second.rejected == ()


def test_a_list_of_recordings_is_read_as_one(plant: Plant, model: Model, tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        shutil.copy(plant.files()[0], tmp_path / name)
    (tmp_path / "clips.csv").write_text("path,machine,section\na.wav,fan,00\n")
    (target,) = targets_of(model, [tmp_path / "clips.csv"])
    assert target.root == tmp_path
    assert [(clip.path, clip.machine, clip.section) for clip in target.clips] == [("a.wav", "fan", "00")]


def test_what_is_given_holds_for_all(plant: Plant, model: Model) -> None:
    (target,) = targets_of(model, [plant.root], machine="pump", section="00")
    assert {(clip.machine, clip.section) for clip in target.clips} == {("pump", "00")}


def test_what_fits_no_section_is_rejected_beside_the_others(plant: Plant, model: Model, tmp_path: Path) -> None:
    shutil.copy(plant.files()[0], tmp_path / "pump_00.wav")
    shutil.copy(plant.files()[0], tmp_path / "valve.wav")
    (target,) = targets_of(model, [tmp_path])
    assert [clip.path for clip in target.clips] == ["pump_00.wav"]
    (rejected,) = target.rejected
    assert rejected.clip.path == "valve.wav"
    assert rejected.reason.startswith("which machine and section?")


def test_nothing_that_fits_is_an_error(plant: Plant, model: Model, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        list(targets_of(model, [tmp_path / "nowhere"]))
    with pytest.raises(DataError, match="no machine 'valve'"):
        list(targets_of(model, [plant.root], machine="valve"))
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="none"):
        list(targets_of(model, [tmp_path / "none"]))


def test_a_folder_that_is_only_scored_has_no_note_on_an_auc(plant: Plant, model: Model, tmp_path: Path) -> None:
    for folder in ("fan/abnormal", "fan/00"):
        (tmp_path / folder).mkdir(parents=True)
        shutil.copy(plant.files()[0], tmp_path / folder / "a.wav")
    assert find_clips(tmp_path).test_notes
    (target,) = targets_of(model, [tmp_path])
    assert len(target.notes) == 1, "how the folder is read is still said"
    assert "below a machine folder" in target.notes[0]

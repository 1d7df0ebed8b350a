import os
import pickle
import socket
import subprocess
import sys

import pytest

from featstore.clip import Clip
from featstore.errors import DataError
from featstore.layouts.recognise import LAYOUTS, find_clips, summary


def touch(root, *paths):
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return root


def fields(clip):
    return clip.machine, clip.section, clip.split, clip.domain, clip.label


def by_path(listing):
    return {clip.path: fields(clip) for clip in listing.clips}


YEARS = {
    "dcase2020": {
        "dev_data/raw/fan/train/normal_id_00_00000000.wav": ("fan", "id_00", "train", "unknown", "normal"),
        "dev_data/raw/fan/test/anomaly_id_00_00000003.wav": ("fan", "id_00", "test", "unknown", "anomaly"),
        "eval_data/raw/fan/test/id_05_00000000.wav": ("fan", "id_05", "test", "unknown", "unknown"),
    },
    "dcase2021": {
        "dev_data/pump/train/section_00_target_train_normal_0000_strength_1_ambient.wav": (
            *("pump", "00", "train", "target", "normal"),
        ),
        "dev_data/pump/source_test/section_01_source_test_anomaly_0000.wav": (
            "pump",
            "01",
            "test",
            "source",
            "anomaly",
        ),
        "eval_data/pump/target_test/section_03_target_test_0000.wav": ("pump", "03", "test", "target", "unknown"),
    },
    "dcase2022": {
        "dev_data/bearing/train/section_00_source_train_normal_0000_vel_6.wav": (
            *("bearing", "00", "train", "source", "normal"),
        ),
        "dev_data/bearing/test/section_01_target_test_anomaly_0000_vel_4_loc_F.wav": (
            *("bearing", "01", "test", "target", "anomaly"),
        ),
        "eval_data/bearing/test/section_03_0000.wav": ("bearing", "03", "test", "unknown", "unknown"),
        "eval_data/bearing/test/section_04_test_0000.wav": ("bearing", "04", "test", "unknown", "unknown"),
    },
    "dcase2023": {
        "bandsaw/train/section_00_source_train_normal_0000_vel_13.wav": ("bandsaw", "00", "train", "source", "normal"),
        "bandsaw/test/section_00_0000.wav": ("bandsaw", "00", "test", "unknown", "unknown"),
    },
    "dcase2024": {
        "RoboticArm/train/section_00_source_train_normal_0000_weight00_BckgA.wav": (
            *("RoboticArm", "00", "train", "source", "normal"),
        ),
        "RoboticArm/test/section_00_source_normal_0035_weight15_BckgF.wav": (
            *("RoboticArm", "00", "test", "source", "normal"),
        ),
        "3DPrinter/test/section_00_0001.wav": ("3DPrinter", "00", "test", "unknown", "unknown"),
    },
    "dcase2025": {
        "raw/AutoTrash/train/section_00_source_train_normal_0000_noAttribute.wav": (
            *("AutoTrash", "00", "train", "source", "normal"),
        ),
        "raw/AutoTrash/supplemental/section_00_source_supplemental_machine_0000.wav": (
            *("AutoTrash", "00", "supplemental", "source", "unknown"),
        ),
        "raw/AutoTrash/supplemental/section_00_noise_supplemental_normal_0001.wav": (
            *("AutoTrash", "00", "supplemental", "unknown", "normal"),
        ),
    },
    "dcase2026": {
        "ToyCarEmu/train/section_00_source_train_normal_0000_car_D2_spd_5_mic_2_mic_1.wav": (
            *("ToyCarEmu", "00", "train", "source", "normal"),
        ),
        "Sander/test/section_00_0000.wav": ("Sander", "00", "test", "unknown", "unknown"),
    },
}


@pytest.mark.parametrize("year", YEARS)
@pytest.mark.parametrize("layout", ["auto", "named"])
def test_years(tmp_path, year, layout):
    listing = find_clips(touch(tmp_path, *YEARS[year]), "auto" if layout == "auto" else year)
    assert listing.layout == year
    assert by_path(listing) == YEARS[year]


def test_noise_and_clean_machine_supplements(tmp_path):
    listing = find_clips(touch(tmp_path, *YEARS["dcase2025"]))
    kinds = {clip.path[-8:-4]: clip.attributes.get("supplemental") for clip in listing.clips if "supp" in clip.path}
    assert kinds == {"0000": "machine", "0001": "noise"}
    assert any("1 clean machine, 1 noise only" in note for note in listing.notes)


@pytest.mark.parametrize("root", ["dev_data/raw", "dev_data/raw/fan", "dev_data/raw/fan/train"])
def test_the_machine_name_does_not_depend_on_the_folder_given(tmp_path, root):
    touch(tmp_path, "dev_data/raw/fan/train/section_00_source_train_normal_0000_m-n_W.wav")
    clip = find_clips(tmp_path / root).clips[0]
    assert fields(clip) == ("fan", "00", "train", "source", "normal")
    assert clip.attributes == {"m-n": "W"}


def test_folders_fill_in_what_names_leave_out(tmp_path):
    touch(tmp_path, "fan/target_test/section_03_0000.wav", "fan/section_04_0000.wav")
    assert by_path(find_clips(tmp_path)) == {
        "fan/target_test/section_03_0000.wav": ("fan", "03", "test", "target", "unknown"),
        "fan/section_04_0000.wav": ("fan", "04", "test", "unknown", "unknown"),
    }


def test_the_oldest_of_years_that_fit_equally_is_taken_and_a_folder_name_decides(tmp_path):
    name = "valve/test/section_00_source_test_normal_0000_v1pat_05.wav"
    listing = find_clips(touch(tmp_path / "a", name))
    assert listing.layout == "dcase2023"
    assert listing.notes == ()
    assert find_clips(touch(tmp_path / "DCASE2024T2", name)).layout == "dcase2024"


def test_files_that_are_not_read_are_counted_in_a_note(tmp_path):
    touch(
        tmp_path,
        "fan/train/section_00_source_train_normal_0000.wav",
        "fan/train/section_00_source_train_normal_0001.wav",
        "fan/train/section_00_source_train_abnormal_0000.wav",
        "fan/train/section_00_source_test_normal_0000.wav",
        "fan/train/section_00_source_train_anomaly_0009.wav",
    )
    listing = find_clips(tmp_path)
    assert len(listing.clips) == 2
    assert "not read: 1 file whose names do not follow the pattern" in "\n".join(listing.notes)
    assert "train_abnormal_0000.wav" in "\n".join(listing.notes)
    assert "named test in a train folder" in "\n".join(listing.notes)
    assert "named anomaly in training data" in "\n".join(listing.notes)


def test_renamed_copies_are_not_read_twice(tmp_path):
    touch(
        tmp_path,
        "fan/test/section_00_0000.wav",
        "fan/test_rename/section_00_source_test_normal_0000.wav",
        "pump/test_rename/section_00_source_test_normal_0000.wav",
    )
    listing = find_clips(tmp_path)
    assert listing.clips[0].path == "fan/test/section_00_0000.wav"
    assert len(listing.clips) == 2
    assert any("copies of the clips in test" in note for note in listing.notes)


def test_two_data_sets_are_never_pooled(tmp_path):
    name = "dev_data/raw/fan/train/section_00_source_train_normal_0000.wav"
    touch(tmp_path, f"2023/{name}", f"2024/{name}")
    with pytest.raises(DataError, match=r"fan.*two data sets.*2023.*2024"):
        find_clips(tmp_path)


def test_two_namings_are_ambiguous(tmp_path):
    touch(tmp_path, "fan/train/normal_id_00_00000000.wav", "pump/train/section_00_source_train_normal_0000.wav")
    with pytest.raises(DataError, match=r"(?s)dcase2020: 1 file.*dcase2021, .*--layout NAME"):
        find_clips(tmp_path)
    assert len(find_clips(tmp_path, "dcase2020").clips) == 1


def test_few_matching_names_among_many_are_ambiguous(tmp_path):
    touch(tmp_path, "fan/section_00_0000.wav", *(f"fan/{i}.wav" for i in range(5)))
    with pytest.raises(DataError, match="folder: all files"):
        find_clips(tmp_path)
    assert len(find_clips(tmp_path, "folder").clips) == 6


def test_attributes_tables_join_on_the_stem(tmp_path):
    names = [
        "section_00_0000",
        "section_00_source_train_normal_0000_vel_6",
        "section_00_source_train_normal_0001_noAttribute",
    ]
    touch(tmp_path, f"fan/test/{names[0]}.wav", f"fan/train/{names[1]}.wav", f"fan/train/{names[2]}.wav")
    (tmp_path / "fan/attributes_00.csv").write_text(
        f"file_name,d1p,d1v,d2p,d2v\nfan/test/{names[0]}.wav,mic,2,mic,1\n{names[1]},vel,7,loc,A\n{names[2]},vel,9,,\n"
    )
    listing = find_clips(tmp_path)
    attributes = {clip.path.rpartition("/")[2][:-4]: clip.attributes for clip in listing.clips}
    assert attributes == {names[0]: {"mic": "2", "mic_2": "1"}, names[1]: {"vel": "6", "loc": "A"}, names[2]: {}}
    assert any("the names of 1 clip disagree" in note for note in listing.notes)
    assert any("attributes of 1 clip are not used" in note for note in listing.notes)


def test_a_broken_attributes_table_is_a_note(tmp_path):
    touch(tmp_path, "fan/test/section_00_0000.wav")
    (tmp_path / "fan/attributes_00.csv").write_text("<html>")
    assert "attributes table not used" in find_clips(tmp_path).notes[0]


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "manifest"])
def test_no_recordings_is_an_error_that_names_the_suffixes(tmp_path, layout):
    with pytest.raises(DataError, match="no recording"):
        find_clips(tmp_path, layout)
    with pytest.raises(DataError, match=r"no recordings \(\.wav .*dev_fan\.zip"):
        find_clips(touch(tmp_path, "dev_fan.zip"))


def test_unknown_layouts_and_paths(tmp_path):
    with pytest.raises(DataError, match=r"'dcase2032'; did you mean dcase202\d\? choose from dcase2020.*, or auto"):
        find_clips(tmp_path, "dcase2032")
    with pytest.raises(DataError, match="no such folder"):
        find_clips(tmp_path / "none")
    with pytest.raises(DataError, match="expected a folder"):
        find_clips(touch(tmp_path, "a.wav") / "a.wav")


def test_order_does_not_depend_on_the_file_system(tmp_path):
    names = [f"{m}/train/section_0{s}_source_train_normal_000{i}.wav" for m in "ba" for s in (2, 0) for i in (1, 0)]
    listing = find_clips(touch(tmp_path, *names))
    assert [clip.path for clip in listing.clips] == sorted(names, key=lambda n: (n[0], n[16:18], n))


def test_only_recordings_inside_the_folder_are_read(tmp_path):
    outside = touch(tmp_path / "outside", "secret.wav")
    root = touch(tmp_path / "data", "fan/a.WAV", "fan/b.Flac", "fan/._a.wav", "fan/.c.wav", "fan/notes.txt", ".x/d.wav")
    (root / "fan/out").symlink_to(outside, target_is_directory=True)
    (root / "fan/out.wav").symlink_to(outside / "secret.wav")
    (root / "fan/in.wav").symlink_to(root / "fan/a.WAV")
    (root / "fan/loop").symlink_to(root / "fan", target_is_directory=True)
    (root / "fan/self.wav").symlink_to(root / "fan/self.wav")
    (root / "fan/gone.wav").symlink_to(root / "fan/none.wav")
    os.mkfifo(root / "fan/pipe.wav")
    listing = find_clips(root)
    assert [clip.path for clip in listing.clips] == ["fan/a.WAV", "fan/b.Flac", "fan/in.wav"]
    notes = "\n".join(listing.notes)
    for reason in (
        "3 hidden",
        "2 links that lead outside",
        "2 links that lead nowhere",
        "1 devices",
        "links to folders",
    ):
        assert reason in notes


def test_a_socket_is_not_a_recording(tmp_path, monkeypatch):
    monkeypatch.chdir(touch(tmp_path, "a.wav"))
    with socket.socket(socket.AF_UNIX) as unix_socket:
        unix_socket.bind("s.wav")
        assert [clip.path for clip in find_clips(tmp_path).clips] == ["a.wav"]


def test_unusual_names_are_read(tmp_path):
    names = ["new\nline.wav", "tab\t.wav", "🔧.wav", "a" * 251 + ".wav", "é.wav", "e\u0301.wav", " space .wav"]
    touch(tmp_path, *(f"ma\nchine/{name}" for name in names))
    (tmp_path / os.fsdecode(b"ma\nchine/\xff.wav")).touch()
    listing = find_clips(tmp_path)
    assert len(listing.clips) == len(names) + 1
    for clip in listing.clips:
        assert (tmp_path / clip.path).is_file()
    assert len(summary(listing.clips).splitlines()) == 4
    summary(listing.clips).encode()


def test_the_variant_mark_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"a::b\.wav.*rename"):
        find_clips(touch(tmp_path, "fan/a::b.wav"))


def test_clips_can_be_pickled(tmp_path):
    clips = find_clips(touch(tmp_path, *YEARS["dcase2026"])).clips
    assert pickle.loads(pickle.dumps(clips)) == clips


def test_summary_counts_every_clip_and_stays_narrow():
    domains, labels, splits = (
        ("source", "target", "unknown"),
        ("normal", "anomaly", "unknown"),
        ("train", "supplemental"),
    )
    clips = [
        Clip(f"{i}{d}{lab}{s}", "a machine with a very long name", "id_0000", s, d, lab)
        for d in domains for lab in labels for s in splits for i in range(3)
    ]  # fmt: skip
    lines = summary(clips).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[-1].split() == ["total"] + ["6"] * 9
    assert lines[2].split()[-10:] == ["train"] + ["3"] * 9
    assert summary([]).splitlines()[-1] == "total"


def test_listing_imports_nothing_heavy():
    code = (
        "import sys, featstore.layouts.recognise; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'h5py', 'pyarrow', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_label_folders_around_dcase_names_are_no_machines(tmp_path):
    names = ("normal/section_00_0000.wav", "train/normal/section_00_0001.wav", "normal/train/section_00_0002.wav")
    other = (
        "ng/section_00_0003.wav",
        "test/good/section_00_0004.wav",
        "test/bad/section_00_test_anomaly_0005.wav",
    )
    wrong = ("normal/section_00_source_test_anomaly_0006.wav", "train/ng/section_00_0007.wav")
    listing = find_clips(touch(tmp_path, *(f"fan/{name}" for name in (*names, *other, *wrong))))
    assert {(c.path[-8:-4], c.machine, c.split, c.label) for c in listing.clips} == {
        ("0000", "fan", "train", "normal"),
        ("0001", "fan", "train", "normal"),
        ("0002", "fan", "train", "normal"),
        ("0003", "fan", "test", "anomaly"),
        ("0004", "fan", "test", "normal"),
        ("0005", "fan", "test", "anomaly"),
    }
    assert any("1 file named anomaly in a folder of normal clips" in note for note in listing.notes)
    assert any("1 file named anomaly in training data" in note for note in listing.notes)

from collections import Counter

import pytest

from featstore.errors import DataError
from featstore.layouts.recognise import find_clips


def touch(root, *paths):
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return root


def mimii(folder, n_normal, n_abnormal):
    normal = [f"{folder}/normal/{i:08d}.wav" for i in range(n_normal)]
    return normal + [f"{folder}/abnormal/{i:08d}.wav" for i in range(n_abnormal)]


def test_mimii_tests_the_first_normal_clips_one_per_abnormal(tmp_path):
    listing = find_clips(touch(tmp_path, *mimii("6_dB_fan/fan/id_00", 7, 2)))
    assert listing.layout == "mimii"
    tested = [clip.path.partition("id_00/")[2] for clip in listing.clips if clip.split == "test"]
    assert sorted(tested) == [
        "abnormal/00000000.wav",
        "abnormal/00000001.wav",
        "normal/00000000.wav",
        "normal/00000001.wav",
    ]
    assert {clip.label for clip in listing.clips if clip.split == "train"} == {"normal"}
    assert any("no split" in note for note in listing.notes)


def test_mimii_keeps_half_of_the_normal_clips_for_training(tmp_path):
    listing = find_clips(touch(tmp_path, *mimii("fan/id_00", 5, 9)))
    assert Counter((clip.split, clip.label) for clip in listing.clips) == {
        ("train", "normal"): 3,
        ("test", "normal"): 2,
        ("test", "anomaly"): 9,
    }
    assert {(clip.machine, clip.section) for clip in listing.clips} == {("fan", "id_00")}


def test_mimii_at_several_snr_is_never_pooled(tmp_path):
    folders = ["-6_dB_fan/fan/id_00", "0_dB_fan/fan/id_00", "6_dB_fan/fan/id_00", "6_dB_fan/fan/id_02"]
    listing = find_clips(touch(tmp_path, *(path for folder in folders for path in mimii(folder, 2, 1))))
    groups = {(clip.machine, clip.section, clip.attributes["snr"]) for clip in listing.clips}
    assert groups == {
        ("fan_-6_dB", "id_00", "-6_dB"),
        ("fan_0_dB", "id_00", "0_dB"),
        ("fan_6_dB", "id_00", "6_dB"),
        ("fan_6_dB", "id_02", "6_dB"),
    }


@pytest.mark.parametrize("root", ["6_dB_fan", "6_dB_fan/fan", "6_dB_fan/fan/id_00"])
def test_mimii_names_do_not_depend_on_the_folder_given(tmp_path, root):
    touch(tmp_path, *mimii("6_dB_fan/fan/id_00", 2, 1))
    assert {(clip.machine, clip.section) for clip in find_clips(tmp_path / root).clips} == {("fan_6_dB", "id_00")}


PLAIN = {
    "normal trains, abnormal is tested": {
        "fan/normal/a.wav": ("fan", "train", "normal"),
        "fan/Abnormal/b.wav": ("fan", "test", "anomaly"),
        "pump/faulty/c.wav": ("pump", "test", "anomaly"),
        "pump/OK/d.MP3": ("pump", "train", "normal"),
        "pump/NG/e.wav": ("pump", "test", "anomaly"),
        "pump/not_ok/f.au": ("pump", "test", "anomaly"),
    },
    "folders name the split": {
        "fan/train/normal/a.wav": ("fan", "train", "normal"),
        "fan/test/normal/b.wav": ("fan", "test", "normal"),
        "fan/test/anomaly/c.wav": ("fan", "test", "anomaly"),
        "test/pump/d.wav": ("pump", "test", "unknown"),
        "train/pump/e.wav": ("pump", "train", "unknown"),
    },
    "unlabelled clips train and are ranked among themselves": {
        "fan/a.wav": ("fan", "train", "unknown"),
        "fan/2024-01-01/b.wav": ("fan", "train", "unknown"),
        "pump/c.wav": ("pump", "train", "unknown"),
    },
    "unlabelled clips are tested where something is known to be normal": {
        "fan/normal/a.wav": ("fan", "train", "normal"),
        "fan/new/b.wav": ("fan", "test", "unknown"),
        "pump/train/c.wav": ("pump", "train", "unknown"),
        "pump/d.wav": ("pump", "test", "unknown"),
    },
    "a known anomaly never trains": {
        "fan/train/abnormal/a.wav": ("fan", "test", "anomaly"),
        "fan/train/normal/b.wav": ("fan", "train", "normal"),
    },
    "recordings in the root belong to a machine called like the root": {
        "a.wav": ("plant", "train", "unknown"),
        "abnormal/b.ogg": ("plant", "test", "anomaly"),
    },
}


@pytest.mark.parametrize("case", PLAIN)
def test_plain_folders(tmp_path, case):
    listing = find_clips(touch(tmp_path / "plant", *PLAIN[case]))
    assert listing.layout == "folder"
    assert {clip.path: (clip.machine, clip.split, clip.label) for clip in listing.clips} == PLAIN[case]
    assert {clip.section for clip in listing.clips} == {"00"}


def test_notes_on_plain_folders(tmp_path):
    touch(tmp_path, "fan/line 1/a.wav", "pump/normal/b.wav", "pump/train/abnormal/c.wav", "fan/section_0_x.wav")
    listing = find_clips(tmp_path)
    notes = "\n".join([*listing.notes, *listing.test_notes])
    assert "1 folder below a machine folder is read as one section" in notes
    assert "machine 'fan' has no test clips: its training clips are ranked" in notes
    assert "machine 'pump' has no normal test clips" in notes
    assert "1 anomaly in a train folder is read as a test clip" in notes
    assert "1 name begins like a DCASE name" in notes
    assert {clip.path: clip.attributes for clip in listing.clips}["fan/line 1/a.wav"] == {"folder": "line 1"}


def test_a_folder_that_resembles_a_label_is_named_with_what_becomes_of_it(tmp_path):
    files = ["fan/nromal/a.wav", "fan/nromal/b.wav", "fan/line 1/c.wav", "fan/abnormal/normal 2/d.wav"]
    notes = find_clips(touch(tmp_path, *files)).notes
    assert notes == (
        "fan/nromal is no known label (normal, abnormal, ok, faulty, ...): its 2 recordings have no label and count as "
        "training clips; rename the folder to change that",
        "2 folders below machine folders are read as one section per machine, first 'fan/line 1'; list them in a "
        "manifest to keep them apart",
    )
    notes = find_clips(touch(tmp_path, "pump/ok/a.wav", "pump/defekt/b.wav")).notes
    assert notes[0].startswith("2 folders have no known label, first fan/nromal (normal, ")
    assert "their 3 recordings have no label and count as test and training clips;" in notes[0]


def test_machines_that_lack_test_clips_share_a_note(tmp_path):
    files = [f"pump{i}/normal/a.wav" for i in range(5)] + [f"fan{i}/abnormal/a.wav" for i in range(2)]
    listing = find_clips(touch(tmp_path, *files))
    assert listing.notes == ()
    assert listing.test_notes == (
        "5 machines ('pump0', 'pump1', 'pump2' and 2 more) have no test clips: their training clips are ranked among "
        "themselves",
        "2 machines ('fan0', 'fan1') have no normal test clips; for an AUC put some in MACHINE/test/normal",
    )


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("abnormal/normal/x.wav", "the folder 'abnormal/normal' states two labels, anomaly and normal; give it one"),
        ("normal/fault/x.wav", "the folder 'normal/fault' states two labels, normal and anomaly"),
        ("train/fan/test/x.wav", "the folder 'train/fan/test' states two splits, train and test"),
    ],
)
def test_contradictory_folders_are_refused(tmp_path, path, text):
    touch(tmp_path, "normal/ok/fine.wav", path)
    with pytest.raises(DataError, match=text):
        find_clips(tmp_path)

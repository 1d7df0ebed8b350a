import pytest

from featstore.errors import DataError
from featstore.layouts.recognise import find_clips


def write(root, files):
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.fixture
def data(tmp_path):
    """Two evaluation clips of one section, a training clip of the same machine, and a labelled section."""
    return write(
        tmp_path / "data",
        {
            "fan/train/section_03_source_train_normal_0000.wav": "",
            "fan/test/section_03_0000.wav": "",
            "fan/test/section_03_0001.wav": "",
            "fan/test/section_00_target_test_normal_0000.wav": "",
        },
    )


LABEL, DOMAIN = (
    "ground_truth_data/ground_truth_fan_section_03_test.csv",
    "ground_truth_domain/ground_truth_fan_section_03_test.csv",
)
NAMED = "ground_truth_attributes/ground_truth_fan_section_03_test.csv"
OFFICIAL = {
    "2021 on: 0 and 1": {
        LABEL: "section_03_0000.wav,1\nsection_03_0001.wav,0\n",
        DOMAIN: "section_03_0000.wav,1\nsection_03_0001.wav,0\n",
    },
    "2022: attributes with a header": {
        "ground_truth_attributes/fan/attributes_03.csv": "file_name,d1p,d1v,file_name_with_attributes\n"
        "fan/test/section_03_0000.wav,f-n,A,fan/test/section_03_target_test_anomaly_0011_f-n_A.wav\n"
        "fan/test/section_03_0001.wav,f-n,B,fan/test/section_03_source_test_normal_0001_f-n_B.wav\n"
    },
    "2023: labelled names": {
        NAMED: "section_03_0000.wav,section_03_target_test_anomaly_0012_f-n_A\n"
        "section_03_0001.wav,section_03_source_normal_0035_weight15_BckgF\n",
        LABEL: "section_03_0000.wav,1\nsection_03_0001.wav,0\n",
    },
    "2024: hidden and revealed": {
        NAMED: "section_03_0000.wav,section_03_target_test_anomaly_0001_noAttribute,"
        "section_03_target_test_anomaly_0001_fl_2.wav\n"
        "section_03_0001.wav,section_03_source_test_normal_0001_noAttribute,section_03_source_test_normal_0001_fl_2.wav\n"
    },
    "list of all machines": {
        "eval_data_list_2022.csv": "pump\nsection_03_0000.wav,section_03_source_test_normal_0000.wav\nfan\n"
        "section_03_0000.wav,section_03_target_test_anomaly_0000_f-n_A.wav,1\n"
        "section_03_0001.wav,section_03_source_test_normal_0000_f-n_A.wav,0\n"
    },
}


@pytest.mark.parametrize("case", OFFICIAL)
def test_official_formats(tmp_path, data, case):
    listing = find_clips(data, ground_truth=write(tmp_path / "truth", OFFICIAL[case]))
    stated = {clip.path: (clip.split, clip.domain, clip.label) for clip in listing.clips}
    assert stated == {
        "fan/train/section_03_source_train_normal_0000.wav": ("train", "source", "normal"),
        "fan/test/section_03_0000.wav": ("test", "target", "anomaly"),
        "fan/test/section_03_0001.wav": ("test", "source", "normal"),
        "fan/test/section_00_target_test_normal_0000.wav": ("test", "target", "normal"),
    }
    assert all(clip.attributes == {} for clip in listing.clips)
    assert any("ground truth of 2 test clips" in note and "metrics only" in note for note in listing.notes)


def test_one_file_is_enough(tmp_path, data):
    truth = write(tmp_path / "truth", OFFICIAL["2021 on: 0 and 1"])
    listing = find_clips(data, ground_truth=truth / LABEL)
    assert [(c.domain, c.label) for c in listing.clips if "03_000" in c.path and c.split == "test"] == [
        ("unknown", "anomaly"),
        ("unknown", "normal"),
    ]


def test_words_in_a_table_of_a_spreadsheet(tmp_path, data):
    rows = "section_03_0000.wav;abnormal\r\nsection_03_0001.wav;OK\r\n"
    truth = write(tmp_path / "truth", {LABEL: rows})
    labels = [c.label for c in find_clips(data, ground_truth=truth).clips if "03_000" in c.path and c.split == "test"]
    assert labels == ["anomaly", "normal"]


def test_2020(tmp_path):
    data = write(tmp_path / "data", {"fan/test/id_01_00000000.wav": "", "fan/test/id_01_00000001.flac": ""})
    rows = "fan\nid_01_00000000.wav,anomaly_id_01_00000098.wav,1\nid_01_00000001.wav,normal_id_01_00000003.wav,0\n"
    truth = write(tmp_path / "truth", {"eval_data_list.csv": rows})
    assert [clip.label for clip in find_clips(data, ground_truth=truth).clips] == ["anomaly", "normal"]


def test_2021_names_state_the_domain(tmp_path):
    data = write(tmp_path / "data", {"fan/source_test/section_03_source_test_0000.wav": ""})
    name = "ground_truth_data/ground_truth_fan_section_03_source_test.csv"
    truth = write(tmp_path / "truth", {name: "section_03_source_test_0000.wav,1\n"})
    clip = find_clips(data, ground_truth=truth).clips[0]
    assert (clip.domain, clip.label) == ("source", "anomaly")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({LABEL: "section_03_0000.wav,1\n"}, r"no truth for 'fan/test/section_03_0001.wav'"),
        (
            {LABEL: "section_03_0000.wav,1\nsection_03_0001.wav,0\nsection_03_0002.wav,0\n"},
            "section_03_0002 is not among",
        ),
        (
            {LABEL: "section_03_0000.wav,1\nsection_03_0001.wav,0\nsection_03_source_train_normal_0000.wav,0\n"},
            "section_03_source_train_normal_0000 is not among the test clips",
        ),
        (
            {LABEL: "section_03_0000.wav,2\n"},
            "row 1: expected 0, 1, a word for normal or anomaly, or a labelled name; got '2'",
        ),
        ({LABEL: ""}, "_test.csv: the file is empty; expected a CSV file"),
        ({LABEL: "section_03_0000.wav\n"}, r"row 1: expected name,0\|1 or name,labelled name"),
        ({LABEL: "clip.wav,0\n"}, "'clip' is not the name of an evaluation clip"),
        (
            {LABEL: "section_03_0000.wav,1\nsection_03_0000.wav,0\n"},
            "row 2: fan section_03_0000 is normal, but anomaly at",
        ),
        ({"other.csv": "section_03_0000.wav,1\n"}, "no ground truth; expected"),
        ({"fan/attributes_03.csv": "file_name,d1p,d1v\nsection_03_0000,vel,6\n"}, "no ground truth"),
        (
            {"ground_truth_data/ground_truth_pump_section_03_test.csv": "section_03_0000.wav,1\n"},
            "none of its 1 names belongs",
        ),
        (
            {
                "ground_truth_data/ground_truth_fan_section_00_test.csv": "section_00_target_test_normal_0000.wav,1\n",
            },
            "is anomaly, but its name or folder says normal",
        ),
    ],
)
def test_contradictions_are_errors(tmp_path, data, files, message):
    with pytest.raises(DataError, match=message):
        find_clips(data, ground_truth=write(tmp_path / "truth", files))


def test_other_sections_are_noted(tmp_path, data):
    write(data, {"pump/test/section_03_0000.wav": ""})
    other = "ground_truth_data/ground_truth_fan_section_04_test.csv"
    truth = write(tmp_path / "truth", {**OFFICIAL["2021 on: 0 and 1"], other: "section_04_0000.wav,1\n"})
    notes = "\n".join(find_clips(data, ground_truth=truth).notes)
    assert "2 sections without ground truth, first fan 00" in notes
    assert "1 sections of the truth are not in the data, first fan 04" in notes


def test_two_test_clips_of_one_name_are_an_error(tmp_path, data):
    write(data, {"fan/test/section_03_0000.flac": ""})
    with pytest.raises(DataError, match="two test clips of fan 03 have this name"):
        find_clips(data, ground_truth=write(tmp_path / "truth", OFFICIAL["2021 on: 0 and 1"]))


def test_missing_source(tmp_path, data):
    with pytest.raises(DataError, match="no such file or folder"):
        find_clips(data, ground_truth=tmp_path / "none")

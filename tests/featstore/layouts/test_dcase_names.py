import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import SHARED_DATA

from featstore.clip import Clip
from featstore.layouts.dcase_names import parse_any_name, parse_attributes, parse_id_name, parse_section_name
from featstore.layouts.recognise import LAYOUTS
from featstore.layouts.tree import Tree, stem

NAMES = SHARED_DATA / "file_names"

token = st.text(st.characters(blacklist_characters="_/\0", blacklist_categories=["Cs"]), min_size=1, max_size=6)


def spellings(attributes):
    """Every text that may have been parsed into these attributes: "key_value" pairs, or values glued to their keys."""
    pairs = [(re.sub(r"_[0-9]+$", "", key), value) for key, value in attributes.items()]
    yield "_".join(part for key, value in pairs for part in (key, value) if part)
    yield "_".join(key + value for key, value in pairs)


@pytest.mark.parametrize(
    ("stem", "stated"),
    [
        ("id_05_00000000", ("id_05", "", "", "", "")),
        ("normal_id_00_00000012", ("id_00", "", "", "normal", "")),
        ("section_03_source_test_0000", ("03", "test", "source", "", "")),
        ("section_03_0007", ("03", "", "", "", "")),
        ("section_03_test_0007", ("03", "test", "", "", "")),
        ("section_00_target_train_normal_0000_noAttribute", ("00", "train", "target", "normal", "noAttribute")),
        ("section_00_source_normal_0035_weight15_BckgF", ("00", "", "source", "normal", "weight15_BckgF")),
        ("section_00_source_test_anomaly_0001_volt_1.5_wt_0", ("00", "test", "source", "anomaly", "volt_1.5_wt_0")),
        ("section_00_source_supplemental_machine_0003", ("00", "supplemental", "source", "machine", "")),
        ("section_00_noise_supplemental_normal_0003", ("00", "supplemental", "noise", "normal", "")),
    ],
)
def test_fields_of_names(stem, stated):
    assert tuple(parse_any_name(stem)) == stated


@pytest.mark.parametrize(
    "stem",
    [
        "section_00",
        "section_x_0000",
        "section_00_source_test_normal",
        "section_00_SOURCE_test_normal_0000",
        "section_00_test_source_normal_0000",
        "xsection_00_0000",
        "section_00_0000_",
        "normal_id_00",
        "abnormal_id_00_00000000",
        "id_00_0000_spd_1",
        "section_\u0660\u0660_0000",
        "",
    ],
)
def test_other_names_are_not_parsed(stem):
    assert parse_any_name(stem) is None


@pytest.mark.parametrize(
    ("tail", "attributes"),
    [
        ("car_A1_spd_28V_mic_1", {"car": "A1", "spd": "28V", "mic": "1"}),
        ("car_B1_spd_3_mic_2_mic_1", {"car": "B1", "spd": "3", "mic": "2", "mic_2": "1"}),
        ("spd1000_BckgC", {"spd": "1000", "Bckg": "C"}),
        ("weight25_BckgB", {"weight": "25", "Bckg": "B"}),
        ("vel_14_f-n_A", {"vel": "14", "f-n": "A"}),
        ("v1pat_none_v2pat_B", {"v1pat": "none", "v2pat": "B"}),
        ("v1pat_05", {"v1pat": "05"}),
        ("pat_04_panel_bs-c", {"pat": "04", "panel": "bs-c"}),
        ("n_A", {"n": "A"}),
        ("n-lv_L2", {"n-lv": "L2"}),
        ("strength_1_ambient", {"strength": "1", "ambient": ""}),
        ("strength_1_Fact_D_ambient", {"strength": "1", "Fact": "D", "ambient": ""}),
        ("m1_3", {"m1": "3"}),
        ("noAttribute", {}),
        ("", {}),
    ],
)
def test_attributes_of_real_tails(tail, attributes):
    assert parse_attributes(tail) == attributes


@given(st.lists(token, min_size=1, max_size=9))
def test_no_token_is_lost(tokens):
    tail = "_".join(tokens)
    if tail != "noAttribute":
        assert tail in set(spellings(parse_attributes(tail)))


def test_each_call_returns_its_own_attributes():
    parse_attributes("vel_6")["vel"] = "7"
    assert parse_attributes("vel_6") == {"vel": "6"}


@given(st.text(max_size=40))
def test_any_text_gives_a_name_or_none(text):
    name = parse_section_name(text) or parse_id_name(text)
    assert name is None or name.section in text


def rebuilt(clip: Clip, number: str) -> set[str]:
    """Every path that states exactly the fields of `clip`."""
    label = "" if clip.label == "unknown" else clip.label
    if clip.section.startswith("id_"):
        name = "_".join(filter(None, [label, clip.section, number]))
        return {f"{clip.machine}/{clip.split}/{name}.wav"}
    stated = [] if clip.domain == "unknown" else [clip.domain, clip.split, label]
    name = "_".join(["section", clip.section, *stated, number])
    tails = {"", "_noAttribute"} if not clip.attributes else {f"_{tail}" for tail in spellings(clip.attributes)}
    folders = {clip.split, f"{clip.domain}_test"}
    return {f"{clip.machine}/{folder}/{name}{tail}.wav" for folder in folders for tail in tails}


@pytest.mark.parametrize("year", range(2020, 2027))
def test_fields_of_every_real_name_are_complete(year):
    files = sorted(NAMES.glob(f"dcase{year}*.txt"))
    if not files:
        pytest.skip("lists of real file names are not here")
    paths = sorted({line for file in files for line in file.read_text().splitlines()})
    clips, notes, _ = LAYOUTS[f"dcase{year}"].read(Tree(Path("data"), audio=paths))
    assert [clip.path for clip in clips] == paths
    assert notes == []
    for clip in clips:
        number = re.search(r"_([0-9]{4,8})(?=_|$)", stem(clip.path))[1]
        assert clip.path in rebuilt(clip, number)

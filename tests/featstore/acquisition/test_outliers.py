"""Each kind of outlier fires where it should, and not on clean recordings."""

from dataclasses import replace

import numpy as np
import pytest
from acquired import recordings

from featstore.acquisition.outliers import ACROSS, IN_TEST, IN_TRAINING, Finding, findings_of, sections_of
from featstore.acquisition.recordings import Recordings
from featstore.audio.policy import AudioPolicy
from featstore.table import encode

ODD = {
    "sample rate": {"sample_rate_hz": 8000, "n_samples": 80_000, "bandwidth_hz": 4000.0},
    "length": {"n_samples": 32_000},
    "channels": {"channels": 2},
    "level": {"level_dbfs": 60.0},
    "bandwidth": {"bandwidth_hz": 4000.0},
    "clipping": {"clipped": 0.01},
    "DC offset": {"dc_offset": 0.3},
    "drop-outs": {"dropouts": 1.0, "dropout_s": 0.01, "zero_run_s": 0.01},
    "zeros": {"zero_run_s": 2.0},
    "silent": {"outcome": "silent", "level_dbfs": -200.0, "zero_run_s": 10.0, "bandwidth_hz": np.nan},
}


def found(data: Recordings) -> dict[str, tuple[int, ...]]:
    return {finding.what: finding.rows for finding in findings_of(data)}


def only(data: Recordings) -> Finding:
    [finding] = findings_of(data)
    return finding


@pytest.mark.parametrize(("train", "test"), [(20, 10), (20, 0), (0, 10), (3, 1), (1, 1)])
def test_clean_recordings_have_no_outlier(train: int, test: int) -> None:
    assert findings_of(recordings(train, test)) == []


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize("row", [0, 25], ids=["training", "test"])
def test_each_kind_is_found_alone(what: str, row: int) -> None:
    assert found(recordings(odd={row: ODD[what]})) == {what: (row,)}


@pytest.mark.parametrize("what", ODD)
def test_without_training_clips_the_others_are_the_bank(what: str) -> None:
    finding = only(recordings(0, 12, odd={3: ODD[what]}))
    assert (finding.what, finding.rows, finding.trained) == (what, (3,), False)


def test_a_clip_of_a_small_bank_is_not_like_itself() -> None:
    assert found(recordings(8, 4, odd={0: ODD["level"]})) == {"level": (0,)}


@pytest.mark.parametrize(
    "facts",
    [
        {"level_dbfs": -15.0},  # a fault may be louder
        {"n_samples": 120_000},
        {"clipped": 0.0005},
        {"dc_offset": 0.01},
        {"zero_run_s": 0.05},
        {"bandwidth_hz": 7800.0},
    ],
    ids=str,
)
def test_small_differences_are_none(facts: dict[str, object]) -> None:
    assert findings_of(recordings(odd={0: facts, 25: facts})) == []


@pytest.mark.parametrize("what", [what for what in ODD if what != "silent"])
def test_what_three_training_clips_have_is_usual(what: str) -> None:
    known = dict.fromkeys((0, 1, 2, 3), ODD[what])
    assert findings_of(recordings(40, 10, odd=known | {45: ODD[what]})) == []


@pytest.mark.parametrize("what", [what for what in ODD if what != "silent"])
def test_one_odd_training_clip_does_not_excuse_a_test_clip(what: str) -> None:
    assert found(recordings(odd={0: ODD[what], 25: ODD[what]})) == {what: (0, 25)}


def test_an_offset_is_small_beside_a_loud_sound() -> None:
    loud: dict[str, object] = {"level_dbfs": -12.0, "dc_offset": 0.08}
    assert findings_of(recordings(odd={25: loud})) == []


def test_the_bank_and_the_values_are_named() -> None:
    data = recordings(odd={20: ODD["sample rate"], 21: {**ODD["sample rate"], "sample_rate_hz": 4000}})
    finding = findings_of(data)[0]
    assert (finding.values, finding.span, finding.bank) == (("8000 Hz", "4000 Hz"), "4000 to 8000 Hz", "16000 Hz")


def test_a_length_that_the_policy_cuts_is_no_difference() -> None:
    data = recordings(odd={25: {"n_samples": 1_600_000}})
    assert found(data) == {"length": (25,)}
    assert findings_of(replace(data, policy=AudioPolicy("0", "crop:10"))) == []


def test_unknown_facts_are_no_outliers() -> None:
    unknown: dict[str, object] = dict.fromkeys(
        ("level_dbfs", "peak", "clipped", "dc_offset", "dropouts", "dropout_s", "zero_run_s", "bandwidth_hz"), np.nan
    )
    unknown |= {"sample_rate_hz": 0, "n_samples": 0, "channels": 0, "content_hash": ""}
    assert findings_of(recordings(odd=dict.fromkeys(range(0, 30, 2), unknown))) == []


def test_faults_and_silence_in_training_are_not_in_the_bank_and_supplemental_clips_are_not_compared() -> None:
    data = recordings(odd={0: {"outcome": "silent"}})
    label, split = data.clips.column("label").astype(object), data.clips.column("split").astype(object)
    label[1], split[2] = "anomaly", "supplemental"
    columns = {**data.clips.columns, "label": encode(label), "split": encode(split)}
    [section] = sections_of(replace(data, clips=type(data.clips)(columns)))
    assert section.bank.tolist() == list(range(3, 20))
    assert section.rows.tolist() == [0, 1, *range(3, 30)]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ((0, 5), {IN_TRAINING: (5,)}),
        ((22, 25), {IN_TEST: (25,)}),
        ((3, 22, 25), {ACROSS: (22, 25)}),
        ((0, 5, 22), {ACROSS: (22,), IN_TRAINING: (5,)}),
    ],
)
def test_copies_are_found(rows: tuple[int, ...], expected: dict[str, tuple[int, ...]]) -> None:
    data = recordings(odd={row: {"content_hash": "f" * 32} for row in rows})
    assert found(data) == expected
    assert findings_of(data, copies=False) == []
    assert findings_of(data)[0].values[0] == data.clips[rows[0]].key


def test_silent_clips_are_no_copies() -> None:
    silent = {**ODD["silent"], "content_hash": "f" * 32}
    assert found(recordings(odd={0: silent, 25: silent})) == {"silent": (0, 25)}


def test_windows_of_one_recording_are_no_copies() -> None:
    data = recordings(odd={row: {"content_hash": "f" * 32} for row in (0, 1)})
    paths = data.clips.column("path").astype(object)
    paths[0], paths[1] = "a.wav#t=0,10", "a.wav#t=10,20"
    windows = replace(data, clips=type(data.clips)({**data.clips.columns, "path": encode(paths)}))
    assert findings_of(windows) == []
    paths[1] = "b.wav#t=0,10"
    same = replace(data, clips=type(data.clips)({**data.clips.columns, "path": encode(paths)}))
    assert found(same) == {IN_TRAINING: (1,)}

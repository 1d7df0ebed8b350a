"""Blocks of clips that hang together: days from names and attributes, copies, sections without a second block."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from ensemble.groups import ALONE, blocks_of, day_of, filled
from featstore.clip import Clip
from featstore.errors import DataError
from featstore.table import ClipTable


def clip(path: str, attributes: Mapping[str, str] | None = None) -> Clip:
    return Clip(path, "fan", "00", "train", attributes=attributes or {})


def blocks(group: str, paths: Sequence[str], *, identity: Sequence[str] = (), section: Sequence[str] = ()):
    clips = ClipTable.from_clips([clip(path) for path in paths])
    return blocks_of(group, clips, identity or paths, np.array(section or ["00"] * len(paths)))


DAYS = [f"2024-01-{day:02d}_{i}.wav" for day in range(1, 6) for i in range(3)]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("fan/20240131.wav", "2024-01-31"),
        ("fan/x_2024-01-31T09-30-00.wav", "2024-01-31"),
        ("fan/2024_01_31_12h.wav", "2024-01-31"),
        ("fan/rec2024.01.31.wav", "2024-01-31"),
        ("fan/20240131093000_ch1.wav", "2024-01-31"),
        ("fan/202401310930.wav", "2024-01-31"),
        ("2023-05-01/20240131.wav", "2024-01-31"),
        ("2023-05-01/2024-02-02/x.wav", "2024-02-02"),
        ("fan/20240231_then_20240301.wav", "2024-03-01"),
        ("fan/2024-0131.wav", ""),
        ("fan/120240131.wav", ""),
        ("fan/202401317.wav", ""),
        ("fan/20241301.wav", ""),
        ("fan/section_00_normal_0012.wav", ""),
    ],
)
def test_the_day_of_a_file_name(path: str, expected: str) -> None:
    assert day_of(clip(path)) == expected


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"day": "3"}, "3"),
        ({"date": "2024-02-03"}, "2024-02-03"),
        ({"timestamp": "2024-02-03T23:59:59Z", "speed": "20240101"}, "2024-02-03"),
        ({"time": "2024-02-03 08:00"}, "2024-02-03"),
        ({"time": "08:00"}, "2024-01-31"),
        ({"day": "", "speed": "4"}, "2024-01-31"),
    ],
)
def test_the_day_of_attributes_comes_before_that_of_the_name(attributes: Mapping[str, str], expected: str) -> None:
    assert day_of(clip("fan/20240131.wav", attributes)) == expected


def test_blocks_are_days_of_a_section() -> None:
    number, notes = blocks("day", DAYS)
    np.testing.assert_array_equal(number, np.repeat(np.arange(5), 3))
    assert notes == ()
    number, _ = blocks("day", DAYS[:6] + DAYS[:6], section=["00"] * 6 + ["01"] * 6)
    np.testing.assert_array_equal(number, np.repeat(np.arange(4), 3))


def test_copies_join_the_blocks_that_they_are_in() -> None:
    contents = [f"hash {i}" for i in range(15)]
    contents[13] = contents[1]
    number, _ = blocks("day", DAYS, identity=contents)
    assert number[0] == number[1] == number[13] == number[14]
    assert len(set(number.tolist())) == 4
    apart, _ = blocks("day", DAYS + DAYS, identity=contents * 2, section=["00"] * 15 + ["01"] * 15)
    assert not set(apart[:15].tolist()) & set(apart[15:].tolist()), "copies in another section join nothing"


def test_recordings_are_clips_of_equal_path_or_content() -> None:
    number, notes = blocks("recording", ["a.wav", "b.wav", "a.wav", "c.wav"], identity=["1", "2", "3", "2"])
    assert number[0] == number[2]
    assert number[1] == number[3]
    assert number[0] != number[1]
    assert not any("changes nothing" in note for note in notes)
    _, notes = blocks("recording", ["a.wav", "b.wav"])
    assert "--group recording changes nothing: every training clip is a recording of its own" in notes


def test_an_attribute_is_a_group() -> None:
    clips = ClipTable.from_clips(
        [clip(f"{i}.wav", {"shift": "ab"[i % 2], "recording": "xyz"[i % 3]}) for i in range(6)]
    )
    paths, section = clips.keys(), np.full(6, "00")
    np.testing.assert_array_equal(blocks_of("shift", clips, paths, section).number, [0, 1, 0, 1, 0, 1])
    np.testing.assert_array_equal(blocks_of("recording", clips, paths, section).number, [0, 1, 2, 0, 1, 2])


def test_clips_without_a_day_are_left_out_singly() -> None:
    number, notes = blocks("day", [*DAYS, "x.wav", "y.wav"])
    assert len(set(number.tolist())) == 7
    assert notes == ("--group day: 2 of 17 training clips have no day; they are left out singly",)


def test_a_section_of_one_day_keeps_single_clips_and_few_days_are_named() -> None:
    section = ["machine fan section 00"] * 9 + ["machine fan section 01"] * 3
    number, notes = blocks("day", [*DAYS[:9], *DAYS[:3]], section=section)
    np.testing.assert_array_equal(number[9:], ALONE)
    assert notes[0].startswith("--group day: machine fan section 01 has only one day, so single clips are left out")
    assert notes[1].startswith("--group day: machine fan section 00 has at most 3, so the reference scores come from")
    np.testing.assert_array_equal(filled(number, np.arange(12))[9:], number.max() + 1 + np.arange(9, 12))


@pytest.mark.parametrize(
    ("group", "paths", "message"),
    [
        (
            "day",
            ["a.wav", "b.wav"],
            r"no training clip has a day, such as .*the first is 'a\.wav'.*attr_day to a manifest",
        ),
        (
            "dya",
            ["a.wav", "b.wav"],
            "no training clip has the attribute 'dya'; choose recording, day; did you mean day",
        ),
        ("day", DAYS[:3], r"every section are of one day \(00: '2024-01-01'\), so none .*leave --group out"),
    ],
)
def test_what_cannot_be_grouped_is_refused(group: str, paths: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        blocks(group, paths)

"""Machine and section of a recording by its path."""

import pytest

from ensemble.scoring.places import place_of
from featstore.errors import DataError

SECTIONS = [("fan", "00"), ("fan", "01"), ("pump", "00"), ("pump", "02")]


@pytest.mark.parametrize(
    ("path", "machine", "section", "place"),
    [
        ("fan/test/section_01_0001.wav", "", "", ("fan", "01")),
        ("data/pump/section_02/a.wav", "", "", ("pump", "02")),
        ("data\\pump\\02\\a.wav", "", "", ("pump", "02")),
        ("pump_02.wav", "", "", ("pump", "02")),
        ("02-new.pump.wav", "", "", ("pump", "02")),
        ("a.wav", "pump", "02", ("pump", "02")),
        ("fan_00.wav", "pump", "02", ("pump", "02")),
        ("fan/section_00.wav", "pump", "", ("pump", "00")),
        ("pump/x.wav", "", "02", ("pump", "02")),
        ("x.wav", "", "02", ("pump", "02")),
        ("x.wav", "", "01", ("fan", "01")),
    ],
)
def test_what_is_given_and_else_the_names_in_the_path(
    path: str, machine: str, section: str, place: tuple[str, str]
) -> None:
    assert place_of(path, SECTIONS, machine, section) == place


def test_names_like_id_02_and_a_single_section() -> None:
    assert place_of("valve/id_02/0001.wav", [("valve", "id_00"), ("valve", "id_02")]) == ("valve", "id_02")
    assert place_of("id_02_0001.wav", [("valve", "id_00"), ("valve", "id_02")]) == ("valve", "id_02")
    assert place_of("anything.wav", [("valve", "")]) == ("valve", "")


@pytest.mark.parametrize(
    ("path", "machine", "section", "words"),
    [
        ("x.wav", "", "", r"x\.wav: which machine and section\? .* the model knows fan/00, fan/01, pump/00, pump/02"),
        ("", "", "00", r"^which machine and section\?"),
        ("fan/x.wav", "", "", "which machine and section"),
        ("fanatic/section_01.wav", "pump", "", "which machine and section"),
        ("x.wav", "pumb", "", r"no machine 'pumb'; it knows fan, pump; did you mean pump\?"),
        ("x.wav", "pump", "01", r"no section pump/01; it knows fan/00.*; did you mean pump/0"),
        ("x.wav", "", "09", r"no section \*/09"),
    ],
)
def test_what_is_unclear_is_asked_for(path: str, machine: str, section: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        place_of(path, SECTIONS, machine, section)

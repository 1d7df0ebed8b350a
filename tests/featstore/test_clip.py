"""Clip keys as a terminal shows them."""

import pytest

from featstore.clip import path_tail


@pytest.mark.parametrize(
    ("key", "tail"),
    [
        ("data/fan/test/00.wav::leak@0dB#1", "fan/test/00.wav::leak@0dB#1"),
        ("fan/test/00.wav", "fan/test/00.wav"),
        ("00.wav", "00.wav"),
        ("", ""),
    ],
)
def test_the_tail_of_a_key_is_its_last_three_parts(key: str, tail: str) -> None:
    assert path_tail(key) == tail


def test_the_tail_of_a_key_names_the_machine() -> None:
    assert path_tail("raw/fan/test/normal/00.wav", "fan") == "fan/test/normal/00.wav"
    assert path_tail("raw/fan/test/00.wav", "fan") == "fan/test/00.wav"
    assert path_tail("6_dB_fan/fan/id_00/normal/00.wav", "fan_6_dB") == "id_00/normal/00.wav"

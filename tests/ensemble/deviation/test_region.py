"""The sentence that names a region."""

import pytest

from ensemble.deviation.region import Region


@pytest.mark.parametrize(
    ("region", "sentence"),
    [
        (Region(3.21, 4.06, 2000, 4000, 9.2, 5), "3.2 to 4.1 s, 2 to 4 kHz, 9 dB above normal"),
        (Region(3.21, 3.26, 2000, 4000, 9.2, 5), "3.21 to 3.26 s, 2 to 4 kHz, 9 dB above normal"),
        (Region(0, 10, 50, 400, -3.4, 5), "0.0 to 10.0 s, 50 to 400 Hz, 3 dB below normal"),
        (Region(0, 1, 800, 1210, 6, 5), "0.0 to 1.0 s, 800 Hz to 1.2 kHz, 6 dB above normal"),
        (Region(0, 1, 50, 400, -0.4, 5), "0.0 to 1.0 s, 50 to 400 Hz, less than 1 dB below normal"),
        (Region(0, 1, 998, 8000, 6, 5), "0.0 to 1.0 s, 1 to 8 kHz, 6 dB above normal"),
    ],
)
def test_a_region_is_a_sentence(region: Region, sentence: str) -> None:
    assert str(region) == sentence


def test_a_region_is_rounded_in_json() -> None:
    assert Region(1.23456, 2, 100.06, 200, 3.14159, 4.5).as_json() == {
        "start_s": 1.235,
        "end_s": 2,
        "low_hz": 100.1,
        "high_hz": 200,
        "excess_db": 3.14,
        "z": 4.5,
    }

"""Times and clips as a person reads them."""

import pytest

from ensemble.windows.screen import clip_title, clock


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0:00"),
        (5.04, "0:05"),
        (65.25, "1:05.2"),
        (59.96, "1:00"),
        (3599.99, "1:00:00"),
        (3723.5, "1:02:03.5"),
        (90_000, "25:00:00"),
        (None, "?"),
        (1e308, "1e+308 s"),
        (float("inf"), "inf s"),
        (float("nan"), "?"),
    ],
)
def test_times_are_rounded_to_tenths(seconds: float | None, expected: str) -> None:
    assert clock(seconds) == expected


def test_a_window_has_the_name_of_its_recording_and_its_times() -> None:
    assert clip_title("fan/a.wav#t=65,75.5") == "fan/a.wav, 1:05 to 1:15.5"
    assert clip_title("fan/a.wav") == "fan/a.wav"
    assert clip_title("fan/a#t=1.wav") == "fan/a#t=1.wav"

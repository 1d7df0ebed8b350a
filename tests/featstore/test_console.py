"""What the commands show while they work."""

import time

import pytest

from featstore.console import Meter, counted


def test_a_meter_counts_one_thing_after_another(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Meter("members") as meter:
        candidates, members = meter.count("candidates"), meter.count("members")
        for done in (0, 50, 100):
            candidates(done, 100)
            now[0] += 10
        meter.say("chosen: \x1b[2J")
        members(0, 4)
        now[0] += 2
        members(4, 4)
    lines = capsys.readouterr().err.splitlines()
    assert lines[1].startswith("50/100 candidates (50%) 5 candidates/s ETA 0:10")
    assert lines[3] == "chosen: \\x1b[2J"
    assert lines[5].startswith("4/4 members (100%) 2 members/s"), "the time of the candidates does not count"


def test_a_line_is_printed_below_the_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    meter = Meter()
    meter.live = True
    with meter:
        meter.count("candidates")(1, 2)
        meter.say("chosen: ten")
        meter.count("members")(2, 2)
    lines = capsys.readouterr().err.splitlines()
    assert "chosen: ten" in lines
    at = lines.index("chosen: ten")
    assert "1/2 candidates" in "".join(lines[:at])
    assert "2/2 members" in "".join(lines[at:])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (counted(1, "clip"), "1 clip"),
        (counted(0, "clip"), "0 clips"),
        (counted(1234, "clip"), "1,234 clips"),
        (counted(2, "copy", "copies"), "2 copies"),
        (counted(1, "copy", "copies"), "1 copy"),
    ],
)
def test_a_number_agrees_with_its_noun(text: str, expected: str) -> None:
    assert text == expected

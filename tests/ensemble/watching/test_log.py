"""The log file, and the signals that end a run."""

import os
import re
import signal
from pathlib import Path

import pytest

from ensemble.watching import log as log_module
from ensemble.watching.log import ended_by_signals, open_log


def test_lines_have_a_time_and_hold_no_control_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_log(tmp_path / "logs" / "watch.log") as say:
        say("a\x1b[31m.wav %s\nforged")
    text = (tmp_path / "logs" / "watch.log").read_text()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ a\\x1b\[31m.wav %s\\nforged\n", text)
    assert capsys.readouterr().err == text


def test_the_file_rotates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "LOG_BYTES", 200)
    with open_log(tmp_path / "watch.log") as say:
        for _ in range(100):
            say("x" * 50)
    assert len(list(tmp_path.iterdir())) == 6


def test_a_signal_stops_and_a_second_one_interrupts() -> None:
    stops: list[bool] = []
    before = signal.getsignal(signal.SIGTERM)
    with ended_by_signals(lambda: stops.append(True)) as came:
        os.kill(os.getpid(), signal.SIGTERM)
        assert (stops, came) == ([True], [signal.SIGTERM])
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before

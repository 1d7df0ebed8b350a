"""`detect watch` and `detect stream` as a user drives them, with a model that only hears how loud it is."""

import json
import os
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner, Result
from watching import RATE, Listener

from ensemble.cli import main
from ensemble.watching.journal import read_records
from featstore.audio.policy import AudioPolicy

pytestmark = pytest.mark.usefixtures("unsynced")


@pytest.fixture
def scorer(monkeypatch: pytest.MonkeyPatch) -> Listener:
    """The model that every command loads."""
    scorer = Listener()
    module: Any = ModuleType("ensemble.scoring.model")
    module.Model = type("Model", (), {"load": staticmethod(lambda path: scorer)})
    monkeypatch.setitem(sys.modules, "ensemble.scoring.model", module)
    return scorer


@pytest.fixture
def plant(tmp_path: Path, scorer: Listener) -> Path:
    (tmp_path / "plant.model").write_bytes(b"")
    (tmp_path / "sound").mkdir()
    write(tmp_path, "a", 0.1)
    write(tmp_path, "b", 0.9)
    return tmp_path


def write(plant: Path, name: str, level: float) -> None:
    sf.write(plant / "sound" / f"{name}.wav", np.full(RATE, level), RATE, subtype="PCM_16")


def watch(plant: Path, *more: object) -> Result:
    words = ["watch", plant / "plant.model", plant / "sound", "--interval", 0.01, "--settle", 0.01, *more]
    return CliRunner().invoke(main, [str(word) for word in words])


def stream(plant: Path, source: object, *more: object, data: bytes | None = None) -> Result:
    words = ["stream", plant / "plant.model", source, *more]
    return CliRunner().invoke(main, [str(word) for word in words], input=data)


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(text) for text in result.stdout.splitlines()]


def types(result: Result) -> list[str]:
    return sorted(line["type"] for line in lines(result))


def test_once_scores_what_is_there_and_nothing_twice(plant: Path) -> None:
    result = watch(plant, "--once")
    assert result.exit_code == 0, result.output
    assert types(result) == ["alarm", "heartbeat", "result", "result"]
    assert (plant / "plant.model.journal" / "lock").exists()
    again = watch(plant, "--once")
    assert (again.exit_code, types(again)) == (0, ["heartbeat"])


def test_alarms_only(plant: Path) -> None:
    assert types(watch(plant, "--once", "--alarms-only")) == ["alarm", "heartbeat"]


def test_the_exit_code_tells_of_an_anomaly_where_asked(plant: Path) -> None:
    assert watch(plant, "--once", "--fail-on-anomaly", "--journal", plant / "j").exit_code == 6
    assert watch(plant, "--once", "--fail-on-anomaly", "--journal", plant / "j").exit_code == 0
    assert watch(plant, "--fail-on-anomaly").exit_code == 2


def test_the_exit_code_tells_of_rejected_files(plant: Path) -> None:
    (plant / "sound" / "c.flac").write_bytes(b"no sound")
    result = watch(plant, "--once")
    assert result.exit_code == 3
    assert "c.flac: rejected" in result.stderr


def test_a_command_and_a_log(plant: Path) -> None:
    kept = plant / "kept"
    result = watch(plant, "--once", "--on-alarm", f"dd of={kept} status=none", "--log", plant / "log")
    assert result.exit_code == 0, result.output
    assert json.loads(kept.read_bytes()) == next(line for line in lines(result) if line["type"] == "alarm")
    assert "alarm" in (plant / "log").read_text()


def test_a_command_that_fails_changes_nothing_else(plant: Path) -> None:
    result = watch(plant, "--once", "--on-alarm", "false")
    assert (result.exit_code, types(result)) == (0, ["alarm", "heartbeat", "result", "result"])
    assert "command: alarm" in result.stderr
    records = list(read_records(plant / "plant.model.journal"))
    assert [r["outcomes"] for r in records if "outcomes" in r] == [
        {next(line["id"] for line in lines(result) if line["type"] == "alarm"): "false ended with exit code 1"}
    ]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_with_the_state_kept(plant: Path, scorer: Listener, number: int, code: int) -> None:
    scorer.before = lambda path: os.kill(os.getpid(), number)
    result = watch(plant, "--poll")
    assert (result.exit_code, len(scorer.scored)) == (code, 1)
    scorer.before = lambda path: None
    assert watch(plant, "--once").exit_code == 0
    assert sorted(scorer.scored) == ["a.wav", "b.wav"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--webhook", "file:///etc/passwd"], "expected http://"),
        (["--on-alarm", "'"], "No closing quotation"),
        (["--existing", "maybe"], "--existing"),
        (["--settle", "0"], "--settle"),
    ],
)
def test_options_that_are_refused(plant: Path, words: list[str], message: str) -> None:
    result = watch(plant, "--once", *words)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_folder_that_is_not_there_is_refused(plant: Path) -> None:
    (plant / "sound").rename(plant / "other")
    assert watch(plant, "--once").exit_code == 2


def test_two_watches_on_one_journal(plant: Path) -> None:
    from ensemble.watching.journal import Journal

    with Journal(plant / "plant.model.journal", say=print):
        result = watch(plant, "--once")
    assert result.exit_code == 4
    assert f"is being written by process {os.getpid()}" in result.stderr


def samples(*levels: float) -> bytes:
    return np.repeat(np.array([round(level * 32767) for level in levels], "<i2"), RATE).tobytes()


def test_raw_samples_from_stdin(plant: Path) -> None:
    result = stream(plant, "-", "--rate", RATE, data=samples(0.1, 0.9) + b"x")
    assert result.exit_code == 0, result.output
    assert types(result) == ["alarm", "alarm_end", "heartbeat", "result", "result", "result"]
    assert "left out 1 byte of an unfinished sample" in result.stderr
    assert stream(plant, "-", "--rate", RATE, "--fail-on-anomaly", data=samples(0.9)).exit_code == 6
    assert stream(plant, "-", "--rate", RATE, "--fail-on-anomaly", data=samples(0.1)).exit_code == 0


def test_a_wav_file_and_windows_of_ones_own(plant: Path) -> None:
    result = stream(plant, plant / "sound" / "a.wav", "--window", 0.5, "--hop", 0.25)
    assert [line["start_s"] for line in lines(result) if line["type"] == "result"] == [0, 0.25, 0.5]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["-"], 2, "need --rate"),
        (["-", "--rate", "1000", "--channel", "left"], 2, "expected 0, 1, ..., mean"),
        (["-", "--rate", "1000", "--channel", "0-1"], 2, "subtracted from whole clips"),
        (["-", "--rate", "1000", "--channel", "0,1"], 2, "a stream gives one wave"),
        (["-", "--rate", "1000", "--channel", "1"], 2, "the stream has 1"),
        (["-", "--rate", "1000", "--hop", "9"], 2, "--hop 9"),
        (["missing"], 2, "missing"),
    ],
)
def test_streams_that_are_refused(plant: Path, words: list[str], code: int, message: str) -> None:
    result = stream(plant, *words, data=samples(0.1))
    assert (result.exit_code, message in result.stderr) == (code, True), result.output


@pytest.mark.parametrize("channel", ["0-1", "0,1", "1"])
def test_a_model_of_several_channels_scores_no_stream(
    plant: Path, scorer: Listener, channel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorer, "policy", AudioPolicy(channel))
    result = stream(plant, "-", "--rate", RATE, data=samples(0.1))
    assert result.exit_code == 2
    assert f"its clips were read with --channel {channel}, and a stream gives one wave" in result.stderr
    assert scorer.scored == scorer.lengths == []


def test_no_sound_is_an_error(plant: Path) -> None:
    result = stream(plant, "-", "--rate", RATE, data=b"")
    assert result.exit_code == 1
    assert "ended without a sample" in result.stderr


def test_a_signal_ends_a_stream(plant: Path, scorer: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    real = scorer.score

    def score(*words: Any, **more: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*words, **more)

    monkeypatch.setattr(scorer, "score", score)
    result = stream(plant, "-", "--rate", RATE, data=samples(*[0.9] * 9))
    assert (result.exit_code, types(result)) == (0, ["alarm", "alarm_end", "heartbeat", "result"])

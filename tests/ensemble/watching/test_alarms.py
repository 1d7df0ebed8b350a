"""Runs of anomalous clips: one alarm each, whatever files they lie in."""

import math

import numpy as np
import pytest
from watching import verdict

from ensemble.watching.alarms import (
    Message,
    Run,
    Source,
    ended,
    follow,
    identity,
    plain_values,
    quiet_seconds,
    silent,
    utc,
)

QUIET = 30.0


def heard(*clips: tuple[float, float]) -> tuple[list[Message], list[Run]]:
    """Messages and runs after files of one clip of 10 s each; (time, score)."""
    messages: list[Message] = []
    runs: list[Run] = []
    for zero, score in clips:
        source = Source(f"id{zero}", f"{zero}.wav", zero)
        news, runs = follow(runs, [verdict(0, 10, score)], source, quiet_s=QUIET, now=zero + 1)
        messages += news
    return messages, runs


def kinds(messages: list[Message]) -> list[str]:
    return [message["type"] for message in messages]


def test_a_run_over_several_files_is_one_alarm() -> None:
    messages, runs = heard((0, 0.1), (10, 0.7), (20, 0.9), (30, 0.6))
    assert kinds(messages) == ["alarm"]
    alarm = messages[0]
    assert (alarm["file"], alarm["start"], alarm["score"], alarm["start_s"]) == ("10.wav", utc(10), 0.7, 0)
    assert [(run.start, run.last, run.peak_score, run.clips, run.seen) for run in runs] == [(10, 40, 0.9, 3, 31)]
    assert runs[0].id == alarm["id"]


def test_a_run_ends_with_the_first_clip_after_the_pause() -> None:
    messages, runs = heard((0, 0.9), (40, 0.1))
    assert (kinds(messages), len(runs)) == (["alarm"], 1)  # 40 is 30 s after the end of the clip, so not more
    messages, runs = heard((0, 0.9), (40.5, 0.1))
    assert (kinds(messages), runs) == (["alarm", "alarm_end"], [])
    end = messages[1]
    assert (end["alarm"], end["id"]) == (messages[0]["id"], f"{messages[0]['id']}-end")
    assert (end["start"], end["end"], end["peak_score"], end["clips"]) == (utc(0), utc(10), 0.9, 1)


def test_normal_clips_within_the_pause_do_not_end_a_run() -> None:
    messages, runs = heard((0, 0.9), (10, 0.1), (20, 0.1), (30, 0.8))
    assert (kinds(messages), runs[0].clips) == (["alarm"], 2)


def test_a_second_run_is_a_second_alarm() -> None:
    messages, runs = heard((0, 0.9), (100, 0.9))
    assert kinds(messages) == ["alarm", "alarm_end", "alarm"]
    assert messages[0]["id"] != messages[2]["id"] == runs[0].id


def test_old_recordings_neither_join_nor_end_a_newer_run() -> None:
    messages, runs = heard((1000, 0.9), (0, 0.9), (10, 0.8), (1010, 0.9))
    assert kinds(messages) == ["alarm", "alarm", "alarm_end"]
    assert [(run.start, run.clips) for run in runs] == [(1000, 2)]


def test_windows_of_one_file_are_one_run() -> None:
    windows = [verdict(0, 10, 0.1), verdict(5, 15, 0.8), verdict(10, 20, 0.9), verdict(15, 25, 0.1)]
    messages, runs = follow([], windows, Source("x", "a.wav", 1000), quiet_s=QUIET, now=0)
    assert kinds(messages) == ["alarm"]
    assert (runs[0].start, runs[0].last, runs[0].clips) == (1005, 1020, 2)


def test_silence_ends_a_run_by_the_time_it_was_scored() -> None:
    _, runs = heard((0, 0.9))
    assert silent(runs, quiet_s=QUIET, now=30.9) == []
    assert silent(runs, quiet_s=QUIET, now=31) == runs
    assert ended(runs[0], 31)["time"] == utc(31)


def test_ids_depend_on_everything_and_on_nothing_else() -> None:
    assert identity("a", 1) == identity("a", 1)
    assert len({identity("a", 1), identity("a", 2), identity("a1"), identity("a", "", 1), identity("\udcff")}) == 5


def test_the_pause() -> None:
    assert (quiet_seconds(2), quiet_seconds(60)) == (30, 180)


def test_time_as_text() -> None:
    assert utc(1_800_000_000.25) == "2027-01-15T08:00:00.250Z"


def test_values_as_json_keeps_them() -> None:
    values = {"a": np.float32(0.5), "b": [math.nan, np.inf, np.int64(3)], "c": (True, None, "x", np.bool_(False))}
    plain = plain_values(values)
    assert plain == {"a": 0.5, "b": [None, None, 3], "c": [True, None, "x", False]}
    assert [type(value) for value in (plain["a"], plain["b"][2], plain["c"][3])] == [float, int, bool]


@pytest.mark.parametrize("name", ["score", "threshold", "where", "sentence", "nearest", "p_value", "percentile"])
def test_an_alarm_carries_the_evidence(name: str) -> None:
    messages, _ = heard((0, 0.9))
    assert messages[0][name] == verdict(0, 10, 0.9).as_json()[name]


def test_the_end_says_where_the_peak_was() -> None:
    clips = [("a.wav", 0.0, 0.7), ("b.wav", 10.0, 0.9), ("c.wav", 20.0, 0.8)]
    runs: list[Run] = []
    for file, zero, score in clips:
        _, runs = follow(runs, [verdict(0, 10, score)], Source(file, file, zero), quiet_s=30, now=zero)
    (run,) = runs
    peak = ended(run, 40.0)["peak"]
    assert (peak["file"], peak["start"]) == ("b.wav", "1970-01-01T00:00:10.000Z")
    assert ended(Run(**run.as_json()), 40.0) == ended(run, 40.0)

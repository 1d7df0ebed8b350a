from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from scored_results import NEWEST, results

from ensemble.page.overview.recent import clock_of, date_text, worst_recent

A = "fan/00"
DAY = 86400.0


def test_the_worst_of_hour_day_and_week():
    times = [-8 * DAY, -3 * DAY, -7200, -1800, 0]
    scored = results({A: [0.99, 0.95, 0.93, 0.5, 0.8]}, times={A: times})
    clock = clock_of(scored)
    assert clock.newest == NEWEST
    assert clock.sentence == "Times are those in the names of the recordings"
    rows = np.arange(5)
    assert worst_recent(clock, rows, scored.excess) == [
        ("last hour", "0.5 times"),
        ("last day", "1.4 times"),
        ("last week", "2.0 times"),
    ]
    assert worst_recent(clock, rows[:2], scored.excess) == [
        ("last hour", "no recording"),
        ("last day", "no recording"),
        ("last week", "2.0 times"),
    ]


def test_a_longer_span_without_more_clips_is_left_out():
    scored = results({A: [0.5, 0.8]}, times={A: [-60, 0]})
    assert worst_recent(clock_of(scored), np.arange(2), scored.excess) == [("last hour", "0.5 times")]


def test_the_time_of_a_window_is_that_of_its_begin():
    scored = results({A: [0.5] * 4}, times={A: [0.0] * 4}, windows_of=4)
    clock = clock_of(scored)
    np.testing.assert_allclose(clock.times - NEWEST, [0, 10, 20, 30])
    assert clock.newest == NEWEST + 30


def test_unknown_times_show_nothing():
    scored = results({A: [0.5] * 3})
    clock = clock_of(scored)
    assert not clock.known
    assert clock.sentence == "The times of the recordings are unknown"
    assert worst_recent(clock, np.arange(3), scored.excess) == []


def test_some_unknown_times_are_counted():
    scored = results({A: [0.5] * 3}, times={A: [np.nan, np.nan, 0]})
    assert clock_of(scored).sentence == "Times are those in the names of the recordings; 2 clips have none"
    scored = results({A: [0.5] * 3}, times={A: [np.nan, -5000, 0]})
    assert clock_of(scored).sentence == "Times are those in the names of the recordings; 1 clip has none"


def test_times_of_files_say_so():
    scored = results({A: [0.5] * 4}, times={A: [-30, -20, -10, 0]}, time_source="file")
    clock = clock_of(scored)
    assert clock.known
    assert clock.sentence == "Times are the modification times of the files; copying a file can change them"
    assert clock_of(replace(scored, time_source="")).sentence == "Times are those of the results"


@pytest.mark.parametrize("windows_of", [0, 20])
def test_files_written_faster_than_they_last_are_copies(windows_of):
    times = np.repeat(np.arange(4), 20) if windows_of else np.arange(80.0) / 20
    scored = results({A: [0.5] * 80}, times={A: times}, time_source="file", windows_of=windows_of)
    clock = clock_of(scored)
    assert not clock.known
    assert np.isnan(clock.times).all()
    assert clock.sentence == (
        "The files were written faster than they last, so their modification times are those of a copy; "
        "the times of the recordings are unknown"
    )
    assert clock_of(replace(scored, time_source="name")).known


def test_the_last_recording_may_be_any_length():
    scored = results({A: [0.5] * 3}, times={A: [0, 1, 2.5]}, time_source="file")
    assert clock_of(scored).known  # 20 s before the last one begins, at most ten times 2.5 s


def test_two_files_prove_no_copy():
    scored = results({A: [0.5] * 2}, times={A: [0, 0.1]}, time_source="file")
    assert clock_of(scored).known


@pytest.mark.parametrize("time", [np.inf, -np.inf, 1e300, -1e12])
def test_times_that_no_calendar_has_are_unknown(time):
    scored = results({A: [0.5] * 2}, times={A: [time, 0]})
    clock = clock_of(scored)
    assert clock.newest == NEWEST
    assert np.isnan(clock.times[0])
    assert date_text(time) == ""


def test_dates_are_local():
    assert date_text(NEWEST) == datetime.fromtimestamp(NEWEST).strftime("%Y-%m-%d %H:%M")
    assert date_text(float("nan")) == ""


def test_exactly_seven_days_before_the_newest_counts():
    day = 86400.0
    scored = results({"fan/00": [0.5, 0.99, 0.95]}, times={"fan/00": [0.0, -7 * day, -7 * day - 1]})
    shown = dict(worst_recent(clock_of(scored), np.arange(3), scored.excess))
    assert shown["last week"] == "10 times"

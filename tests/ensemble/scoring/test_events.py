"""Events of scored windows, as they come."""

from dataclasses import replace

from watching import verdict

from ensemble.deviation.region import Region
from ensemble.scoring.events import Events
from ensemble.scoring.score import Outcome
from featstore.clip import Clip, window_path

RECORDING = "fan/long.wav"


def outcome(start_s: float, score: float, recording: str = RECORDING) -> Outcome:
    clip = Clip(window_path(recording, start_s, start_s + 10), "fan", "00", "test")
    return Outcome(clip, verdict(start_s, start_s + 10, score))


def found(*outcomes: Outcome) -> list[tuple[str, float, float | None, float, int]]:
    events = Events()
    for each in outcomes:
        events.add(each)
    return [(e.recording, e.start_s, e.end_s, e.peak_score, e.windows) for e in events.ranked()]


def test_neighbouring_windows_are_one_event() -> None:
    windows = [outcome(start, score) for start, score in ((0, 0.1), (5, 0.8), (10, 0.9), (15, 0.7), (20, 0.1))]
    assert found(*windows) == [(RECORDING, 5, 25, 0.9, 3)]


def test_a_window_that_does_not_touch_begins_another() -> None:
    assert found(outcome(0, 0.8), outcome(5, 0.1), outcome(15, 0.9)) == [
        (RECORDING, 15, 25, 0.9, 1),
        (RECORDING, 0, 10, 0.8, 1),
    ]


def test_another_recording_begins_another() -> None:
    events = found(outcome(0, 0.8), outcome(5, 0.9, "fan/next.wav"))
    assert [event[0] for event in events] == ["fan/next.wav", RECORDING]


def test_the_peak_is_the_middle_of_the_highest_window() -> None:
    events = Events()
    for start, score in ((0, 0.7), (5, 0.95), (10, 0.8)):
        events.add(outcome(start, score))
    (event,) = events.ranked()
    assert (event.peak_time_s, event.peak_percentile) == (10, 0.95)


def test_without_windows_there_are_no_events() -> None:
    clip = Clip("a.wav", "fan", "00", "test")
    assert found(Outcome(clip, verdict(0, 10, 0.9)), Outcome(clip, None, "unreadable")) == []


def test_a_whole_recording_among_windows_is_an_event_as_in_a_detection() -> None:
    short = Outcome(Clip("a.wav", "fan", "00", "test"), verdict(0, 4, 0.9))
    assert found(short, outcome(0, 0.8)) == [("a.wav", 0, 4, 0.9, 1), (RECORDING, 0, 10, 0.8, 1)]


def test_the_sentence_is_that_of_the_peak() -> None:
    region = Region(1, 2, 500, 1000, 9, 5)
    quiet, loud = outcome(0, 0.7), outcome(5, 0.9)
    events = Events()
    events.add(quiet)
    events.add(replace(loud, verdict=replace(loud.verdict, where=(region,))))  # type: ignore[type-var]
    (event,) = events.ranked()
    assert event.sentence == str(region)

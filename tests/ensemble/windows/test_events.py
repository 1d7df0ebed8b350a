"""Events: reported windows that touch are one, in whatever order they come; false events per hour."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from window_store import plant, recording, vectors, window_store

from ensemble.recipe import Member, Recipe
from ensemble.run import Detection, detect
from ensemble.windows.events import Event, covered_s, event_rate, events_of, recording_lengths, spans_of
from featstore.clip import Clip, window_path
from featstore.table import ClipTable

KNN = Recipe((Member("e", "knn:k=1"),))


@pytest.fixture(scope="module")
def detection(tmp_path_factory: pytest.TempPathFactory) -> Detection:
    return detect(window_store(tmp_path_factory.mktemp("events") / "s", plant()), KNN)


def decided(
    detection: Detection, clips: Sequence[Clip], score: Sequence[float], reported: Sequence[bool] | None = None
) -> Detection:
    """A detection with the given clips, scores and decisions; percentiles are the scores."""
    values, n = np.array(score, dtype=float), len(clips)
    decisions = replace(
        detection.decided,
        percentile=values,
        reported=np.ones(n, dtype=bool) if reported is None else np.array(reported),
    )
    return replace(detection, clips=ClipTable.from_clips(list(clips)), score=values, decided=decisions)


def at(name: str, *spans: tuple[float, float]) -> list[Clip]:
    return [recording(window_path(f"fan/test/{name}.wav", *span)) for span in spans]


def test_windows_that_touch_or_overlap_are_one_event(detection: Detection) -> None:
    clips = at("a", (0, 10), (10, 20), (20, 30), (35, 45), (40, 50), (50.0005, 60), (60.002, 70))
    events = events_of(decided(detection, clips, [0.1, 0.9, 0.2, 0.5, 0.4, 0.3, 0.6]))
    assert events == [
        Event("fan/test/a.wav", "fan", "00", 0, 30, 0.9, 0.9, 15, 3),
        Event("fan/test/a.wav", "fan", "00", 60.002, 70, 0.6, 0.6, 65.001, 1),
        Event("fan/test/a.wav", "fan", "00", 35, 60, 0.5, 0.5, 40, 3),
    ]


def test_a_window_that_is_not_reported_divides_or_is_covered(detection: Detection) -> None:
    apart = events_of(decided(detection, at("a", (0, 10), (10, 20), (20, 30)), [1, 0, 1], [True, False, True]))
    assert [(event.start_s, event.end_s, event.windows) for event in apart] == [(0, 10, 1), (20, 30, 1)]
    covered = events_of(decided(detection, at("a", (0, 10), (5, 15), (10, 20)), [1, 0, 1], [True, False, True]))
    assert [(event.start_s, event.end_s, event.windows) for event in covered] == [(0, 20, 2)]


def test_a_long_window_spans_the_short_ones_in_it(detection: Detection) -> None:
    events = events_of(decided(detection, at("a", (0, 60), (5, 10), (50, 55), (58, 62)), [1, 2, 3, 4]))
    assert [(event.start_s, event.end_s, event.peak_time_s, event.windows) for event in events] == [(0, 62, 60, 4)]


def test_recordings_are_never_joined_and_the_strongest_is_first(detection: Detection) -> None:
    clips = [*at("a", (0, 10)), *at("b", (10, 20)), *at("c", (0, 10))]
    events = events_of(decided(detection, clips, [0.5, 0.7, 0.5]))
    assert [event.recording[-5] for event in events] == ["b", "a", "c"]
    assert events_of(decided(detection, clips, [1, 1, 1], [False] * 3)) == []


def test_events_are_ordered_by_percentile_and_equal_peaks_are_the_earliest(detection: Detection) -> None:
    """Scores of different sections are not comparable."""
    of = decided(detection, [*at("a", (0, 10), (10, 20)), *at("b", (0, 10))], [5, 5, 2])
    of = replace(of, decided=replace(of.decided, percentile=np.array([0.8, 0.8, 0.9])))
    events = events_of(of)
    assert [(event.recording[-5], event.peak_score, event.peak_percentile) for event in events] == [
        ("b", 2, 0.9),
        ("a", 5, 0.8),
    ]
    assert events[1].peak_time_s == 5


def test_a_whole_recording_is_an_event_of_its_length(detection: Detection) -> None:
    clips = [recording("fan/test/whole.wav"), *at("a", (5, 10))]
    of = decided(detection, clips, [2, 1])
    whole = Event("fan/test/whole.wav", "fan", "00", 0, None, 2, 2, None, 1)
    assert events_of(of)[0] == whole
    assert events_of(of, np.array([30, 999.0]))[0] == replace(whole, end_s=30, peak_time_s=15)


def test_the_order_of_clips_does_not_matter(detection: Detection) -> None:
    rng = np.random.default_rng(5)
    starts = rng.integers(0, 600, 200) / 2
    spans = [(float(start), float(start + rng.integers(1, 20) / 2)) for start in starts]
    clips = list({clip.key: clip for i, span in enumerate(spans) for clip in at("abc"[i % 3], span)}.values())
    score, reported = rng.integers(0, 5, len(clips)), rng.random(len(clips)) < 0.3
    events = events_of(decided(detection, clips, score.tolist(), reported.tolist()))
    assert len(events) > 20
    for _ in range(5):
        order = rng.permutation(len(clips))
        shuffled = decided(detection, [clips[i] for i in order], score[order].tolist(), reported[order].tolist())
        assert events_of(shuffled) == events


def test_lengths_come_from_the_facts(tmp_path: Path) -> None:
    clips = [recording("fan/test/whole.wav"), *at("a", (5, 10))]
    store = window_store(tmp_path / "s", clips)
    table = ClipTable.from_clips(clips[::-1])
    seconds = recording_lengths(store, "e", table)
    np.testing.assert_array_equal(spans_of(table, seconds), [[5, 10], [0, 120]])
    np.testing.assert_array_equal(spans_of(table), [[5, 10], [0, np.nan]])


def test_covered_seconds_count_overlaps_once() -> None:
    assert covered_s(np.array([[0, 10], [5, 15], [20, 30], [22, 25], [np.nan, np.nan]])) == 25
    assert covered_s(np.zeros((0, 2))) == 0


def test_false_events_are_those_of_normal_recordings_per_hour(detection: Detection) -> None:
    clips = [*at("a", (0, 1800), (1800, 3600)), *at("b", (0, 3600))]
    clips += [replace(clip, label="anomaly") for clip in at("c", (0, 3600))]
    clips += [replace(clip, label="unknown") for clip in at("d", (0, 3600))]
    of = decided(detection, clips, [1] * 5, [True, False, True, True, True])
    rate = event_rate(of, events_of(of))
    assert rate is not None
    assert (rate.events, rate.recordings, rate.hours, rate.per_hour) == (2, 2, 2, 1)
    numbers = "events: 2, normal test recordings: 2, hours that their windows cover: 2"
    assert rate.text == f"false events: 1 events per hour ({numbers})"
    assert event_rate(decided(detection, clips[3:], [1, 1]), []) is None
    ranked = replace(of, decided=replace(of.decided, self_ranked=True))
    assert event_rate(ranked, events_of(of)) is None


def test_the_faults_of_a_store_are_its_strongest_events(detection: Detection) -> None:
    events = events_of(detection)
    strongest = {(event.recording, event.start_s <= 20, event.end_s >= 50) for event in events[:3]}
    assert strongest == {(f"fan/test/{i}.wav", True, True) for i in (1, 3, 5)}
    assert vectors(plant()).shape == (120, 6)

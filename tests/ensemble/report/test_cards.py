"""Which events get a card, in which order, and what they are filtered by."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report_plant import RATE

from ensemble.marks.file import Mark
from ensemble.page.items import items
from ensemble.page.media import recordings
from ensemble.page.scored import Scored, scored_of
from ensemble.report.cards import chosen_items, event_cards
from ensemble.report.sounds import Heard
from ensemble.run import Detection
from featstore.clip import Clip
from featstore.errors import DataError
from featstore.table import ClipTable


@pytest.fixture
def scored(detection: Detection) -> Scored:
    return scored_of(detection, title="t")


def labelled(scored: Scored, labels: list[str]) -> Scored:
    clips = [replace(clip, label=label) for clip, label in zip(scored.clips, labels, strict=True)]
    return replace(scored, clips=ClipTable.from_clips(clips))


def attributes(text: str, name: str) -> list[str]:
    return re.findall(rf'<article [^>]*data-{name}="([^"]*)"', text)


def test_cards_are_in_the_order_of_the_ratio_whatever_their_label(scored: Scored) -> None:
    """The three highest clips are normal; neither this nor its opposite moves a card."""
    order = items(scored)
    reported = [item.row for item in order if item.reported]
    shown = [item.row for item in chosen_items(scored, order, 100).items]
    assert shown[: len(reported)] == reported
    for first in ("normal", "anomaly", "unknown"):
        labels = [first if row in reported[:3] else "unknown" for row in range(len(scored.clips))]
        other = labelled(scored, labels)
        assert [item.row for item in chosen_items(other, items(other), 100).items] == reported


def test_missed_anomalies_come_after_the_events_and_keep_a_quarter_of_the_places(scored: Scored) -> None:
    order = items(scored)
    reported = [item.row for item in order if item.reported]
    quiet = [item.row for item in order if not item.reported]
    other = labelled(scored, ["anomaly" if row in quiet else "normal" for row in range(len(scored.clips))])
    chosen = chosen_items(other, items(other), 4)
    assert [item.row for item in chosen.items] == [*reported[:3], *quiet[:1]]
    assert [item.row for item in chosen_items(other, items(other), 8).items] == [*reported, *quiet[:5]], "free places"
    assert (chosen.events, chosen.missed, chosen.below) == (len(reported), len(quiet), 0)
    everything = chosen_items(other, items(other), 1000)
    assert [item.row for item in everything.items] == [*reported, *quiet]
    assert len(chosen_items(other, items(other), 1).items) == 1


@pytest.mark.parametrize(("top", "events", "missed"), [(8, 6, 2), (3, 2, 1), (1, 1, 0), (20, 12, 8)])
def test_many_events_leave_a_quarter_of_the_places(scored: Scored, top: int, events: int, missed: int) -> None:
    rank = np.argsort(np.argsort(-scored.score, kind="stable"), kind="stable")
    half = replace(scored, threshold=np.where(rank < 12, 0.0, 2.0))
    other = labelled(half, ["unknown" if row < 12 else "anomaly" for row in rank.tolist()])
    shown = chosen_items(other, items(other), top).items
    assert [item.reported for item in shown] == [True] * events + [False] * missed


def test_a_recording_of_which_a_window_is_reported_is_not_missed(scored: Scored) -> None:
    """Two recordings of two windows, all labelled; of the second, nothing is reported."""
    paths = ["a.wav#t=0,10", "a.wav#t=20,30", "b.wav#t=0,10", "b.wav#t=20,30"]
    clips = ClipTable.from_clips([Clip(path, "fan", "00", "test", "source", "anomaly") for path in paths])
    four = {
        name: np.asarray(getattr(scored, name))[:4] for name in ("percentile", "p_value", "nearest_distance", "times")
    }
    small = replace(
        scored,
        **four,
        clips=clips,
        score=np.array([0.99, 0.5, 0.6, 0.7]),
        threshold=np.full(4, 0.9),
        member_percentiles=scored.member_percentiles[:, :4],
        nearest=scored.nearest[:4],
        seconds=clips.windows(),
    )
    chosen = chosen_items(small, items(small), 10)
    assert [item.row for item in chosen.items] == [0, 3], "of the missed recording its highest window"
    assert (chosen.events, chosen.missed, chosen.below) == (1, 1, 2)
    text = event_cards(small, items(small), top=10, seconds=1)
    assert "<p>1 event. An event is a run of" in text
    assert "1 missed anomaly follows: labelled" in text


def test_a_page_without_events_shows_the_highest_clips(scored: Scored) -> None:
    calm = replace(scored, threshold=np.full(len(scored.clips), 2.0))
    unknown = labelled(calm, ["unknown"] * len(calm.clips))
    text = event_cards(unknown, items(unknown), top=20, seconds=1)
    assert len(attributes(text, "order")) == 3
    assert "None of 24 clips is above its threshold. The highest ones follow" in text
    normal = labelled(calm, ["normal"] * len(calm.clips))
    assert len(attributes(event_cards(normal, items(normal), top=20, seconds=1), "order")) == 3


def test_the_number_of_cards_is_said(scored: Scored) -> None:
    plain = labelled(scored, ["unknown"] * len(scored.clips))
    total = int(plain.decision.sum())
    assert f"2 of {total} reported clips, the furthest above the threshold first; --top shows more." in event_cards(
        plain, items(plain), top=2, seconds=1
    )
    assert f"<p>{total} reported clips, the furthest above the threshold first. 2 times" in event_cards(
        plain, items(plain), top=total, seconds=1
    )


def test_filters_offer_what_differs_between_the_cards(scored: Scored) -> None:
    first = items(scored)[0]
    marks = {first.row: Mark(clip="a", mark="fault")}
    text = event_cards(scored, items(scored), top=100, seconds=1, marks=marks)
    assert re.findall(r'<select data-filter="(\w+)">', text) == ["section", "outcome", "decision", "mark"]
    for name in ("section", "outcome", "decision", "mark"):
        (options,) = re.findall(rf'<select data-filter="{name}">(.*?)</select>', text)
        assert re.findall(r'<option value="([^"]+)"', options) == sorted(set(attributes(text, name)))
    assert attributes(text, "mark")[0] == "fault"
    assert "time of recording" not in text, "no time is known"
    timed = replace(scored, times=np.arange(len(scored.clips)) + 1.7e9)
    text = event_cards(timed, items(timed), top=100, seconds=1)
    assert "time of recording" in text
    assert {len(time) for time in attributes(text, "time")} == {len("1700000000.000")}, "to the millisecond"
    unknown = labelled(scored, ["unknown"] * len(scored.clips))
    assert 'data-filter="outcome"' not in event_cards(unknown, items(unknown), top=100, seconds=1)


def test_the_mark_of_any_window_of_an_event_is_shown(scored: Scored) -> None:
    item = replace(items(scored)[0], rows=(items(scored)[0].row, 5))
    text = event_cards(scored, [item], top=1, seconds=1, marks={5: Mark(clip="a", mark="normal", who="Bo")})
    assert "Marked normal by" in text


def test_a_page_without_recordings_says_how_to_get_them(scored: Scored) -> None:
    text = event_cards(scored, items(scored), top=2, seconds=1)
    assert "Players and pictures are missing. To have them, give the folder of the recordings" in text
    assert "--data DATA" in text
    assert "not found" not in text
    gone = event_cards(scored, items(scored), top=2, seconds=1, heard=Heard(lambda _: None, given=False))
    assert "the folder of the last build lacks these recordings" in gone
    with pytest.raises(DataError, match="none of the recordings is below --data"):
        event_cards(scored, items(scored), top=2, seconds=1, heard=Heard(lambda _: None))


def test_a_missing_recording_is_said_on_its_card(scored: Scored, data: Path) -> None:
    listen, first = recordings(data, RATE, "0"), scored.keys[items(scored)[0].row]
    heard = Heard(lambda path: None if path == first else listen(path), given=False)
    text = event_cards(scored, items(scored), top=2, seconds=1, heard=heard)
    assert text.count("<audio") == 2
    assert text.count("The recording was not found") == 1
    assert "in the folder of the last build, as they are now" in text
    nearest = scored.nearest[items(scored)[0].row]
    lacking = Heard(lambda path: None if path == nearest else listen(path))
    assert "Recording of the nearest normal clip not found: " in event_cards(
        scored, items(scored)[:1], top=1, seconds=1, heard=lacking
    )

"""What is shown of an item."""

from dataclasses import replace
from pathlib import Path

import pytest
from review_plant import session_of
from window_page import window_session

from ensemble.review.sound import parts
from ensemble.review.sound.parts import CONTEXT_S, Part, part_of, shown_of


def test_a_whole_recording(tmp_path: Path) -> None:
    session = session_of(tmp_path, data=False)
    item = session.items[0]
    shown = shown_of(session.scored, item)
    assert shown.clip == Part(item.recording)
    assert shown.normal == Part(session.scored.nearest[item.row])
    long = shown_of(session.scored, replace(item, end_s=4000.0))
    assert long.note == "The recording lasts 1:06:40; its first 300 s are shown and played."
    assert not shown.note


def test_an_event_has_its_surroundings(tmp_path: Path) -> None:
    session = window_session(tmp_path, data=False)
    item = session.items[0]
    assert len(item.rows) > 1
    shown = shown_of(session.scored, item)
    assert item.end_s is not None
    assert shown.clip == Part(item.recording, item.start_s - CONTEXT_S, item.end_s + CONTEXT_S)
    assert shown.event == (item.start_s, item.end_s)
    assert shown.normal
    assert shown.normal.key == session.scored.nearest[item.row]
    begin = shown_of(session.scored, replace(item, start_s=1.0))
    assert begin.clip.start_s == 0


def test_a_long_event_is_cut_around_its_peak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = window_session(tmp_path, data=False)
    item = session.items[0]
    peak = part_of(session.scored.keys[item.row])
    for most in (12.0, 20.0):
        monkeypatch.setattr(parts, "MOST_S", most)
        long = replace(item, start_s=0.0, end_s=4000.0)
        shown = shown_of(session.scored, long)
        assert shown.clip.end_s is not None
        assert peak.end_s is not None
        assert shown.clip.end_s - shown.clip.start_s == most
        assert shown.clip.start_s <= peak.start_s < peak.end_s <= shown.clip.end_s
        assert f"{most:g} s from" in shown.note


def test_keys() -> None:
    assert part_of("a.wav#t=5,15.5") == Part("a.wav", 5.0, 15.5)
    assert Part("a.wav", 5.0, 15.5).key == "a.wav#t=5,15.5"
    assert part_of("a.wav").key == "a.wav"

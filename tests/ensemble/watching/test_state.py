"""The state that records build, and the records that build a state."""

from typing import Any

import pytest

from ensemble.watching.state import Known, State, known_record, messages_of
from ensemble.watching.whole import Version
from featstore.errors import StoreError

START = {"kind": "start", "folder": "/sound", "sinks": ["stdout", "webhook"]}
ALARM = {"type": "alarm", "id": "A"}
RUN = {
    "id": "A",
    "machine": "fan",
    "section": "00",
    "start": 1.0,
    "last": 2.0,
    "peak_score": 0.9,
    "clips": 1,
    "seen": 3.0,
}
FILE: dict[str, Any] = {
    "kind": "file", "id": "f", "time": "now", "path": "a.wav", "size": 5, "mtime_ns": 7, "version": 1,
    "machine": "fan", "section": "00", "verdicts": [{"score": 0.9}], "events": [ALARM], "runs": [RUN],
}  # fmt: skip
REJECTED = {**{k: FILE[k] for k in ("kind", "time", "path", "size", "mtime_ns")}, "id": "r", "version": 2}
REJECTED |= {"rejected": "empty", "events": []}
END = {
    "kind": "end",
    "id": "e",
    "machine": "fan",
    "section": "00",
    "events": [{"type": "alarm_end", "id": "A-end"}],
    "runs": [],
}


def built(*records: dict[str, Any]) -> State:
    state = State()
    for record in records:
        state.apply(record)
    return state


def test_a_file_is_known_and_undelivered_to_every_sink() -> None:
    state = built(START, FILE)
    assert state.known == {"a.wav": Known(Version(5, 7), 1)}
    assert [run.id for run in state.runs["fan", "00"]] == ["A"]
    assert state.undelivered["webhook"] == {"A": [ALARM]}
    assert [message["type"] for message in state.undelivered["stdout"]["f"]] == ["result", "alarm"]
    assert state.number_after("a.wav") == 2
    assert state.number_after("b.wav") == 1


def test_messages_of_an_earlier_journal_are_still_delivered() -> None:
    record = {"sink": "webhook", "id": "A", "messages": [ALARM]}
    states = [built(START, {"kind": kind, **record}) for kind in ("owed", "undelivered")]
    assert states[0].undelivered == states[1].undelivered == {"stdout": {}, "webhook": {"A": [ALARM]}}
    assert [r["kind"] for r in states[0].checkpoint() if "messages" in r] == ["undelivered"]


def test_what_was_delivered_is_undelivered_no_longer() -> None:
    state = built(START, FILE, {"kind": "delivered", "sink": "stdout", "ids": ["f", "unknown"]})
    assert state.undelivered == {"stdout": {}, "webhook": {"A": [ALARM]}}


def test_a_sink_that_a_later_start_does_not_name_has_nothing_undelivered() -> None:
    state = built(START, FILE, {**START, "sinks": ["stdout"]}, START)
    assert (len(state.undelivered["stdout"]), state.undelivered["webhook"]) == (1, {})


def test_the_end_of_a_run() -> None:
    state = built(START, FILE, END)
    assert state.runs == {}
    assert list(state.undelivered["webhook"]) == ["A", "A-end"]


def test_a_rejected_file_leaves_the_runs() -> None:
    state = built(START, FILE, REJECTED)
    assert len(state.runs) == 1
    assert state.known["a.wav"].number == 2
    assert messages_of(REJECTED) == [
        {"type": "rejected", "id": "r", "time": "now", "file": "a.wav", "version": 2, "reason": "empty"}
    ]


@pytest.mark.parametrize("records", [(), (START,), (START, FILE), (START, FILE, REJECTED, END)])
def test_a_checkpoint_builds_the_same_state(records: tuple[dict[str, Any], ...]) -> None:
    state = built(*records)
    assert built(*state.checkpoint()) == state


def test_a_file_is_forgotten_when_it_is_absent_twice() -> None:
    state = built(START, FILE, known_record("b.wav", Known(Version(1, 1), 1)))
    state.forget({"b.wav"})
    assert [(path, known.gone) for path, known in state.known.items()] == [("a.wav", True), ("b.wav", False)]
    again = built(*state.checkpoint())
    state.forget({"a.wav", "b.wav"})
    assert not any(known.gone for known in state.known.values())
    again.forget({"b.wav"})
    assert list(again.known) == ["b.wav"]


def test_a_newer_format_is_refused() -> None:
    with pytest.raises(StoreError, match="format 2, expected 1"):
        built({"kind": "journal", "format": 2})

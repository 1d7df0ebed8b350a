"""Messages from the journal to the sinks, at least once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from watching import Clock, Kept

from ensemble.watching import outbox as outbox_module
from ensemble.watching.journal import Journal, read_records
from ensemble.watching.outbox import Outbox
from ensemble.watching.sinks import Delivery

pytestmark = pytest.mark.usefixtures("unsynced")


def ended(name: str) -> dict[str, Any]:
    event = {"type": "alarm_end", "id": f"{name}-end"}
    return {"kind": "end", "id": name, "machine": "fan", "section": "00", "events": [event], "runs": []}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "j", say=lambda text: None, wall=Clock(1e9)) as journal:
        journal.add({"kind": "start", "folder": "", "sinks": ["stdout", "webhook"]})
        yield journal


def test_a_message_is_offered_once_and_recorded_when_it_is_delivered(journal: Journal) -> None:
    lines, webhook = Kept("stdout"), Kept("webhook", delivers=False)
    outbox = Outbox(journal, [lines, webhook], say=lambda text: None)
    journal.add(ended("a"))
    outbox.move()
    outbox.move()
    assert (len(lines.messages), len(webhook.messages), outbox.undelivered) == (1, 1, 1)
    webhook._done = [Delivery("a-end", "HTTP 404")]
    outbox.move()
    assert outbox.undelivered == 0
    delivered = [record for record in read_records(journal.folder) if record["kind"] == "delivered"]
    assert [(record["sink"], record["ids"], record.get("outcomes")) for record in delivered] == [
        ("stdout", ["a"], None),
        ("webhook", ["a-end"], {"a-end": "HTTP 404"}),
    ]


def test_what_finds_no_room_is_offered_again(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    webhook = Kept("webhook")
    outbox = Outbox(journal, [Kept("stdout"), webhook], say=lambda text: None)
    journal.add(ended("a"), ended("b"))
    with monkeypatch.context() as patch:
        patch.setattr(webhook, "send", lambda name, messages: False)
        outbox.move()
    assert webhook.messages == []
    outbox.move()
    assert [message["id"] for message in webhook.messages] == ["a-end", "b-end"]


def test_the_oldest_is_given_up_where_too_many_wait(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "MOST_UNDELIVERED", 2)
    log: list[str] = []
    outbox = Outbox(journal, [Kept("stdout"), Kept("webhook", delivers=False)], say=log.append)
    journal.add(*map(ended, "abc"))
    outbox.move()
    assert list(journal.state.undelivered["webhook"]) == ["b-end", "c-end"]
    assert log == ["webhook: a-end given up, because 2 later messages wait"]

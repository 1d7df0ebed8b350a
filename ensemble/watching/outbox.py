"""Moves messages from the journal to the sinks and records their delivery: every message at least once.

A message is in the journal, durably, before a sink gets it. That it was delivered is recorded afterwards; a crash
between the two makes the next start deliver it again, with the same `id`.
"""

from collections.abc import Sequence

from ensemble.watching.journal import Journal
from ensemble.watching.sinks import Delivery, Say, Sink

MOST_UNDELIVERED = 10_000
"""Most messages that wait for a sink; the oldest of more are given up, which is logged and recorded."""


class Outbox:
    """The messages of a journal on their way to `sinks`."""

    def __init__(self, journal: Journal, sinks: Sequence[Sink], *, say: Say) -> None:
        self.journal, self.sinks, self.say = journal, sinks, say
        self._offered: dict[str, set[str]] = {sink.name: set() for sink in sinks}

    def move(self) -> None:
        """Send messages that were not sent yet; record what was delivered."""
        for sink in self.sinks:
            self._offer(sink)
            self._record(sink.name, sink.done())
            self._record(sink.name, self._beyond(sink.name))

    @property
    def undelivered(self) -> int:
        """Number of messages that a sink has not received."""
        return sum(len(packages) for packages in self.journal.state.undelivered.values())

    def _offer(self, sink: Sink) -> None:
        offered = self._offered[sink.name]
        for name, messages in self.journal.state.undelivered[sink.name].items():
            if name in offered:
                continue
            if not sink.send(name, messages):
                return
            offered.add(name)

    def _beyond(self, sink: str) -> list[Delivery]:
        """Give up the oldest messages if too many wait for a sink."""
        names = list(self.journal.state.undelivered[sink])
        beyond = names[: max(0, len(names) - MOST_UNDELIVERED)]
        for name in beyond:
            self.say(f"{sink}: {name} given up, because {MOST_UNDELIVERED} later messages wait")
        return [Delivery(name, f"given up: {MOST_UNDELIVERED} later messages wait") for name in beyond]

    def _record(self, sink: str, done: Sequence[Delivery]) -> None:
        if not done:
            return
        outcomes = {delivery.id: delivery.outcome for delivery in done if delivery.outcome}
        record = {"kind": "delivered", "sink": sink, "ids": [delivery.id for delivery in done]}
        self.journal.add({**record, "outcomes": outcomes} if outcomes else record, durable=False)
        self._offered[sink].difference_update(record["ids"])

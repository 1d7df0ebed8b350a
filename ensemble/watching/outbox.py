"""Moves messages from the journal to the sinks, and records what they received: every message at least once.

A message is in the journal, durably, before a sink gets it. That it was delivered is recorded afterwards; a crash
between the two makes the next start deliver it again, with the same `id`.
"""

from collections.abc import Sequence

from ensemble.watching.journal import Journal
from ensemble.watching.sinks import Delivery, Say, Sink

MOST_OWED = 10_000
"""Messages that wait for one sink; beyond, the oldest is given up, which the log and the journal say."""


class Outbox:
    """The messages of a journal on their way to `sinks`."""

    def __init__(self, journal: Journal, sinks: Sequence[Sink], *, say: Say) -> None:
        self.journal, self.sinks, self.say = journal, sinks, say
        self._offered: dict[str, set[str]] = {sink.name: set() for sink in sinks}

    def move(self) -> None:
        """Offer what was not offered yet; record what was delivered."""
        for sink in self.sinks:
            self._offer(sink)
            self._record(sink.name, sink.done())
            self._record(sink.name, self._beyond(sink.name))

    @property
    def owed(self) -> int:
        """Messages that a sink has not received."""
        return sum(len(packages) for packages in self.journal.state.owed.values())

    def _offer(self, sink: Sink) -> None:
        offered = self._offered[sink.name]
        for name, messages in self.journal.state.owed[sink.name].items():
            if name in offered:
                continue
            if not sink.send(name, messages):
                return
            offered.add(name)

    def _beyond(self, sink: str) -> list[Delivery]:
        """The oldest messages, where too many wait."""
        names = list(self.journal.state.owed[sink])
        beyond = names[: max(0, len(names) - MOST_OWED)]
        for name in beyond:
            self.say(f"{sink}: {name} given up, because {MOST_OWED} later messages wait")
        return [Delivery(name, f"given up: {MOST_OWED} later messages wait") for name in beyond]

    def _record(self, sink: str, done: Sequence[Delivery]) -> None:
        if not done:
            return
        outcomes = {delivery.id: delivery.outcome for delivery in done if delivery.outcome}
        record = {"kind": "delivered", "sink": sink, "ids": [delivery.id for delivery in done]}
        self.journal.add({**record, "outcomes": outcomes} if outcomes else record, durable=False)
        self._offered[sink].difference_update(record["ids"])

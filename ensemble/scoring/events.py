"""Events of scored windows, in the order of scoring: neighbouring windows of a recording that are anomalies."""

from dataclasses import dataclass, field, replace

from ensemble.scoring.score import Outcome
from ensemble.scoring.verdict import Verdict
from ensemble.windows.events import TOUCHING_S, Event


@dataclass(frozen=True)
class LocatedEvent(Event):
    """An event with the sentence of its peak: where it deviates."""

    sentence: str = ""


@dataclass
class Events:
    """The events of outcomes that are added in the order of their times, as `ensemble.windows.events` has them.

    Where no clip is a window, there are none.
    """

    closed: list[LocatedEvent] = field(default_factory=list)
    windows: int = 0
    _open: LocatedEvent | None = None

    def add(self, outcome: Outcome) -> None:
        """Add the next outcome."""
        verdict = outcome.verdict
        if verdict is None:
            return
        self.windows += outcome.clip.window is not None
        if verdict.anomaly:
            recording = outcome.clip.recording
            self._open = self._continued(recording, verdict) or self._new(recording, verdict)

    def ranked(self) -> list[LocatedEvent]:
        """All events so far, the most anomalous first."""
        if not self.windows:
            return []
        events = [*self.closed, *([self._open] if self._open else [])]
        return sorted(events, key=lambda event: (-event.peak_percentile, -event.peak_score, event.recording))

    def _new(self, recording: str, verdict: Verdict) -> LocatedEvent:
        if self._open:
            self.closed.append(self._open)
        place = (recording, verdict.machine, verdict.section, verdict.start_s, verdict.end_s)
        middle = (verdict.start_s + verdict.end_s) / 2
        return LocatedEvent(*place, verdict.score, verdict.percentile, middle, 1, verdict.sentence)

    def _continued(self, recording: str, verdict: Verdict) -> LocatedEvent | None:
        """The open event with one more window; None where the window does not touch it."""
        event = self._open
        place = (recording, verdict.machine, verdict.section)
        if event is None or event.end_s is None or (event.recording, event.machine, event.section) != place:
            return None
        if not event.start_s <= verdict.start_s <= event.end_s + TOUCHING_S:
            return None
        event = replace(event, end_s=max(event.end_s, verdict.end_s), windows=event.windows + 1)
        if verdict.score > event.peak_score:
            middle = (verdict.start_s + verdict.end_s) / 2
            event = replace(event, peak_score=verdict.score, peak_percentile=verdict.percentile)
            event = replace(event, peak_time_s=middle, sentence=verdict.sentence)
        return event

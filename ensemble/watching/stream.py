"""The loop of `detect stream`: overlapping windows of an endless stream, scored as soon as they are complete."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ensemble.scoring.verdict import Verdict
from ensemble.watching.alarms import Message, Run, Source, ended, follow, identity, plain_values, quiet_seconds, utc
from ensemble.watching.feed import Feed
from ensemble.watching.pcm import Pcm
from ensemble.watching.scorer import Scorer
from ensemble.watching.sinks import Lines, Say, Sink
from featstore.audio.read import TOLERANCE_S
from featstore.errors import AsdError, DataError, OptionError
from featstore.terminal.shown import counted

BUFFER_S = 60.0
POLL_S = 0.25
LAG_LOG_S = 10.0
DRAIN_S = 30.0
"""How long the end of a stream waits for the command and the webhook."""


@dataclass(frozen=True)
class StreamRequest:
    """How a stream is cut and scored; times in seconds, None for those of the model. quiet_s: as for a watch."""

    machine: str = ""
    section: str = ""
    window_s: float | None = None
    hop_s: float | None = None
    quiet_s: float | None = None
    heartbeat_s: float = 60.0


class Windows:
    """Cuts waves into windows of `size` samples every `hop` samples; holds at most one window and one wave.

    tolerance: samples at the end of the sound that need no further window.
    """

    def __init__(self, size: int, hop: int, tolerance: int = 0) -> None:
        self.size, self.hop, self.tolerance = size, hop, tolerance
        self._held = np.empty(0, np.float32)
        self._last = self._held
        self._begin = self._end = 0

    def push(self, wave: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """First sample and content of every window that `wave` completes."""
        self._held = np.concatenate([self._held, wave])
        while len(self._held) >= self.size:
            self._end = self._begin + self.size
            yield self._begin, self._held[: self.size]
            self._last = self._held[: self.size]
            self._held = self._held[self.hop :]
            self._begin += self.hop

    def rest(self) -> Iterator[tuple[int, np.ndarray]]:
        """The last window, of full length up to the end of the sound; all of it where it is shorter than a window."""
        total = self._begin + len(self._held)
        if total == 0 or (self._end and total - self._end <= self.tolerance):
            return
        if self._end == 0:
            yield 0, self._held
            return
        more = total - self._end
        yield total - self.size, np.concatenate([self._last, self._held[len(self._held) - more :]])[-self.size :]


class Stream:
    """One run over a stream. sinks: as of a watch, but without a journal: undelivered messages are lost at the end."""

    def __init__(
        self,
        scorer: Scorer,
        pcm: Pcm,
        request: StreamRequest,
        sinks: Sequence[Sink],
        *,
        say: Say,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.scorer, self.pcm, self.request, self.sinks = scorer, pcm, request, sinks
        self.say, self.clock, self.wall = say, clock, wall
        self.rate_hz = pcm.layout.rate_hz
        self.window_s, self.hop_s = _window(scorer, request)
        self.machine, self.section = scorer.section_of("", request.machine, request.section)
        self.quiet_s = quiet_seconds(self.window_s) if request.quiet_s is None else request.quiet_s
        self.feed = Feed(round(max(BUFFER_S, 2 * self.window_s) * self.rate_hz))
        self.stopped = False
        self.windows = self.rejected = self.alarms = self.anomalous = 0
        self.zero = 0.0
        self._runs: list[Run] = []
        self._sent: set[str] = set()
        self._beat = self._lag_logged = clock()

    def run(self) -> None:
        """Score until the stream ends or `stop` is called. Raises DataError for a stream without a sample."""
        self.feed.start(self.pcm)
        size, hop = (max(1, round(seconds * self.rate_hz)) for seconds in (self.window_s, self.hop_s))
        windows = Windows(size, hop, int(TOLERANCE_S * self.rate_hz))
        while not self.stopped:
            wave = self.feed.get(POLL_S)
            if wave is None:
                self._score_all(windows.rest())
                break
            if len(wave) and not self.zero:
                self.zero = self.wall() - len(wave) / self.rate_hz
            self._score_all(windows.push(wave))
            self._report()
        self._finish()

    def stop(self) -> None:
        """End after the present window; safe in a signal handler."""
        self.stopped = True

    def _score_all(self, windows: Iterator[tuple[int, np.ndarray]]) -> None:
        for start, wave in windows:
            if self.stopped:
                return
            self._score(start, wave)
            self._report()

    def _score(self, start: int, wave: np.ndarray) -> None:
        """Score one window and write the result."""
        start_s, end_s = start / self.rate_hz, (start + len(wave)) / self.rate_hz
        head = {"time": utc(self.wall()), "machine": self.machine, "section": self.section}
        span = {"start_s": start_s, "end_s": end_s, "start": utc(self.zero + start_s), "end": utc(self.zero + end_s)}
        name = identity("stream", self.zero, self.machine, self.section, start)
        behind = {"behind_s": round((self.feed.received - start - len(wave)) / self.rate_hz, 3)}
        try:
            verdicts = self._verdicts(wave, start_s)
        except Exception as error:  # no window may end the stream
            self.rejected += 1
            reason = str(error) if isinstance(error, AsdError) else f"{type(error).__name__}: {error}"
            self.say(f"window at {start_s:.3f} s: rejected, {reason}")
            self._show({"type": "rejected", "id": name, **head, **span, "reason": reason, **behind})
            return
        self.windows += 1
        for i, verdict in enumerate(verdicts):
            self.anomalous += verdict.anomaly
            own = {"start": utc(self.zero + verdict.start_s), "end": utc(self.zero + verdict.end_s)}
            self._show({"type": "result", "id": f"{name}-{i}", **head, **verdict.as_json(), **own, **behind})
        source = Source(identity("stream", self.zero), "", self.zero)
        events, self._runs = follow(self._runs, verdicts, source, quiet_s=self.quiet_s, now=self.wall())
        self._send(events)

    def _verdicts(self, wave: np.ndarray, start_s: float) -> list[Verdict]:
        """Verdicts of a window; their times count from the start of the stream."""
        if not np.isfinite(wave).all():
            raise DataError("contains NaN or infinite samples")
        verdicts = self.scorer.score(wave, self.rate_hz, machine=self.machine, section=self.section)
        return [_moved(verdict, start_s) for verdict in verdicts]

    def _report(self) -> None:
        now = self.clock()
        for sink in self.sinks:
            self._sent.difference_update(delivery.id for delivery in sink.done())
        behind_s = self.feed.held / self.rate_hz
        if behind_s > self.hop_s and now - self._lag_logged >= LAG_LOG_S:
            self._lag_logged = now
            self.say(f"scoring is {behind_s:.1f} s behind the stream; nothing is dropped, buffer {BUFFER_S:.0f} s")
        if now - self._beat >= self.request.heartbeat_s:
            self._heartbeat()

    def _finish(self) -> None:
        """End the runs, wait for the sinks, and log what was not delivered."""
        now = self.wall()
        self._send([ended(run, now) for run in self._runs])
        deadline = self.clock() + (0.0 if self.stopped else DRAIN_S)
        while self._sent and self.clock() < deadline and not self.stopped:
            time.sleep(POLL_S)
            self._report()
        self._heartbeat()
        if self._sent:
            self.say(f"{len(self._sent)} alarm messages were not delivered")
        if self.pcm.dropped_bytes:
            self.say(f"left out {counted(self.pcm.dropped_bytes, 'byte')} of an unfinished sample at the end")
        if not self.feed.received and not self.stopped:
            raise DataError("the stream ended without a sample")

    def _heartbeat(self) -> None:
        self._beat = self.clock()
        counts = {"windows": self.windows, "rejected": self.rejected, "alarms": self.alarms}
        seconds = {"seconds": self.feed.received / self.rate_hz, "behind_s": self.feed.held / self.rate_hz}
        self._show({"type": "heartbeat", "time": utc(self.wall()), **counts, **seconds, "undelivered": len(self._sent)})

    def _show(self, message: Message) -> None:
        """A message for stdout only."""
        for sink in self.sinks:
            if isinstance(sink, Lines):
                sink.write([plain_values(message)])

    def _send(self, events: Sequence[Message]) -> None:
        """Alarm messages for every sink."""
        for event in map(plain_values, events):
            self.alarms += event["type"] == "alarm"
            self.say(f"{event['type']} {event['id']}: {event['machine']} {event['section']} at {event['start']}")
            for sink in self.sinks:
                key = event["id"]
                if not sink.send(key, [event]):
                    self.say(f"{sink.name}: {key} not delivered, too many messages wait")
                elif not isinstance(sink, Lines):
                    self._sent.add(key)


def _window(scorer: Scorer, request: StreamRequest) -> tuple[float, float]:
    """Length and hop of the windows. Raises OptionError where samples between windows would be skipped."""
    window_s = scorer.seconds if request.window_s is None else request.window_s
    hop_s = (scorer.hop_s if request.window_s is None else window_s / 2) if request.hop_s is None else request.hop_s
    if not 0 < hop_s <= window_s:
        raise OptionError(f"--hop {hop_s:g}: expected more than 0 and at most the window, {window_s:g} s")
    return window_s, hop_s


def _moved(verdict: Verdict, by_s: float) -> Verdict:
    """A verdict whose times are `by_s` later."""
    where = tuple(replace(region, start_s=region.start_s + by_s, end_s=region.end_s + by_s) for region in verdict.where)
    return replace(verdict, start_s=verdict.start_s + by_s, end_s=verdict.end_s + by_s, where=where)

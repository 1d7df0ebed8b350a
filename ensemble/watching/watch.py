"""The loop of `detect watch`: scan the folder, score complete files, record the results, deliver messages."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ensemble.scoring.drift import Recent
from ensemble.scoring.verdict import Verdict
from ensemble.watching.alarms import Message, Source, ended, follow, identity, plain_values, quiet_seconds, silent, utc
from ensemble.watching.folder import Arrivals, Look, look
from ensemble.watching.journal import Journal
from ensemble.watching.outbox import Outbox
from ensemble.watching.scorer import Scorer
from ensemble.watching.sinks import Lines, Say, Sink
from ensemble.watching.state import Known, Record, known_record
from ensemble.watching.wake import Wake
from ensemble.watching.whole import Version, version_of
from featstore.audio.read import UNREADABLE
from featstore.errors import AsdError, DataError
from featstore.terminal.shown import counted

BATCH_S = 2.0
"""Least seconds of scoring between two looks at the folder."""

FULL_LOOK_SHARE = 0.1
"""Largest share of the time for looks that read the version of old known files; these rarely change."""

OLD_S = 600.0
"""Age from which a known file is old."""

LEAST_PAUSE_S = 0.05
DRAIN_S = 60.0
"""How long `--once` waits for the command and the webhook."""


@dataclass(frozen=True)
class WatchRequest:
    """What is watched and how; times in seconds.

    machine, section: of every file; empty: from its path. settle_s: how long a file must be unchanged. give_up_s: how
    long a file may be shorter than its header states. quiet_s: the pause that ends a run of anomalous clips, None for
    the default. existing: "score" or "skip" the files of the first look. once: end when nothing is left to do.
    """

    folder: Path
    machine: str = ""
    section: str = ""
    settle_s: float = 1.0
    interval_s: float = 0.5
    give_up_s: float = 600.0
    quiet_s: float | None = None
    heartbeat_s: float = 60.0
    existing: str = "score"
    once: bool = False


@dataclass
class Counts:
    """Files scored and rejected, alarms raised, and clips that were anomalous, since the watch began."""

    scored: int = 0
    rejected: int = 0
    alarms: int = 0
    anomalous: int = 0


class Watch:
    """One watch of a folder. sinks: receivers of messages. wake: ends pauses early. clock: monotonic seconds."""

    def __init__(
        self,
        scorer: Scorer,
        journal: Journal,
        request: WatchRequest,
        sinks: Sequence[Sink],
        *,
        wake: Wake,
        say: Say,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.scorer, self.journal, self.request = scorer, journal, request
        self.sinks, self.wake, self.say, self.clock, self.wall = sinks, wake, say, clock, journal.wall
        self.quiet_s = quiet_seconds(scorer.seconds) if request.quiet_s is None else request.quiet_s
        self.counts = Counts()
        self.recent = Recent(scorer.drift)
        self.outbox = Outbox(journal, sinks, say=say)
        glance_s = min(request.interval_s, request.settle_s)
        self.arrivals = Arrivals(request.settle_s, glance_s, request.give_up_s)
        self._problems: set[str] = set()
        self._is_begun = self._is_idle = False
        self._look_s = self._full_s = 0.0
        self._full_at = -math.inf
        self._beat = clock()

    def run(self) -> Counts:
        """Watch until the wake is stopped; with `once`, until no file is left that would become ready by waiting.

        Raises DataError if the folder cannot be read with `once`.
        """
        latest = (
            self.clock() + self.request.settle_s + self.request.interval_s
        )  # `once` does not wait for files that still grow
        while not self.wake.stopped:
            self.step()
            if self.request.once and self._is_idle and not self.arrivals.unsettled(self.clock(), latest):
                if not self._is_begun:
                    raise DataError("; ".join(sorted(self._problems)))
                self._drain()
                break
            least = min(self.request.interval_s, max(LEAST_PAUSE_S, self._look_s))
            self.wake.wait(self._pause(), least)
        self.heartbeat()
        return self.counts

    def step(self) -> None:
        """Look at the folder once, score what is ready, and deliver messages."""
        seen = self._look()
        now = self.clock()
        self._say_problems(seen.problems)
        is_readable = bool(seen.files) or not seen.problems
        if is_readable and not self._is_begun:
            self._begin(seen)
        self.arrivals.update(seen, self.journal.state.known, now)
        self._is_idle = not self._score_ready(now + max(BATCH_S, 4 * self._look_s))
        if self._is_begun and is_readable:
            if self._is_idle:
                self._end_runs()
            is_whole = seen.files and not seen.problems  # a folder may be unavailable for a while
            self.journal.turn(seen.files if is_whole else self.journal.state.known)
        self._deliver()

    def _look(self) -> Look:
        """A look; a full one where the time since the last allows it."""
        began = self.clock()
        is_full = began - self._full_at >= self._full_s / FULL_LOOK_SHARE
        trusted_until_ns = 0 if is_full else int((self.wall() - OLD_S) * 1e9)
        seen = look(self.request.folder, self.journal.state.known, trusted_until_ns)
        self._look_s = self.clock() - began
        if is_full:
            self._full_at, self._full_s = began, self._look_s
        return seen

    def heartbeat(self) -> None:
        """Write a heartbeat with the counts so far, after new drift warnings."""
        self._beat = self.clock()
        for warning in self.recent.news():
            self.say(f"warning: {warning}")
            self._show({"type": "drift", "time": utc(self.wall()), "warning": warning})
        values = {"scored": self.counts.scored, "rejected": self.counts.rejected, "alarms": self.counts.alarms}
        waiting = {"waiting": len(self.arrivals.waiting), "oldest_waiting": self.arrivals.oldest()}
        self._show(
            {"type": "heartbeat", "time": utc(self.wall()), **values, **waiting, "undelivered": self.outbox.undelivered}
        )

    def _begin(self, seen: Look) -> None:
        """Record the start; at the first one also the files to skip."""
        passed: list[Record] = []
        state = self.journal.state
        if not state.started and self.request.existing == "skip":
            passed = [known_record(path, Known(version, 1)) for path, version in seen.files.items()]
            self.say(f"{counted(len(passed), 'existing file')} skipped")
        folder = str(self.request.folder.absolute())
        if state.started and state.folder != folder:
            self.say(f"{self.journal.folder} was the journal of {state.folder} before")
        start = {"kind": "start", "time": utc(self.wall()), "folder": folder}
        self.journal.add(*passed, {**start, "sinks": [sink.name for sink in self.sinks]})
        known = sum(path in state.known for path in seen.files)
        self.say(
            f"watching {folder}: {counted(len(seen.files), 'file')}, {known} scored before; "
            f"journal {self.journal.folder}"
        )
        self._is_begun = True

    def _score_ready(self, deadline: float) -> int:
        """Score ready files until the deadline, and return how many were ready until then."""
        count = 0
        for path, version in self.arrivals.ready(self.request.folder, self.clock(), self.wall()):
            if self.wake.stopped or (count and self.clock() > deadline):
                break
            count += 1
            self._score(path, version)
            self._deliver()
        return count

    def _score(self, path: str, version: Version) -> None:
        """Score one version of a file and record the result, unless the file changed meanwhile."""
        record: Record = {"kind": "file", "id": identity(path, *version), "time": utc(self.wall()), "path": path}
        record |= {**version._asdict(), "version": self.journal.state.number_after(path)}
        full = self.request.folder / path
        try:
            is_same = version_of(full) == version
            result = self._result(path, full, Source(record["id"], path, version.mtime_ns / 1e9)) if is_same else {}
            is_same = is_same and version_of(full) == version
        except OSError as error:
            self._retry_later(path, str(error))
            return
        if not is_same:
            self.arrivals.done(path)  # the next look reads its new version, which waits anew
        elif result.get("rejected", "").startswith(UNREADABLE):
            self._retry_later(path, result["rejected"])
        else:
            self.journal.add({**record, **result})
            self.arrivals.done(path)
            self._count(path, record["version"], result)

    def _result(self, path: str, full: Path, source: Source) -> dict[str, Any]:
        """Verdicts, events and runs of a file, or the reason why it was rejected."""
        try:
            machine, section = self.scorer.section_of(path, self.request.machine, self.request.section)
            verdicts = self.scorer.score_file(full, machine=machine, section=section)
            length_s = max((verdict.end_s for verdict in verdicts), default=0.0)
            begun = replace(source, zero=source.zero - length_s)  # a file is written until its recording ends
            result = self._scored(machine, section, verdicts, begun)
        except AsdError as error:
            return {"rejected": str(error).removeprefix(f"{path}: "), "events": []}
        except Exception as error:  # nothing that a file holds may end the watch
            return {"rejected": f"{type(error).__name__}: {error}", "events": []}
        return result

    def _scored(self, machine: str, section: str, verdicts: Sequence[Verdict], source: Source) -> dict[str, Any]:
        if not all(math.isfinite(verdict.score) for verdict in verdicts):
            raise DataError("the model gave a score that is not finite")
        runs = self.journal.state.runs.get((machine, section), [])
        self.recent.add(verdicts)
        events, runs = follow(runs, verdicts, source, quiet_s=self.quiet_s, now=self.wall())
        result: dict[str, Any] = {"machine": machine, "section": section, "events": events}
        result |= {"verdicts": [verdict.as_json() for verdict in verdicts], "runs": [run.as_json() for run in runs]}
        plain: dict[str, Any] = plain_values(result)
        return plain

    def _count(self, path: str, number: int, result: dict[str, Any]) -> None:
        if number > 1:
            self.say(f"{path}: changed, this is version {number}")
        if "rejected" in result:
            self.counts.rejected += 1
            self.say(f"{path}: rejected, {result['rejected']}")
            return
        self.counts.scored += 1
        self.counts.anomalous += sum(verdict["anomaly"] for verdict in result["verdicts"])
        for event in result["events"]:
            self.counts.alarms += event["type"] == "alarm"
            when = event["end"] if event["type"] == "alarm_end" else event["start"]
            self.say(f"{event['type']} {event['id']}: {event['machine']} {event['section']} at {when}")

    def _retry_later(self, path: str, reason: str) -> None:
        if self.arrivals.later(path, self.clock()) == 1:
            self.say(f"{path}: {reason}; it is tried again")

    def _end_runs(self) -> None:
        """End the runs that no clip continued."""
        now = self.wall()
        for (machine, section), runs in list(self.journal.state.runs.items()):
            over = silent(runs, quiet_s=self.quiet_s, now=now)
            if not over:
                continue
            record: Record = {"kind": "end", "id": identity("end", *(run.id for run in over)), "time": utc(now)}
            record |= {"machine": machine, "section": section, "events": [ended(run, now) for run in over]}
            self.journal.add({**record, "runs": [run.as_json() for run in runs if run not in over]})

    def _deliver(self) -> None:
        if self._is_begun:
            self.outbox.move()
        if self.clock() - self._beat >= self.request.heartbeat_s:
            self.heartbeat()

    def _show(self, message: Message) -> None:
        for sink in self.sinks:
            if isinstance(sink, Lines):
                sink.write([message])

    def _say_problems(self, problems: Sequence[str]) -> None:
        """Log once that a folder cannot be read, and once that it can be read again."""
        for problem in sorted(set(problems) - self._problems):
            self.say(f"{problem}; tried again at every look")
        for problem in sorted(self._problems - set(problems)):
            self.say(f"{problem.rpartition(': ')[0]}: can be read again")
        self._problems = set(problems)

    def _pause(self) -> float:
        if not self._is_idle:
            return 0.0
        return min(self.request.interval_s, self.arrivals.due(self.clock()))

    def _drain(self) -> None:
        """Give the sinks time to deliver."""
        deadline = self.clock() + DRAIN_S
        while self._is_begun and self.outbox.undelivered and self.clock() < deadline and not self.wake.stopped:
            self.wake.wait(LEAST_PAUSE_S, LEAST_PAUSE_S)
            self.outbox.move()
        if self.outbox.undelivered:
            self.say(f"{self.outbox.undelivered} messages were not delivered; the next run tries again")

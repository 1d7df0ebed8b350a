"""Runs of anomalous clips of one section: an alarm at the first clip, and a message at the end.

The time of a clip is that of its file (of its last change) plus its place in the file. Clips that begin at most `quiet`
seconds after the last anomalous clip continue its run; normal clips between them do not end it. A run ends with a later
clip, or if none was scored for `quiet` seconds. Runs are a list, because old recordings may arrive between new ones.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import xxhash

from ensemble.scoring.verdict import Verdict

Message = dict[str, Any]

LEAST_QUIET_S = 30.0
QUIET_CLIPS = 3


@dataclass(frozen=True)
class Run:
    """A run of anomalous clips that is not over.

    start, last: Unix time of the beginning of the first and of the end of the last anomalous clip. seen: Unix
    time at which the last anomalous clip was scored. peak: file, UTC times and sentence of the clip with the highest
    score.
    """

    id: str
    machine: str
    section: str
    start: float
    last: float
    peak_score: float
    clips: int
    seen: float
    peak: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Values by name."""
        return asdict(self)


@dataclass(frozen=True)
class Source:
    """Where clips come from. id: of this version of a file, or of a stream. zero: Unix time of its offset 0."""

    id: str
    file: str
    zero: float


def utc(seconds: float) -> str:
    """Unix time as UTC text with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def identity(*parts: object) -> str:
    """16 hex digits that depend only on the parts."""
    return xxhash.xxh3_64_hexdigest("\0".join(map(str, parts)).encode("utf-8", "surrogatepass"))


def plain_values(value: Any) -> Any:
    """Values that JSON has: Python numbers, None for NaN and infinities."""
    if isinstance(value, dict):
        return {name: plain_values(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def quiet_seconds(clip_s: float) -> float:
    """Default of the pause that ends a run."""
    return max(LEAST_QUIET_S, QUIET_CLIPS * clip_s)


def follow(
    runs: Sequence[Run], verdicts: Sequence[Verdict], source: Source, *, quiet_s: float, now: float
) -> tuple[list[Message], list[Run]]:
    """Messages that follow from the clips of a file, in order, and the runs of their section afterwards."""
    messages: list[Message] = []
    runs = list(runs)
    for verdict in verdicts:
        start, end = source.zero + verdict.start_s, source.zero + verdict.end_s
        over = [run for run in runs if start > run.last + quiet_s]
        messages += [ended(run, now) for run in over]
        runs = [run for run in runs if run not in over]
        if not verdict.anomaly:
            continue
        near = next((i for i, run in enumerate(runs) if end >= run.start - quiet_s), None)
        if near is not None:
            runs[near] = replace(_longer(runs[near], verdict, source, start, end), seen=now)
            continue
        message = _alarm(verdict, source, start, end, now)
        messages.append(message)
        peak = _peak(verdict, source, start, end)
        runs.append(Run(message["id"], verdict.machine, verdict.section, start, end, verdict.score, 1, now, peak))
    return messages, runs


def silent(runs: Sequence[Run], *, quiet_s: float, now: float) -> list[Run]:
    """Runs whose last anomalous clip was scored `quiet_s` seconds ago or earlier."""
    return [run for run in runs if now - run.seen >= quiet_s]


def ended(run: Run, now: float) -> Message:
    """The message that a run is over."""
    return {
        "type": "alarm_end",
        "id": f"{run.id}-end",
        "alarm": run.id,
        "time": utc(now),
        "machine": run.machine,
        "section": run.section,
        "start": utc(run.start),
        "end": utc(run.last),
        "peak_score": run.peak_score,
        "clips": run.clips,
        "peak": dict(run.peak),
    }


def _longer(run: Run, verdict: Verdict, source: Source, start: float, end: float) -> Run:
    if verdict.score > run.peak_score:
        run = replace(run, peak_score=verdict.score, peak=_peak(verdict, source, start, end))
    first, last = min(run.start, start), max(run.last, end)
    return replace(run, start=first, last=last, clips=run.clips + 1)


def _peak(verdict: Verdict, source: Source, start: float, end: float) -> dict[str, Any]:
    """Where and when the clip is, and what is said of it."""
    times = {"start": utc(start), "end": utc(end), "start_s": verdict.start_s, "end_s": verdict.end_s}
    return {"file": source.file, **times, "nearest": verdict.nearest, "sentence": verdict.sentence}


def _alarm(verdict: Verdict, source: Source, start: float, end: float, now: float) -> Message:
    values = verdict.as_json()
    copied = ("score", "percentile", "p_value", "threshold", "nearest", "sentence", "where")
    return {
        "type": "alarm",
        "id": identity(source.id, verdict.machine, verdict.section, f"{verdict.start_s:.6f}"),
        "time": utc(now),
        "file": source.file,
        "machine": verdict.machine,
        "section": verdict.section,
        "start": utc(start),
        "end": utc(end),
        "start_s": verdict.start_s,
        "end_s": verdict.end_s,
        **{name: values[name] for name in copied},
    }

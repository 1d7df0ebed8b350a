"""events.csv and recordings.csv, which a detection with windows has beside scores.csv."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType

import numpy as np

from ensemble.run import Detection
from ensemble.windows.events import Event, spans_of
from ensemble.windows.findings import Findings
from featstore.disk.files import write_new

EVENTS_FILE, RECORDINGS_FILE = "events.csv", "recordings.csv"


def write_windows(
    out: Path, detection: Detection, findings: Findings, where: Mapping[int, str] = MappingProxyType({})
) -> list[Path]:
    """Write both files to the folder `out`, most anomalous first, and return them.

    where: row of a clip -> where it deviates from normal, in words.
    """
    sentences = peak_sentences(detection, findings, where)
    texts = {EVENTS_FILE: events_csv(findings.events, sentences), RECORDINGS_FILE: recordings_csv(detection, findings)}
    for name, text in texts.items():
        write_new(out / name, text.encode("utf-8", "surrogateescape"))
    return [out / name for name in texts]


def remove_windows(out: Path) -> None:
    """Remove the files of an earlier run."""
    for name in (EVENTS_FILE, RECORDINGS_FILE):
        (out / name).unlink(missing_ok=True)


def time_text(value: float | None) -> str:
    """Seconds for a CSV, rounded to microseconds as in a window's path; empty where the time is unknown."""
    if value is None or np.isnan(value):
        return ""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def peak_sentences(detection: Detection, findings: Findings, where: Mapping[int, str]) -> list[str]:
    """Where the peak of each event deviates, "" where that is unknown; where: by row of the detection."""
    names = [detection.clips.column(name).tolist() for name in ("machine", "section")]
    recordings, spans = detection.clips.recordings(), spans_of(detection.clips, findings.seconds)
    known = {
        (recordings[row], names[0][row], names[1][row], float(detection.score[row]), time_text(spans[row].mean())): text
        for row, text in where.items()
    }
    places = [(event.recording, event.machine, event.section, event.peak_score) for event in findings.events]
    times = [time_text(event.peak_time_s) for event in findings.events]
    return [known.get((*place, time), "") for place, time in zip(places, times, strict=True)]


def events_csv(events: Sequence[Event], where: Sequence[str]) -> str:
    """One row per event, with the fields of Event and where its peak deviates, in words."""
    names = [field.name for field in fields(Event)]
    rows = ([_EVENT.get(name, str)(getattr(event, name)) for name in names] for event in events)
    return _csv([*names, "where"], ([*row, text] for row, text in zip(rows, where, strict=True)))


_EVENT = {
    "start_s": time_text,
    "end_s": time_text,
    "peak_time_s": time_text,
    "peak_score": repr,
    "peak_percentile": "{:.6f}".format,
}
"""How the fields of an event are written, where not as they are."""


def recordings_csv(detection: Detection, findings: Findings) -> str:
    """One row per recording: score and percentile by the rule, and how many of its windows are reported."""
    recordings, clips, score = findings.recordings, findings.recordings.clips, detection.score
    spans = spans_of(detection.clips, findings.seconds)
    scores, percentiles = recordings.scores(score), recordings.scores(detection.percentile)
    reported = [int(detection.decision[rows].sum()) for rows in recordings.rows]
    count = Counter((event.machine, event.section, event.recording) for event in findings.events)
    peaks = [spans[rows[np.argmax(score[rows])]].mean() for rows in recordings.rows]
    names, domain, lines = recordings.names, clips.column("domain").tolist(), []
    for i in np.lexsort([np.arange(len(clips)), -scores, -percentiles]).tolist():
        machine, section, recording = names[i]
        numbers = [repr(float(scores[i])), f"{percentiles[i]:.6f}", int(reported[i] > 0), len(recordings.rows[i])]
        counts = [reported[i], count[names[i]], time_text(float(peaks[i]))]
        lines.append([recording, machine, section, domain[i], *numbers, *counts])
    header = ["recording", "machine", "section", "domain", "score", "percentile", "decision", "windows", "reported"]
    return _csv([*header, "events", "peak_time_s"], lines)


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()

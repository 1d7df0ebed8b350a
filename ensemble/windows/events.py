"""Events: neighbouring windows of a recording that are reported, with a beginning and an end."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ensemble.run import Detection
from ensemble.windows.recordings import recordings_of
from featstore.store import FeatureStore
from featstore.table import ClipTable

TOUCHING_S = 0.001
"""Windows with a gap of at most this are neighbours, because times in paths are rounded."""


@dataclass(frozen=True)
class Event:
    """Reported windows of one recording, each of which starts before the event so far has ended.

    Times are in seconds from the beginning of the recording. peak_score, peak_percentile, peak_time_s: of the window
    with the highest score, and its middle. windows: number of the reported ones. A reported whole recording is an event
    with one window; its end and peak time are None where its length is unknown.
    """

    recording: str
    machine: str
    section: str
    start_s: float
    end_s: float | None
    peak_score: float
    peak_percentile: float
    peak_time_s: float | None
    windows: int


def spans_of(clips: ClipTable, seconds: np.ndarray | None = None) -> np.ndarray:
    """Start and end of every clip in seconds (n, 2); a whole recording ends after `seconds` (n,), NaN if unknown."""
    spans = clips.windows()
    whole = np.isnan(spans[:, 0])
    spans[whole, 0] = 0
    if seconds is not None:
        spans[whole, 1] = seconds[whole]
    return spans


def recording_lengths(store: FeatureStore, name: str, clips: ClipTable) -> np.ndarray:
    """Length (n,) of the recording of every clip by the facts of embedding `name`, in seconds; NaN if unknown."""
    row_of = {key: row for row, key in enumerate(store.clips(name).keys())}
    rows = np.array([row_of[key] for key in clips.keys()], dtype=np.intp)  # noqa: SIM118 - a table, not a dict
    facts = store.facts(name)
    samples, rate_hz = (facts[column][rows].astype(np.float64) for column in ("n_samples", "sample_rate_hz"))
    seconds = np.full(len(rows), np.nan)
    np.divide(samples, rate_hz, out=seconds, where=(samples > 0) & (rate_hz > 0))
    return seconds


def events_of(detection: Detection, seconds: np.ndarray | None = None) -> list[Event]:
    """The events of a detection, most anomalous first: by peak percentile, then by score.

    `seconds`: lengths (m,) of recordings, for clips that are whole recordings. The order of the clips does not matter.
    """
    rows = np.flatnonzero(detection.decision)
    clips, spans = detection.clips[rows], spans_of(detection.clips, seconds)[rows]
    columns = [clips.column("machine").tolist(), clips.column("section").tolist(), clips.recordings()]
    places = list(zip(*columns, spans.tolist(), rows.tolist(), strict=True))
    runs: dict[tuple[str, str, str], list[tuple[float, float, int]]] = {}
    for machine, section, recording, (start, end), row in places:
        runs.setdefault((recording, machine, section), []).append((start, end, row))
    events = [
        _event(names, run, detection)
        for names, windows in runs.items()
        for run in _runs(sorted(windows, key=lambda window: (window[0], -np.nan_to_num(window[1], nan=np.inf))))
    ]
    return sorted(events, key=lambda event: (-event.peak_percentile, -event.peak_score, _place(event)))


def _place(event: Event) -> tuple[str, str, str, float]:
    return event.machine, event.section, event.recording, event.start_s


def _runs(windows: Sequence[tuple[float, float, int]]) -> Iterator[list[tuple[float, float, int]]]:
    """Windows in order of their start, divided where one starts after the end of all before it."""
    run: list[tuple[float, float, int]] = []
    end = -np.inf
    for window in windows:
        if run and window[0] > end + TOUCHING_S:
            yield run
            run, end = [], -np.inf
        run.append(window)
        end = max(end, np.nan_to_num(window[1], nan=np.inf))
    yield run


def _event(names: tuple[str, str, str], run: Sequence[tuple[float, float, int]], detection: Detection) -> Event:
    """The event of a run of windows (start, end, row of the detection)."""
    score, percentile = detection.score, detection.percentile
    start, end, peak = max(run, key=lambda window: (score[window[2]], percentile[window[2]], -window[0]))
    middle, last = (start + end) / 2, max(np.nan_to_num(window[1], nan=np.inf) for window in run)
    return Event(
        *names,
        start_s=run[0][0],
        end_s=float(last) if np.isfinite(last) else None,
        peak_score=float(score[peak]),
        peak_percentile=float(percentile[peak]),
        peak_time_s=float(middle) if np.isfinite(middle) else None,
        windows=len(run),
    )


@dataclass(frozen=True)
class EventRate:
    """Number of false events: those of `recordings` normal test recordings, whose windows cover `hours`."""

    events: int
    recordings: int
    hours: float

    @property
    def per_hour(self) -> float:
        """Events per hour of normal sound."""
        return self.events / self.hours

    @property
    def text(self) -> str:
        """The rate and what it is of."""
        of = f"normal test recordings: {self.recordings:,}, hours that their windows cover: {self.hours:.3g}"
        return f"false events: {self.per_hour:.3g} events per hour (events: {self.events:,}, {of})"


def event_rate(detection: Detection, events: Sequence[Event]) -> EventRate | None:
    """Events per hour of the normal test recordings with windows; None where there are none.

    Labels are only counted here. Training clips that are ranked among themselves have no such rate.
    """
    if detection.self_ranked:
        return None
    recordings, spans = recordings_of(detection.clips), detection.clips.windows()
    normal = recordings.clips.where(label="normal")
    names = [recordings.names[i] for i in np.flatnonzero(normal).tolist()]
    covered = [covered_s(spans[recordings.rows[i]]) for i in np.flatnonzero(normal).tolist()]
    seconds = {name: length for name, length in zip(names, covered, strict=True) if length > 0}
    if not seconds:
        return None
    false = sum((event.machine, event.section, event.recording) in seconds for event in events)
    return EventRate(false, len(seconds), sum(seconds.values()) / 3600)


def covered_s(spans: np.ndarray) -> float:
    """Seconds that lie in any of the spans (n, 2); those with NaN count nothing."""
    total, end = 0.0, -np.inf
    for start, stop in sorted(spans[np.isfinite(spans).all(axis=1)].tolist()):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total

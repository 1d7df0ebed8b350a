"""When recordings began: from their file names, else from the modification times of the files.

Names: `20240131_235959`, `2024-01-31T23-59-59`, `2024-01-31 23.59.59`, `20240131T235959Z`, `20240131235959`, the date
as folder and the time as name (`2024-01-31/23-59-59.wav`), seconds or milliseconds since 1970 (`1706745599.wav`). A
date without a time of day is no time, nor is a date with a two-digit year or in another order. A date or time of day
that does not exist is refused. A time without a zone is local to this machine.

- Names count in a section where at least nine of ten recordings have a time in their name, and where these differ.
- The file's modification time is when its recording ended. Modification times count in a section where the recordings
  fit between them: where they last longer in total than the time from the first to the last, the files were copied or
  generated, and their times are unknown. This holds for the scored recordings, and for all of the section in the store.

One run has one source: names where they count for at least half of the scored recordings, else modification times.
Recordings of sections where that source does not count have no time.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

import numpy as np

from ensemble.windows.events import spans_of
from featstore.store import FeatureStore
from featstore.table import ClipTable

NAME, FILE, UNKNOWN = "name", "file", ""
SHARE = 0.9
"""Least share of a section's recordings that have a time in their name."""

SLACK = 1.01
"""Recordings may last so much longer than the modification times span: clocks are not exact."""

_DATE = r"(?P<year>(?:19|20)\d\d)(?P<dash>[-_.]?)(?P<month>\d\d)(?P=dash)(?P<day>\d\d)"
_OFFSET = "(?:0\\d|1[0-4]){}(?:00|30|45)"
# With a minus and no colon it counts only after T: a running number may follow other times.
_ZONE = rf"(?P<zone>Z|\+{_OFFSET.format(':?')}|-{_OFFSET.format(':')}|(?(T)-{_OFFSET.format('')}|(?!)))?"
_FRACTION = r"(?:[.,](?P<fraction>\d{1,6}))?"
_TIME = rf"(?P<hour>\d\d)(?P<colon>[-_.:h]?)(?P<minute>\d\d)(?:(?P=colon)|m)(?P<second>\d\d)s?{_FRACTION}{_ZONE}"
_CALENDAR = re.compile(rf"(?<!\d){_DATE}(?:(?P<T>T)|[_ .-]|__|_-_| - )?{_TIME}(?!\d)")
_IN_FOLDERS = re.compile(rf"(?<!\d){_DATE}/(?P<T>T)?{_TIME.replace('[-_.:h]?', '[-_.:h]')}(?!\d)")
_SINCE_1970 = re.compile(r"(?<![0-9A-Za-z.])(?P<seconds>[1-3]\d{9})(?P<milliseconds>\d{3})?(?![0-9A-Za-z])")


class Recorded(NamedTuple):
    """Length of every clip's recording (m,) in seconds, and when it began, in seconds since 1970; NaN where unknown.

    source: where all times come from, "name", "file", or "" where there are none.
    """

    seconds: np.ndarray
    times: np.ndarray
    source: str


def time_in(path: str) -> float | None:
    """When a recording began by its path, in seconds since 1970; None where the path does not say."""
    folder, _, name = path.rpartition("/")
    stem = name.rpartition(".")[0] or name
    for pattern, text in ((_CALENDAR, stem), (_IN_FOLDERS, f"{folder.rpartition('/')[2]}/{stem}")):
        for match in pattern.finditer(text):
            moment = _moment(match)
            if moment is not None:
                return moment
    number = _SINCE_1970.search(stem)
    return float(number["seconds"]) + float(number["milliseconds"] or 0) / 1000 if number else None


def _moment(match: re.Match[str]) -> float | None:
    """The time of a date and a time of day; None where they do not exist."""
    values = [int(match[name]) for name in ("year", "month", "day", "hour", "minute", "second")]
    try:
        micros = int((match["fraction"] or "0").ljust(6, "0"))
        moment = datetime(*values, micros, tzinfo=_zone(match["zone"])).timestamp()  # type: ignore[arg-type,misc]
    except (ValueError, OverflowError, OSError):
        return None
    return moment if moment >= 0 else None


def _zone(text: str | None) -> timezone | None:
    """The zone of a text, None for local time."""
    if text is None or text == "Z":
        return UTC if text else None
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    return timezone(-offset if text[0] == "-" else offset)


def recorded(store: FeatureStore, embedding: str, clips: ClipTable) -> Recorded:
    """Lengths of the clips' recordings by the facts of an embedding that has them, and when they began."""
    stored, facts = store.clips(embedding), store.facts(embedding)
    row_of = {key: row for row, key in enumerate(stored.keys())}
    rows = np.array([row_of[key] for key in clips.keys()], dtype=np.intp)  # noqa: SIM118 - a table, not a dict
    samples, rate_hz = (facts[name].astype(np.float64) for name in ("n_samples", "sample_rate_hz"))
    seconds = np.full(len(stored), np.nan)
    np.divide(samples, rate_hz, out=seconds, where=(samples > 0) & (rate_hz > 0))
    paths = stored.recordings()
    ended = np.where(facts["mtime_ns"] > 0, facts["mtime_ns"] / 1e9, np.nan)
    first, lasts = _whole(paths, spans_of(stored, seconds)[:, 1])
    by_name, by_file = np.full(len(clips), np.nan), np.full(len(clips), np.nan)
    for machine, section in clips.sections():
        own = np.flatnonzero(clips.where(machine=machine, section=section))
        by_name[own] = times_of_names([paths[row] for row in rows[own].tolist()])
        all_here = np.unique(first[stored.where(machine=machine, section=section, variant="")])
        scored = np.unique(first[rows[own]])
        if fit_between(ended[all_here], lasts[all_here]) and fit_between(ended[scored], lasts[scored]):
            by_file[own] = np.maximum(0, ended - np.nan_to_num(lasts))[rows[own]]
    return Recorded(seconds[rows], *_one_source(by_name, by_file))


def _whole(paths: Sequence[str], ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first row of every row's recording (n,), and how long that lasts (n,): to the end of its last window."""
    row_of: dict[str, int] = {}
    first = np.array([row_of.setdefault(path, row) for row, path in enumerate(paths)], dtype=np.intp)
    lasts = np.full(len(ends), np.nan)
    np.fmax.at(lasts, first, ends)
    return first, lasts[first]


def times_of_names(paths: Sequence[str]) -> np.ndarray:
    """When the recordings of a section began by their names (n,), one path a clip; all NaN where names do not count."""
    time_of = dict(_known(dict.fromkeys(paths)))
    recordings = len(set(paths))
    alike = recordings > 1 and len(set(time_of.values())) == 1
    if len(time_of) < SHARE * recordings or alike:
        return np.full(len(paths), np.nan)
    return np.array([time_of.get(path, np.nan) for path in paths], dtype=np.float64)


def _known(paths: Iterator[str] | dict[str, None]) -> Iterator[tuple[str, float]]:
    for path in paths:
        moment = time_in(path)
        if moment is not None:
            yield path, moment


def local_again(times: np.ndarray, paths: Sequence[str]) -> np.ndarray:
    """Times of names (n,) that another process read, as this one reads them: names without a zone are local here.

    So a page shows them as they are written, also in another zone than that of the run. Unknown ones stay NaN.
    One name an hour tells whether the zones differ, because reading every name of a large store is slow.
    """
    known = np.flatnonzero(np.isfinite(times))
    _, first = np.unique(times[known] // 3600, return_index=True)
    if all(time_in(paths[row]) in (times[row], None) for row in known[first].tolist()):
        return times
    again = times.copy()
    for row in known.tolist():
        moment = time_in(paths[row])
        again[row] = times[row] if moment is None else moment
    return again


def fit_between(ended: np.ndarray, seconds: np.ndarray) -> bool:
    """Whether recordings can have been made one after the other, by when they ended and their lengths (n,), both known.

    False where they overlap: then the files were copied. Those without a modification time are left out.
    """
    known = np.isfinite(ended)
    ended, seconds = ended[known], np.nan_to_num(seconds[known])
    if len(ended) < 2:
        return True
    span = float(np.ptp(ended))
    return span > 0 and float(seconds.sum() - seconds[ended.argmin()]) <= SLACK * span


def _one_source(by_name: np.ndarray, by_file: np.ndarray) -> tuple[np.ndarray, str]:
    named = np.isfinite(by_name)
    if named.any() and named.mean() >= 0.5:
        return by_name, NAME
    if np.isfinite(by_file).any():
        return by_file, FILE
    return (by_name, NAME) if named.any() else (np.full(len(by_name), np.nan), UNKNOWN)

"""The worst of the last hour, day and week, up to the newest recording of the results.

Times are used only where they can be times of recording. The modification times of copied files are those of the copy:
then the recordings of a section begin closer together than they last.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from ensemble.page.excess import excess_text
from ensemble.page.scored import Scored
from featstore.terminal.shown import counted

SPANS = (("hour", 3600.0), ("day", 86400.0), ("week", 7 * 86400.0))
"""Names and lengths in seconds."""

FASTEST = 10.0
"""Recordings of a section that last more than this many times the span of their times were copied, not recorded."""

MANY = 3
"""Recordings of a section that are needed to see this."""

EARLIEST, LATEST = -6e10, 2.5e11
"""Seconds since 1970 that a calendar can show: years 70 to 9892."""


@dataclass(frozen=True, eq=False)
class Clock:
    """When every clip began (m,), in seconds since 1970, NaN where unknown. newest: the latest, NaN without any.

    sentence: where the times come from, or why they are unknown; without a full stop.
    """

    times: np.ndarray
    newest: float
    sentence: str

    @property
    def known(self) -> bool:
        """Whether the time of any clip is known."""
        return bool(np.isfinite(self.newest))


def clock_of(scored: Scored) -> Clock:
    """The times of the clips, as far as they can be times of recording."""
    times = np.array(scored.times + np.nan_to_num(scored.seconds[:, 0]), dtype=np.float64)
    times[~((times > EARLIEST) & (times < LATEST))] = np.nan
    unknown = np.full(len(times), np.nan)
    known = np.isfinite(times)
    if not known.any():
        return Clock(unknown, np.nan, "The times of the recordings are unknown")
    if scored.time_source == "file" and _copied(scored, times):
        why = "The files were written faster than they last, so their modification times are those of a copy"
        return Clock(unknown, np.nan, f"{why}; the times of the recordings are unknown")
    newest = float(times[known].max())
    source = {
        "name": "Times are those in the names of the recordings",
        "file": "Times are the modification times of the files; copying a file can change them",
    }.get(scored.time_source, "Times are those of the results")
    missing = int((~known).sum())
    if missing:
        source += f"; {counted(missing, 'clip')} {'has' if missing == 1 else 'have'} none"
    return Clock(times, newest, source)


def _copied(scored: Scored, times: np.ndarray) -> bool:
    """Whether the recordings of any section begin closer together than they last."""
    usable = np.isfinite(times) & np.isfinite(scored.seconds[:, 1])
    for machine, section in scored.sections:
        rows = scored.rows_of(machine, section)
        rows = rows[usable[rows]]
        number = numbered([scored.recordings[row] for row in rows.tolist()])
        begins, ends = np.full((2, number.max(initial=-1) + 1), -np.inf)
        np.maximum.at(begins, number, scored.times[rows])
        np.maximum.at(ends, number, scored.seconds[rows, 1])
        if len(begins) < MANY:
            continue
        order = np.argsort(begins)
        if ends[order[:-1]].sum() > FASTEST * np.ptp(begins):
            return True
    return False


def numbered(names: Sequence[Hashable]) -> np.ndarray:
    """A number (n,) from 0 on for every name, the same for the same name."""
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names], dtype=np.intp)


def worst_recent(clock: Clock, rows: np.ndarray, excess: np.ndarray) -> list[tuple[str, str]]:
    """(`last hour`, `9.0 times`) for the hour, the day and the week before the newest recording of all results.

    rows: the clips of a section that count; excess (m,): of all clips. A span that holds no more clips of the results
    than a shorter one is left out; empty where times are unknown.
    """
    shown: list[tuple[str, str]] = []
    before = 0
    for name, seconds in SPANS if clock.known else ():
        inside = clock.times >= clock.newest - seconds
        total = int(inside.sum())
        if total > before:
            own = rows[inside[rows]]
            shown.append((f"last {name}", excess_text(float(excess[own].max())) if len(own) else "no recording"))
        before = total
    return shown


def date_text(time: float, form: str = "%Y-%m-%d %H:%M") -> str:
    """A time as local date and time; empty where it is unknown."""
    return datetime.fromtimestamp(time).astimezone().strftime(form) if EARLIEST < time < LATEST else ""


def age_text(seconds: float) -> str:
    """How long before the newest recording: `3 days before the newest recording`; empty where it is unknown."""
    if not np.isfinite(seconds):
        return ""
    if seconds < 1:
        return "the newest recording"
    for name, length in (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0), ("second", 1.0)):
        if seconds >= length:
            return f"{counted(int(seconds // length), name)} before the newest recording"
    return ""

"""What a threshold would report: clips and events, those of the last week, generated anomalies, and normal clips.

A threshold by hand holds for a whole section: for the clips of both domains.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

from ensemble.decision.blocks import independent
from ensemble.decision.conformal import from_surprise, surprise
from ensemble.decision.thresholds import rate_interval
from ensemble.page.charts import nines, round_values
from ensemble.page.excess import excess, excess_text
from ensemble.page.scored import Limit, Scored
from ensemble.windows.events import TOUCHING_S

WEEK_S = 7 * 86_400.0
STEPS = 400
"""Number of thresholds that the slider of a section can stand on."""

BINS = 48
DIGITS = 3
"""Significant digits of a threshold on the slider: of its distance from 1 where scores are bounded."""


@dataclass(frozen=True)
class Count:
    """Clips, and events or single clips, above a threshold; of the last week None where no time is known."""

    clips: int
    events: int
    week_clips: int | None
    week_events: int | None


@dataclass(frozen=True)
class References:
    """Honest scores (n,) of training clips that clips of a domain are compared with, rising; domain "" for all.

    independent: how many independent clips they are worth, see `ensemble.decision.blocks`.
    """

    domain: str
    scores: np.ndarray
    independent: float


@dataclass(frozen=True)
class Generated:
    """Scores (m,) of the generated anomalies of a section, with the kind of each, on the scale of its scores."""

    scores: np.ndarray
    kinds: Sequence[str]

    def found(self, value: float) -> int:
        """How many have a score above a threshold."""
        return int((self.scores > value).sum())

    def by_kind(self, value: float) -> list[tuple[str, int, int]]:
        """Kind, number found at a threshold, and number; the kinds that are missed most often come first."""
        kinds = np.array(self.kinds, dtype=np.str_)
        rows = []
        for kind in sorted(set(self.kinds)):
            own = self.scores[kinds == kind]
            rows.append((kind, int((own > value).sum()), len(own)))
        return sorted(rows, key=lambda row: (row[1] / row[2], row[0]))


class WhatIf:
    """The scores of one section of the results, prepared to be counted above many thresholds."""

    def __init__(self, scored: Scored, machine: str, section: str) -> None:
        rows = scored.rows_of(machine, section)
        recordings = scored.clips[rows].recordings()
        is_window = np.isfinite(scored.clips[rows].windows()[:, 0])
        names = [name if window else (name, row) for name, window, row in zip(recordings, is_window, rows, strict=True)]
        number: dict[object, int] = {}
        recording = np.array([number.setdefault(name, len(number)) for name in names], dtype=np.float64)
        start, end = np.where(is_window[:, None], np.nan_to_num(scored.seconds[rows]), 0.0).T
        order = np.lexsort([start, recording])
        length = float(end.max(initial=0.0)) + 1.0
        self.scored, self.machine, self.section = scored, machine, section
        self.rows = rows[order]
        self._start, self._end = (start + recording * length)[order], (end + recording * length)[order]
        self.score = scored.score[self.rows]
        self.reference = scored.reference[scored.reference_rows(machine, section)]

    @cached_property
    def _numbers(self) -> list[int]:
        """Numbers of the section's limits in the results."""
        name = "all" if self.scored.pool_sections else self.section
        limits = enumerate(self.scored.limits)
        return [number for number, limit in limits if (limit.machine, limit.section) == (self.machine, name)]

    @cached_property
    def lines(self) -> list[Limit]:
        """The present thresholds of the section, one for each domain that has another one than the others."""
        limits = [self.scored.limits[number] for number in self._numbers]
        able = [limit for limit in limits if limit.value is not None and math.isfinite(limit.value)]
        if len({limit.value for limit in able}) == 1:
            return [replace(able[0], domain="" if len(able) > 1 else able[0].domain)]
        return able

    @cached_property
    def references(self) -> list[References]:
        """The reference scores that normal clips are compared with, those of each domain that has its own threshold."""
        if not len(self.reference):
            return []
        banks = self.scored.banks
        known = [(self.scored.limits[number], banks[number]) for number in self._numbers if number < len(banks)]
        parts = [References(limit.domain, np.sort(bank), limit.worth) for limit, bank in known if len(bank)]
        if parts:
            return parts
        rows = self.scored.reference_rows(self.machine, self.section)
        recording = np.array(self.scored.train[rows].recordings(), dtype=object).astype(np.str_)
        return [References("", np.sort(self.reference), independent(np.unique(recording, return_inverse=True)[1]))]

    @cached_property
    def newest(self) -> float | None:
        """When the newest scored clip of any section began, in seconds since 1970; None where no time is known."""
        began = self.scored.times + self.scored.seconds[:, 0]
        return float(np.nanmax(began)) if np.isfinite(began).any() else None

    @cached_property
    def week(self) -> np.ndarray | None:
        """Mask of the section's clips of the seven days up to the newest clip; None where no time here is known."""
        began = (self.scored.times + self.scored.seconds[:, 0])[self.rows]
        if self.newest is None or not np.isfinite(began).any():
            return None
        return np.asarray(began >= self.newest - WEEK_S)  # False where the time is NaN

    @cached_property
    def untimed(self) -> int:
        """Number of clips whose time is unknown."""
        return int((~np.isfinite(self.scored.times[self.rows])).sum())

    def count(self, value: float) -> Count:
        """What a threshold reports."""
        return self._count(self.score > value)

    def present(self) -> Count:
        """What the present thresholds report."""
        return self._count(self.scored.decision[self.rows])

    def _count(self, above: np.ndarray) -> Count:
        clips, events = int(above.sum()), self._events(above)
        if self.week is None:
            return Count(clips, events, None, None)
        week = above & self.week
        return Count(clips, events, int(week.sum()), self._events(week))

    def _events(self, above: np.ndarray) -> int:
        """Number of events: windows of a recording that touch are one; see `ensemble.page.items`."""
        if not above.any():
            return 0
        start, latest = self._start[above], np.maximum.accumulate(self._end[above])
        return 1 + int((start[1:] > latest[:-1] + TOUCHING_S).sum())

    def ratio(self, value: float, limit: Limit) -> str:
        """How many times a present threshold a value is, in words; "" where no clip can be reported."""
        if limit.value is None or not math.isfinite(limit.value):
            return ""
        middle = None if self.scored.bounded else np.array([np.median(self.reference) if len(self.reference) else 0.0])
        return excess_text(float(excess(np.array([value]), np.array([limit.value]), middle)[0]))

    def rates(self, value: float) -> list[tuple[float, float, float]]:
        """Expected share of normal clips above a threshold and its 95 % interval, for each of `references`.

        As `ensemble.decision.thresholds.given_threshold` gives it; but windows of a recording resemble each other, so
        the interval counts them as fewer independent clips.
        """
        rows = []
        for reference in self.references:
            n = len(reference.scores)
            expected = (n + 1 - int(np.searchsorted(reference.scores, value, side="right"))) / (n + 1)
            low, high = _interval(expected, reference.independent)
            rows.append((round(expected, 5), round(low, 5), round(high, 5)))
        return rows

    def place(self, scores: np.ndarray) -> np.ndarray:
        """Positions of scores on the axis, which is stretched towards 1 where scores are fused positions."""
        return surprise(scores) if self.scored.bounded else np.asarray(scores)

    @cached_property
    def span(self) -> tuple[float, float]:
        """Ends of the axis: 1 to 99 % of all scores, all present thresholds, and the highest score if it is near."""
        scores = self.place(np.concatenate([self.score, self.reference]))
        placed = self.place(np.array([limit.value for limit in self.lines], dtype=np.float64))
        low = min([float(np.quantile(scores, 0.01)), *placed.tolist()])
        high = max([float(np.quantile(scores, 0.99)), *placed.tolist()])
        if float(scores.max()) <= high + 0.5 * (high - low):
            high = float(scores.max())
        margin = 0.02 * (high - low) or abs(high) * 0.02 or 1.0
        return low - margin, high + margin

    @cached_property
    def values(self) -> list[float]:
        """The thresholds of the slider, rising, rounded to few digits."""
        low, high = self.span
        places = np.linspace(low, high, STEPS)
        if self.scored.bounded:
            raw = from_surprise(places).tolist()
            return sorted({round(value, DIGITS - 1 - math.floor(math.log10(1 - value))) for value in raw if value < 1})
        digits = 1 - math.floor(math.log10((high - low) / STEPS))
        return sorted({round(value, digits) for value in places.tolist()})

    @cached_property
    def ticks(self) -> list[tuple[float, float]]:
        """Round scores of the axis, and the place of each from 0 to 1."""
        low, high = self.span
        if self.scored.bounded:
            ends = from_surprise(np.array([low, high])).tolist()
            scores: Sequence[float] = nines(*ends) or ends
        else:
            scores = round_values(low, high)
        return [(score, self.share(score)) for score in scores]

    def share(self, score: float) -> float:
        """Place of a score on the axis, from 0 to 1; less or more outside."""
        low, high = self.span
        return round((float(self.place(np.array([score]))[0]) - low) / (high - low), 5)

    def bars(self, scores: np.ndarray) -> list[float]:
        """Share of scores in each of BINS equal parts of the axis; those beyond it are in the outermost."""
        low, high = self.span
        edges = np.linspace(low, high, BINS + 1)
        counts = np.histogram(np.clip(self.place(scores), low, high), edges)[0]
        return [round(float(count) / max(1, len(scores)), 5) for count in counts]


@lru_cache(maxsize=10_000)
def _interval(expected: float, n: float) -> tuple[float, float]:
    return rate_interval(expected, n)

"""The course of a section's scores: a small chart on the scale of `ensemble.page.excess`, and its trend in words.

The trend is that of the medians of at most 16 parts of equally many recordings in order of time. A recording counts
once, with the median of its windows, because these are alike; the oldest recordings are left out where parts would not
be equal. The test of Mann (1945) and Kendall is made on the scores themselves, because many ratios lie below the scale.
They are called rising or falling where it is significant, and steady where the interval of Sen's (1968) slope of the
ratios allows a change by a quarter at most. Otherwise nothing is said. Where times are unknown, nothing is said either:
the order of names is not the order of recording.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from markupsafe import Markup

from ensemble.page.charts import Plot
from ensemble.page.excess import MOST, excess_text
from ensemble.page.html import macros
from ensemble.page.overview.recent import date_text, numbered

BUCKETS = 150
"""Most points of a chart."""

MEDIANS = 24
"""Medians in the line of a chart of more clips than points."""

PARTS, FEWEST = 16, 8
"""Most and fewest parts for the trend, which are recordings or equally many of them."""

KEPT = 0.9
"""Parts are as many as keep at least this share of the recordings; the oldest ones are left out."""

LEVEL = 0.01
"""Chance of any wrong trend where there is none, over all sections."""

STEADY = 1.25
"""Scores are steady where they change by less than this factor, up or down."""

LOWEST = 0.05
"""Lower ratios to the threshold are drawn at this; scores are not called steady where parts are as low."""

WIDTH, HEIGHT = 300, 96


@dataclass(frozen=True, eq=False)
class Course:
    """Clips of a section in order. times: in seconds since 1970, or None where only the order is known.

    excess: how many times the threshold; scores: on a scale where a trend is tested; standing: whether a clip is
    reported and not marked as normal or ignored; recording: its number. All are (n,).
    """

    times: np.ndarray | None
    excess: np.ndarray
    scores: np.ndarray
    standing: np.ndarray
    recording: np.ndarray


@dataclass(frozen=True)
class Trend:
    """direction: rising, falling, steady, too few, or "" where nothing is known. first, last: typical ratios."""

    direction: str
    first: float
    last: float

    def __str__(self) -> str:
        if not self.direction:
            return ""
        if self.direction == TOO_FEW:
            return "too few clips for a trend"
        if self.direction == "steady":
            return f"scores are steady, typically {_times(self.last)} the threshold"
        if max(self.first, self.last) <= LOWEST * 1.001:
            return f"scores are {self.direction}, but typically stay {_times(self.last)} the threshold"
        return f"scores are {self.direction}, typically from {_times(self.first)} to {_times(self.last)} the threshold"


TOO_FEW = "too few"
NO_TREND = Trend("", np.nan, np.nan)


def _times(ratio: float) -> str:
    return f"below {LOWEST:g} times" if ratio <= LOWEST * 1.001 else excess_text(ratio)


def course_of(
    times: np.ndarray | None,
    excess: np.ndarray,
    standing: np.ndarray,
    recordings: Sequence[str],
    scores: np.ndarray | None = None,
) -> Course:
    """The clips (n,) in order of time, those of unknown time left out; in the given order where times is None.

    scores: by default the ratios.
    """
    scores = excess if scores is None else scores
    number = numbered(recordings)
    order = np.arange(len(excess))
    if times is not None:
        order = np.argsort(times, kind="stable")
        order = order[np.isfinite(times[order])]
    at = None if times is None else times[order]
    return Course(at, excess[order], scores[order], standing[order], number[order])


def trend_of(course: Course, sections: int = 1) -> Trend:
    """The trend of a course whose times are known, one of so many sections."""
    if course.times is None:
        return NO_TREND
    ratios, scores = _medians(course)
    if len(ratios) < FEWEST:
        return Trend(TOO_FEW, np.nan, np.nan)
    y = np.log10(np.maximum(LOWEST, ratios))
    level = LEVEL / sections
    quarter = len(y) // 4
    first, last = (float(10.0 ** np.median(end)) for end in (y[:quarter], y[-quarter:]))
    low, high = slope_interval(y, level)
    near = np.log10(STEADY)
    if -near <= low and high <= near and (ratios > LOWEST).all():
        return Trend("steady", first, last)
    sign, p_value = kendall(scores)
    return Trend("rising" if sign > 0 else "falling", first, last) if p_value < level else NO_TREND


def kendall(y: np.ndarray) -> tuple[int, float]:
    """Sign of the trend of y (n,), and the p-value of the two-sided Mann-Kendall test, corrected for ties."""
    n = len(y)
    first, second = np.triu_indices(n, 1)
    total = int(np.sign(y[second] - y[first]).sum())
    ties = np.unique(y, return_counts=True)[1]
    variance = float(n * (n - 1) * (2 * n + 5) - (ties * (ties - 1) * (2 * ties + 5)).sum()) / 18
    if total == 0 or variance == 0:
        return 0, 1.0
    z = (abs(total) - 1) / math.sqrt(variance)
    return (1 if total > 0 else -1), min(1.0, math.erfc(z / math.sqrt(2)))


def slope_interval(y: np.ndarray, level: float) -> tuple[float, float]:
    """Interval of the change of y (n,) from its first to its last value, by Sen (1968).

    It misses the change with probability `level`; it is infinite where n is too small for that.
    """
    n = len(y)
    x = np.linspace(0.0, 1.0, n)
    first, second = np.triu_indices(n, 1)
    slopes = np.sort((y[second] - y[first]) / (x[second] - x[first]))
    width = NormalDist().inv_cdf(1 - level / 2) * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    rank = round((len(slopes) - width) / 2) - 1
    return (float(slopes[rank]), float(slopes[-1 - rank])) if rank >= 0 else (-math.inf, math.inf)


def _medians(course: Course) -> np.ndarray:
    """Median ratio and score (2, parts) of equal parts of the recordings in order."""
    number = numbered(course.recording.tolist())
    each = np.array([_median_of(values, number) for values in (course.excess, course.scores)])
    n = each.shape[1]
    if n > PARTS:
        parts = max(range(FEWEST, PARTS + 1), key=lambda count: (min(n // count * count, KEPT * n), count))
        size = n // parts
        each = np.median(each[:, n - parts * size :].reshape(2, parts, size), axis=2)
    return each


def _median_of(values: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Median (r,) of the values (n,) of every recording, which `number` counts from 0."""
    ranked = values[np.lexsort([values, number])]
    counts = np.bincount(number) if len(number) else np.zeros(0, dtype=np.intp)
    start = np.cumsum(counts) - counts
    return np.asarray((ranked[start + (counts - 1) // 2] + ranked[start + counts // 2]) / 2)


@dataclass(frozen=True, eq=False)
class Points:
    """At most BUCKETS points (k,): place from 0 to 1, the highest ratio, and whether it is that of a standing clip.

    medians: place and median ratio (2, parts) of equal numbers of clips where a point stands for several, else none.
    by_time: whether places are proportional to time; else they follow the order.
    """

    place: np.ndarray
    highest: np.ndarray
    standing: np.ndarray
    medians: np.ndarray
    by_time: bool


def points_of(course: Course) -> Points:
    """The points of a course: a clip each where they are few, else equal spans of time or equal numbers of clips.

    Times that lie so unevenly that most clips would share a point are taken as an order.
    """
    n = len(course.excess)
    order = np.arange(n) / max(1, n - 1)
    place, by_time = order, False
    if course.times is not None and n > 1 and np.ptp(course.times) > 0:
        relative = (course.times - course.times[0]) / np.ptp(course.times)
        by_time = len(np.unique((relative * BUCKETS).astype(int))) >= min(n, BUCKETS) / 4
        place = relative if by_time else order
    bucket = np.arange(n) if n <= BUCKETS else np.minimum((place * BUCKETS).astype(int), BUCKETS - 1)
    starts = np.flatnonzero(np.diff(bucket, prepend=-1))
    groups = np.split(np.arange(n), starts[1:]) if n else []
    urgent = course.excess + MOST * course.standing  # what stands is shown before a higher clip that was dismissed
    peaks = np.array([group[np.argmax(urgent[group])] for group in groups], dtype=np.intp)
    parts = np.array_split(np.arange(n), MEDIANS) if n > BUCKETS else []
    medians = np.array([(np.median(place[part]), np.median(course.excess[part])) for part in parts]).reshape(-1, 2).T
    return Points(place[peaks], course.excess[peaks], course.standing[peaks], medians, by_time)


def trend_chart(course: Course, highest: float, label: str) -> Markup:
    """The chart of a course; highest: the ratio at the top of its axis, at least 2. label: its text alternative."""
    points = points_of(course)
    top = np.log10(max(2.0, highest) * 1.1)
    plot = Plot(34, 6, WIDTH - 42, HEIGHT - 26, x=(-0.01, 1.01), y=(float(np.log10(LOWEST)) - 0.05, float(top)))

    def height_of(ratios: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip(np.log10(np.maximum(ratios, LOWEST)), None, top))

    at = [plot.at(x, y) for x, y in zip(points.place.tolist(), height_of(points.highest).tolist(), strict=True)]
    dots = "".join(f"M{x:.1f} {y:.1f}h0" for (x, y), up in zip(at, points.standing.tolist(), strict=True) if not up)
    marks = "".join(
        f"M{x:.1f} {y - 4:.1f}l3.5 6.5h-7z" for (x, y), up in zip(at, points.standing.tolist(), strict=True) if up
    )
    place, median = points.medians
    line = plot.path(zip(place.tolist(), height_of(median).tolist(), strict=True)) if len(place) else ""
    ticks = [(f"{ratio:g}", plot.at(0, float(np.log10(ratio)))[1]) for ratio in _ticks(highest)]
    ends = ("first", "last")
    if course.times is not None and len(course.times):
        ends = (date_text(float(course.times[0])), date_text(float(course.times[-1])))
    return Markup(macros("tiles.html").trend(label, plot, (dots, marks, line), ticks, ends))


def _ticks(highest: float) -> list[float]:
    """0.1, 1 and a larger round ratio within the axis."""
    return [0.1, 1, [ratio for ratio in (2, 5, 10, 20, 50, 100, 200, 500, 1000) if ratio <= max(2.0, highest)][-1]]

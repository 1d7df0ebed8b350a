"""The items of a page: events of reported windows, reported clips, and clips that are not reported."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np

from ensemble.page.scored import Scored
from ensemble.windows.events import TOUCHING_S
from featstore.clip import window_of


@dataclass(frozen=True, slots=True)
class Item:
    """Something to look at: an event (reported windows that touch), or a single clip.

    row: of the clip with the highest ratio, in the results; it names the item. rows: of all its clips. start_s, end_s:
    in seconds from the beginning of the recording; None as an end where the length is unknown. excess: how many times
    the threshold, see `Scored.excess`. time: when it began, in seconds since 1970, NaN where unknown.
    """

    row: int
    rows: tuple[int, ...]
    recording: str
    machine: str
    section: str
    start_s: float
    end_s: float | None
    excess: float
    reported: bool
    time: float


class Items(Sequence[Item]):
    """All items of results, in order: the furthest above its threshold first; each is made when it is asked for.

    peaks (n,): row of every item, in order. events: rows of the events with several clips, by their peak. Filters of
    many items are fast as masks: `items.only(mask[items.peaks])` are those whose clip has a property.
    """

    def __init__(self, scored: Scored, peaks: np.ndarray, events: dict[int, tuple[int, ...]]) -> None:
        self.scored, self._made = scored, dict[int, Item]()
        self.peaks, self.events = peaks, events

    def __len__(self) -> int:
        return len(self.peaks)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        """An item by its place, or the items of a slice."""
        if isinstance(index, slice):
            return [self._item(row) for row in self.peaks[index].tolist()]
        return self._item(int(self.peaks[index]))

    def __iter__(self) -> Iterator[Item]:
        return (self._item(row) for row in self.peaks.tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(_same, self, other))

    __hash__ = None  # type: ignore[assignment]

    def only(self, which: np.ndarray) -> "Items":
        """Some of the items, by a mask or by places, in the order of these."""
        peaks = self.peaks[which]
        some = Items(self.scored, peaks, {peak: self.events[peak] for peak in self.events.keys() & set(peaks.tolist())})
        some._made = self._made
        return some

    @cached_property
    def times(self) -> np.ndarray:
        """When every item began (n,), in seconds since 1970, NaN where unknown."""
        starts = self.scored.seconds[:, 0].copy()
        for peak, rows in self.events.items():
            starts[peak] = starts[list(rows)].min()
        return np.asarray(self.scored.times[self.peaks] + starts[self.peaks])

    @cached_property
    def place_of(self) -> dict[int, int]:
        """Place of an item among all, by the row of any of its clips."""
        places = {row: place for place, row in enumerate(self.peaks.tolist())}
        return places | {row: places[peak] for peak, rows in self.events.items() for row in rows}

    @cached_property
    def reported(self) -> int:
        """Number of the reported items; these are the first ones."""
        return int(self.scored.decision[self.peaks].sum())

    def _item(self, row: int) -> Item:
        item = self._made.get(row)
        if item is None:
            item = self._made[row] = self._make(row)
        return item

    def _make(self, peak: int) -> Item:
        scored, rows = self.scored, self.events.get(peak, (peak,))
        spans = scored.seconds[list(rows)]
        start, end = float(spans[:, 0].min()), float(spans[:, 1].max())
        return Item(
            row=peak,
            rows=rows,
            recording=scored.recordings[peak],
            machine=scored.machine[peak],
            section=scored.section[peak],
            start_s=start,
            end_s=end if math.isfinite(end) else None,
            excess=float(scored.excess[peak]),
            reported=bool(scored.decision[peak]),
            time=float(scored.times[peak]) + start,
        )


def _same(one: Item, other: object) -> bool:
    return one is other or one == other


def what_is(scored: Scored, item: Item) -> str:
    """What an item is, in a word: reported windows are an event; others a window, or a clip that is not divided."""
    if window_of(scored.clips[item.row].path) is None:
        return "clip"
    return "event" if item.reported else "window"


def items(scored: Scored) -> Items:
    """All items, the furthest above its threshold first; equal ones by percentile, then by their names and time."""
    reported = np.flatnonzero(scored.decision)
    windows = reported[np.isfinite(scored.clips[reported].windows()[:, 0])]
    places: dict[tuple[str, str, str], list[int]] = {}
    for row in windows.tolist():
        places.setdefault((scored.recordings[row], scored.machine[row], scored.section[row]), []).append(row)
    runs = [run for windows in places.values() for run in _touching(scored.seconds, windows)]
    peaks = [max(run, key=lambda row: (scored.excess[row], scored.score[row], -row)) for run in runs]
    starts = scored.seconds[:, 0].copy()
    for peak, run in zip(peaks, runs, strict=True):
        starts[peak] = scored.seconds[run, 0].min()
    is_single = np.ones(len(scored.clips), dtype=bool)
    is_single[windows] = False
    rows = np.concatenate([np.flatnonzero(is_single), np.array(peaks, dtype=np.intp)])
    events = {peak: tuple(run) for peak, run in zip(peaks, runs, strict=True) if len(run) > 1}
    return Items(scored, _ordered(scored, rows, starts), events)


def _ordered(scored: Scored, rows: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The rows by falling excess; only those of equal excess are compared further."""

    def place(row: int) -> tuple[float, str, str, str, float]:
        names = scored.machine[row], scored.section[row], scored.recordings[row]
        return (-scored.percentile[row], *names, starts[row])

    excess = scored.excess[rows]
    order = np.argsort(-excess, kind="stable")
    rows, excess = rows[order], excess[order]
    bounds = np.flatnonzero(np.diff(excess, prepend=np.nan, append=np.nan) != 0)  # NaN differs from everything
    for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        if last - first > 1:
            rows[first:last] = sorted(rows[first:last].tolist(), key=place)
    return rows


def _touching(seconds: np.ndarray, rows: Iterable[int]) -> Iterator[list[int]]:
    """Windows of a recording in order of their start, divided where one starts after the end of all before it."""
    run: list[int] = []
    end = -np.inf
    for row in sorted(rows, key=lambda row: (seconds[row, 0], row)):
        if run and seconds[row, 0] > end + TOUCHING_S:
            yield run
            run, end = [], -np.inf
        run.append(row)
        end = max(end, float(seconds[row, 1]))
    yield run

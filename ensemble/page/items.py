"""The items of a page: events of reported windows, reported clips, and clips that are not reported."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ensemble.page.scored import Scored
from ensemble.windows.events import TOUCHING_S


@dataclass(frozen=True)
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


def items(scored: Scored) -> list[Item]:
    """All items, the furthest above its threshold first; equal ones by machine, section, recording and time."""
    columns = [scored.clips.column(name).tolist() for name in ("machine", "section")]
    recordings = scored.clips.recordings()
    is_window = np.isfinite(scored.clips.windows()[:, 0]).tolist()
    runs: list[list[int]] = []
    places: dict[tuple[str, str, str], list[int]] = {}
    for row, reported in enumerate(scored.decision.tolist()):
        if reported and is_window[row]:
            places.setdefault((recordings[row], columns[0][row], columns[1][row]), []).append(row)
        else:
            runs.append([row])
    for rows in places.values():
        runs += _touching(scored.seconds, rows)
    made = [_item(scored, rows, (recordings, *columns)) for rows in runs]
    return sorted(made, key=lambda item: (-item.excess, item.machine, item.section, item.recording, item.start_s))


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


def _item(scored: Scored, rows: Sequence[int], columns: tuple[Sequence[str], ...]) -> Item:
    peak = max(rows, key=lambda row: (scored.excess[row], scored.score[row], -row))
    start, end = float(scored.seconds[rows, 0].min()), float(scored.seconds[rows, 1].max())
    recording, machine, section = (column[peak] for column in columns)
    return Item(
        row=peak,
        rows=tuple(rows),
        recording=recording,
        machine=machine,
        section=section,
        start_s=start,
        end_s=end if np.isfinite(end) else None,
        excess=float(scored.excess[peak]),
        reported=bool(scored.decision[peak]),
        time=float(scored.times[peak] + start),
    )

"""The overview: a tile per machine and section, from which one sees where to look first.

Events are the reported items (`ensemble.page.items`). An event stands unless all its clips are marked normal or
ignored; it is confirmed where one is marked as a fault. A recording without an event that is marked as a fault counts
as well.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from markupsafe import Markup

from ensemble.decision.conformal import surprise
from ensemble.marks.file import FAULT, IGNORE, NORMAL, Mark
from ensemble.page import addresses
from ensemble.page.excess import excess_meaning, excess_text
from ensemble.page.html import EMPTY, macros, name
from ensemble.page.items import Item, Items, items
from ensemble.page.overview.promise import (
    FAILS,
    Promise,
    drift_text,
    drifts_of,
    expected_rates,
    is_usual,
    percent,
    promise,
    stated,
)
from ensemble.page.overview.recent import Clock, age_text, clock_of, date_text, worst_recent
from ensemble.page.overview.trend import BUCKETS, Course, Trend, course_of, trend_chart, trend_of
from ensemble.page.scored import Scored
from ensemble.windows.screen import clock as in_recording
from featstore.clip import recording_of
from featstore.terminal.shown import counted

CHARTS = 200
"""Most tiles with a chart; further ones have none."""

OPEN_WARNINGS = 5
"""Most warnings that are shown at once; more are behind their number."""

LOUD, USUAL, DOUBTED, QUIET = "Look here", "As many as normal clips would give", "Quiet, with doubts", "Quiet"
GROUPS = (LOUD, USUAL, DOUBTED, QUIET)
"""Groups of tiles in their order; USUAL: see `is_usual`."""


@dataclass(frozen=True)
class Tile:
    """A machine and section.

    peak: row of the highest clip of its events that stand, of its other clips without any; None where all are
    dismissed. open, confirmed, dismissed: numbers of events. missed: of faults marked below the threshold. usual: see
    `is_usual`. reported: of its `clips` clips. highest: ratio of `peak`. mute: no clip has a finite threshold, so none
    can be reported. expected: number of reported clips if all were normal, None where none is stated.
    recent: see `worst_recent`.
    """

    machine: str
    section: str
    clips: int
    reported: int
    open: int
    confirmed: int
    dismissed: int
    missed: int
    usual: bool
    peak: int | None
    highest: float
    mute: bool
    expected: float | None
    recent: Sequence[tuple[str, str]]
    promise: Promise
    drift: str
    course: Course
    trend: Trend

    @property
    def standing(self) -> int:
        """Number of events that are not dismissed, and of faults marked below the threshold."""
        return self.open + self.confirmed + self.missed

    @property
    def group(self) -> str:
        """One of GROUPS."""
        if self.standing:
            return USUAL if self.usual else LOUD
        return DOUBTED if self.mute or self.promise.verdict == FAILS else QUIET

    @property
    def excess(self) -> str:
        """The highest ratio in words."""
        return excess_text(self.highest)


@dataclass(frozen=True)
class Group:
    """Tiles below a title, each with its address and its chart."""

    title: str
    tiles: Sequence[tuple[Tile, str, Markup]]

    @property
    def style(self) -> str:
        """Its class in page.css."""
        return {LOUD: "loud", USUAL: "usual", DOUBTED: "doubted", QUIET: "quiet"}[self.title]

    @property
    def common(self) -> tuple[Promise, str] | None:
        """Promise and drift of all tiles where they are the same, so that they are said once; None for one tile."""
        said = {(tile.promise, tile.drift) for tile, *_ in self.tiles}
        return said.pop() if len(said) == 1 and len(self.tiles) > 1 else None


def _urgency(tile: Tile) -> tuple[object, ...]:
    rising = not tile.standing and tile.trend.direction == "rising"
    return GROUPS.index(tile.group), not rising, -tile.highest, -tile.standing, tile.machine, tile.section


class Overview:
    """The results and marks behind the tiles. marked: the mark that counts, by row of the scored clips.

    found: all items of the results, None to make them.
    """

    def __init__(self, scored: Scored, marked: Mapping[int, Mark], found: Items | None = None) -> None:
        self.scored = scored
        self.marked = marked
        self.items = items(scored) if found is None else found

    @cached_property
    def clock(self) -> Clock:
        """When the clips were recorded."""
        return clock_of(self.scored)

    @cached_property
    def dismissed(self) -> np.ndarray:
        """Whether each clip is marked as normal or ignored."""
        rows = [row for row, mark in self.marked.items() if mark.mark in (NORMAL, IGNORE)]
        return np.isin(np.arange(len(self.scored.clips)), rows)

    @cached_property
    def faults(self) -> frozenset[int]:
        """The clips that are marked as faults."""
        return frozenset(row for row, mark in self.marked.items() if mark.mark == FAULT)

    @cached_property
    def expected(self) -> np.ndarray | None:
        """The probability of each clip to be reported if it is normal, see `expected_rates`."""
        return expected_rates(self.scored)

    @cached_property
    def events(self) -> list[Item]:
        """The reported items."""
        return self.items[: self.items.reported]

    @cached_property
    def tiles(self) -> list[Tile]:
        """All tiles by group and highest ratio; among those without an event, those with rising scores first."""
        events: dict[tuple[str, str], list[Item]] = {}
        for event in self.events:
            events.setdefault((event.machine, event.section), []).append(event)
        tiles = [self._tile(*section, events.get(section, [])) for section in self.scored.sections]
        return sorted(tiles, key=_urgency)

    def _tile(self, machine: str, section: str, events: Sequence[Item]) -> Tile:
        scored, rows = self.scored, self.scored.rows_of(machine, section)
        live = rows[~self.dismissed[rows]]
        states = [self._state(event.rows) for event in events]
        of_events = {event.recording for event in events}
        missed = {scored.recordings[row] for row in self.faults.intersection(rows.tolist())} - of_events
        recordings = [scored.recordings[row] for row in rows.tolist()]
        reported = {row for event, state in zip(events, states, strict=True) if state != NORMAL for row in event.rows}
        urgent = live[np.isin(live, list(reported | self.faults))]
        urgent = urgent if len(urgent) else live
        peak = int(urgent[np.argmax(scored.excess[urgent])]) if len(urgent) else None
        times = self.clock.times[rows] if np.isfinite(self.clock.times[rows]).any() else None
        standing = scored.decision[rows] & ~self.dismissed[rows]
        highest = 0.0 if peak is None else float(scored.excess[peak])
        confirmed = states.count(FAULT)
        usual = False
        if len(live) and self.expected is not None and not confirmed and not missed:
            usual = is_usual(scored, live, float(self.expected[live].sum()), highest)
        scores = surprise(scored.score[rows]) if scored.bounded else scored.score[rows]
        course = course_of(times, scored.excess[rows], standing, recordings, scores)
        return Tile(
            machine=machine,
            section=section,
            clips=len(rows),
            reported=int(scored.decision[rows].sum()),
            open=states.count("open"),
            confirmed=confirmed,
            dismissed=states.count(NORMAL),
            missed=len(missed),
            usual=usual,
            peak=peak,
            highest=highest,
            mute=bool(np.isposinf(scored.threshold[rows]).all()),
            recent=worst_recent(self.clock, live, scored.excess),
            promise=promise(scored, machine, section),
            drift=drift_text(drifts_of(scored, machine, section)),
            expected=None if self.expected is None else float(self.expected[rows].sum()),
            course=course,
            trend=trend_of(course, len(scored.sections)),
        )

    def _state(self, rows: Sequence[int]) -> str:
        if self.dismissed[list(rows)].all():
            return NORMAL
        return FAULT if self.faults.intersection(rows) else "open"


def overview(
    scored: Scored,
    *,
    links: bool,
    marked: Mapping[int, Mark] | None = None,
    found: Items | None = None,
    remark: str = "",
) -> Markup:
    """All tiles, the one to look at first in front. links: to the part Triage of the page that is running.

    Without links, a tile leads to `#events` and has the attributes data-machine and data-section. marked: marks by row
    of the scored clips, None for none. found: all items of the results, where they are made already. remark: a sentence
    below the headline, "" for none.
    """
    seen = Overview(scored, marked or {}, found)
    highest = max((tile.highest for tile in seen.tiles), default=1.0)
    shown = []
    for number, tile in enumerate(seen.tiles):
        chart = EMPTY if tile.mute or number >= CHARTS else trend_chart(tile.course, highest, chart_label(tile))
        shown.append((tile, address(tile, links), chart))
    groups = [Group(title, [entry for entry in shown if entry[0].group == title]) for title in GROUPS]
    drifting = {str(row["warning"]) for row in scored.drifts}
    return Markup(
        macros("tiles.html").overview(
            headline=headline(seen, links),
            doubts=doubts(seen),
            remark=remark,
            has_medians=any(len(tile.course.excess) > BUCKETS for tile in seen.tiles),
            facts=facts(seen),
            groups=[group for group in groups if group.tiles],
            what="events" if seen.scored.divided else "clips",
            rate=rate_text(scored),
            clock=seen.clock,
            meaning=excess_meaning(scored.bounded),
            newest=date_text(seen.clock.newest),
            warnings=[warning for warning in scored.warnings if warning not in drifting],
            most=OPEN_WARNINGS,
            notes=scored.notes,
        )
    )


def address(tile: Tile, links: bool) -> str:
    """Where a tile leads to."""
    if not links:
        return "#events"
    return addresses.address("#triage", machine=tile.machine, section=tile.section)


def chart_label(tile: Tile) -> str:
    """The text alternative of a tile's chart."""
    course = tile.course
    order = "over time" if course.times is not None else "in the order of the results"
    clips = counted(len(course.excess), "clip")
    words = f"Scores of {tile.machine} section {tile.section} {order}, as multiples of the threshold: {clips}"
    above = int(course.standing.sum())
    trend = f"; {tile.trend}" if tile.trend.direction else ""
    return f"{words}, {above:,} above the threshold, the highest {tile.excess}{trend}"


def rate_text(scored: Scored) -> str:
    """What the thresholds promise: the false-alarm rate of 10 %, or the false-discovery rate."""
    return "False-discovery rate" if scored.nominal is None else f"False-alarm rate of {stated(scored.nominal)}"


def facts(seen: Overview) -> list[tuple[str, str, str]]:
    """The numbers above the tiles as (term, value, detail)."""
    scored, tiles = seen.scored, seen.tiles
    clips, reported = len(scored.clips), int(scored.decision.sum())
    unit = "window" if seen.scored.divided else "clip"
    scale = f"of {counted(len(tiles), 'machine and section', 'machines and sections')}"
    shown = [(f"{unit}s scored", f"{clips:,}", scale)]
    states = [(n, word) for n, word in _states(tiles) if n]
    detail = [f"{reported:,} of {counted(clips, unit)} reported"] if seen.scored.divided else []
    detail += [f"{n:,} {word}" for n, word in states] if seen.marked else []
    missed = sum(tile.missed for tile in tiles)
    detail += [missed_text(missed, more=any(tile.confirmed for tile in tiles))] if missed else []
    share = f"{percent(reported / clips)} of the clips" if clips else ""
    total = len(seen.events) if seen.scored.divided else reported
    shown.append(("events" if seen.scored.divided else "reported clips", f"{total:,}", "; ".join(detail) or share))
    if seen.expected is None:
        shown.append(("expected", "unknown", "a false-discovery rate states no number"))
    else:
        by_hand = any(limit.requested is None for limit in scored.limits)
        basis = "by the thresholds by hand" if by_hand else f"at a false-alarm rate of {stated(scored.nominal or 0)}"
        if not by_hand and abs(seen.expected.sum() - (scored.nominal or 0) * clips) >= 1:
            basis = "by the training clips" + (", without copies of them" if scored.copied is not None else "")
        number = round(float(seen.expected.sum()))
        few = "0" if not seen.expected.any() else "fewer than 1"
        shown.append((f"reported {unit}s expected if all were normal", f"{number:,}" if number else few, basis))
    source = {"name": "by the names of the recordings", "file": "by the modification times of the files"}
    if seen.clock.known:
        shown.append(("newest recording", date_text(seen.clock.newest), source.get(scored.time_source, "")))
    return shown


def _states(tiles: Sequence[Tile]) -> Iterator[tuple[int, str]]:
    yield sum(tile.open for tile in tiles), "open"
    confirmed = sum(tile.confirmed for tile in tiles)
    yield confirmed, "confirmed as a fault" if confirmed == 1 else "confirmed as faults"
    yield sum(tile.dismissed for tile in tiles), "marked normal or ignored"


def missed_text(number: int, *, more: bool) -> str:
    """How many faults are marked below the threshold; more: besides confirmed ones."""
    noun = counted(number, "more fault" if more else "fault")
    return f"{noun} {'is' if number == 1 else 'are'} marked below the threshold"


def headline(seen: Overview, links: bool) -> Markup:
    """Where to look first and why: one sentence."""
    if not seen.tiles:
        return Markup("No clip was scored.")
    worst = seen.tiles[0]
    if worst.group == LOUD:
        return _first(seen, worst, links)
    if worst.group == USUAL:
        noun = "windows" if seen.scored.divided else "clips"
        sentence = "No machine has more reported {} than normal ones would give. The highest: {} section {}, {}."
        names = (name(worst.machine), name(worst.section))
        return Markup(sentence).format(noun, *names, _peak(seen, worst, links))
    dismissed = sum(tile.dismissed for tile in seen.tiles)
    if dismissed:
        was = "was" if dismissed == 1 else "were"
        return Markup.escape(f"Nothing is left to look at: {_events(seen, dismissed)} {was} marked normal or ignored.")
    return Markup("No machine is above its threshold.")


def _first(seen: Overview, tile: Tile, links: bool) -> Markup:
    """Look at fan section 01 first: 4 events, the highest 9.0 times its threshold, and when and where that was."""
    parts = [_events(seen, tile.open)] if tile.open else []
    if tile.confirmed + tile.missed:
        parts.append(counted(tile.confirmed + tile.missed, "confirmed fault"))
    only = "the highest " if tile.standing > 1 else ""
    return Markup("Look at {} section {} first: {}, {}{}.").format(
        name(tile.machine), name(tile.section), " and ".join(parts), only, _peak(seen, tile, links)
    )


def _peak(seen: Overview, tile: Tile, links: bool) -> Markup:
    """9.0 times its threshold, on 2024-05-03 at 14:32 (3 days before the newest recording) in x.wav, at 0:10."""
    row = tile.peak or 0
    clip = seen.scored.clips[row]
    recording = name(recording_of(clip.path).rpartition("/")[2])
    at = f", at {in_recording(float(seen.scored.seconds[row, 0]))}" if seen.scored.divided else ""
    time = date_text(float(seen.clock.times[row]), " on %Y-%m-%d at %H:%M")
    time += f" ({age_text(seen.clock.newest - float(seen.clock.times[row]))})" if time else ""
    where = Markup('<a href="#triage?clip={}">{}</a>').format(row, recording) if links else recording
    return Markup("{} its threshold,{} in {}{}").format(tile.excess, time, where, at)


def _events(seen: Overview, number: int) -> str:
    return counted(number, "event" if seen.scored.divided else "reported clip")


def doubts(seen: Overview) -> list[str]:
    """Sentences on what follows the first machine, and on what the results cannot tell."""
    tiles, rate = seen.tiles, "false-discovery rate" if seen.scored.nominal is None else "false-alarm rate"
    loud = [tile for tile in tiles if tile.group == LOUD]
    sentences = list(_on_first(loud[0], rate, "window" if seen.scored.divided else "clip")) if loud else []
    if seen.scored.self_ranked and seen.scored.nominal is not None:
        share = f"about {percent(seen.scored.nominal)} of each machine are always reported, good or bad"
        sentences.append(f"There are no known normal recordings, so {share}.")
    if len(loud) > 1:
        more = counted(len(loud) - 1, "more section has", "more sections have")
        sentences.append(f"{more} {'events' if seen.scored.divided else 'reported clips'} to look at.")
    rising = sum(tile.trend.direction == "rising" for tile in tiles if not tile.standing)
    if rising:
        sentences.append(f"Scores rise in {counted(rising, 'quiet section')}.")
    doubted = sum(tile.promise.verdict == FAILS for tile in tiles if tile not in loud[:1])
    if doubted:
        where = counted(doubted, "other section" if loud else "section")
        sentences.append(f"The {rate} does not hold in {where}.")
    mute = sum(tile.mute for tile in tiles)
    if mute:
        sentences.append(f"In {counted(mute, 'section')} no clip reaches the limit of the {rate}.")
    return sentences


def _on_first(tile: Tile, rate: str, unit: str) -> Iterator[str]:
    """Why the first machine may have nothing."""
    if tile.promise.verdict == FAILS:
        yield f"The {rate} does not hold there, so this may be a false alarm."
    if tile.expected is not None and not tile.confirmed and tile.reported <= round(tile.expected):
        about = counted(round(tile.expected), f"reported {unit}")
        yield f"About {about} would be expected there even if all were normal."

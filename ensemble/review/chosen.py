"""The items that a person asks for: filters as the address has them, the order, and how many are left to decide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

import numpy as np

from ensemble.marks.file import FAULT, IGNORE, NORMAL, Mark
from ensemble.page.items import Item, Items
from ensemble.page.scored import Scored
from ensemble.review.session import Session
from featstore.errors import OptionError
from featstore.terminal.shown import printable

UNMARKED = "unmarked"
VERDICTS = ("", UNMARKED, FAULT, NORMAL, IGNORE)
REPORTED, NOT_REPORTED, ALL = "reported", "not", "all"
DECISIONS = (REPORTED, NOT_REPORTED, ALL)
EXCESS, TIME = "excess", "time"
ORDERS = (EXCESS, TIME)
LONGEST = 200


@dataclass(frozen=True)
class Filter:
    """What is asked for; "" means any. since, until: local dates or times, as ISO 8601 has them; a date is a whole day.

    verdict: UNMARKED or a mark. order: EXCESS, the furthest above the threshold first, or TIME, the newest first.
    """

    machine: str = ""
    section: str = ""
    since: str = ""
    until: str = ""
    verdict: str = ""
    decision: str = REPORTED
    order: str = EXCESS

    def __post_init__(self) -> None:
        """Raise OptionError for a value that is none of those that are possible."""
        for name, known in (("verdict", VERDICTS), ("decision", DECISIONS), ("order", ORDERS)):
            value = getattr(self, name)
            if value not in known:
                choices = ", ".join(filter(None, known))
                raise OptionError(f"{name} {printable(value[:LONGEST])!r}: expected {choices}, or nothing")
        first, last = self.seconds
        if first >= last:
            raise OptionError(f"recorded from {printable(self.since)} to {printable(self.until)}: the end comes first")

    @property
    def seconds(self) -> tuple[float, float]:
        """The times asked for, in seconds since 1970; infinite where any is meant."""
        return _time(self.since, "from", -float("inf")), _time(self.until, "to", float("inf"))


NAMES = {field.name: field.name for field in fields(Filter)} | {"since": "from", "until": "to"}
"""Name of each value in an address."""


def filter_of(query: Mapping[str, str]) -> Filter:
    """The filter of an address; OptionError for a value that is not possible."""
    return Filter(**{name: query[key] for name, key in NAMES.items() if query.get(key)})


def _time(text: str, name: str, unknown: float) -> float:
    if not text:
        return unknown
    try:
        moment = datetime.fromisoformat(text)
        whole_day = len(text) == len("2026-01-31") and name == "to"
        return (moment + timedelta(days=1) if whole_day else moment).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        shown = printable(text[:LONGEST])
        raise OptionError(f"{name} {shown!r}: expected a date such as 2026-01-31, or 2026-01-31T14:30") from error


@dataclass(frozen=True)
class Chosen:
    """Items in the order asked for, and how many of them are not marked.

    total: number of items that fit the filter whatever their verdict. marked: the mark that counts, by row of
    the scored clips.
    """

    items: Sequence[Item]
    marked: Mapping[int, Mark]
    left: int
    total: int


def chosen(session: Session, wanted: Filter) -> Chosen:
    """The items that a filter lets through, with the marks that count now. Each item is made when it is asked for.

    OptionError for a machine or section that the results do not have.
    """
    found, marked = session.items, session.marked
    _refuse_unknown(found.scored, wanted)
    fits = found.only(_fitting(found, wanted))
    verdict = _verdicts(fits, marked)
    shown = fits.only(verdict == wanted.verdict) if wanted.verdict else fits
    left = len(shown) if wanted.verdict == UNMARKED else 0 if wanted.verdict else int((verdict == UNMARKED).sum())
    return Chosen(shown, marked, left, len(fits))


def item_of(session: Session, row: int) -> Item | None:
    """The item that a row of the results belongs to."""
    found = session.items
    place = found.place_of.get(row)
    return None if place is None else found[place]


def _fitting(found: Items, wanted: Filter) -> np.ndarray:
    """The places of the items that a filter lets through, in its order, whatever their verdict."""
    reported = slice(None, found.reported) if wanted.decision == REPORTED else slice(found.reported, None)
    names = {name: value for name in ("machine", "section") if (value := getattr(wanted, name))}
    fits = found.scored.clips.where(**names)[found.peaks]
    if wanted.decision != ALL:
        decided = np.zeros(len(found), dtype=bool)
        decided[reported] = True
        fits &= decided
    if wanted.since or wanted.until:
        first, last = wanted.seconds
        fits &= (found.times >= first) & (found.times < last)
    places = np.flatnonzero(fits)
    if wanted.order == TIME:
        places = places[np.argsort(-found.times[places], kind="stable")]  # NaN comes last
    return places


def _verdicts(found: Items, marked: Mapping[int, Mark]) -> np.ndarray:
    """The verdict of every item (n,)."""
    verdicts = np.full(len(found.scored.clips), UNMARKED, dtype=object)
    for row, mark in marked.items():
        verdicts[row] = mark.mark
    return np.asarray(verdicts[found.peaks])


def _refuse_unknown(scored: Scored, wanted: Filter) -> None:
    sections = scored.sections
    for name, value, known in (
        ("machine", wanted.machine, {machine for machine, _ in sections}),
        ("section", wanted.section, {section for _, section in sections}),
    ):
        if value and value not in known:
            has = ", ".join(sorted(map(printable, known))[:20])
            raise OptionError(f"{name} {printable(value[:LONGEST])!r} is not in these results; they have {has}")

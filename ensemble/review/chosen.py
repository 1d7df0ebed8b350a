"""The items that a person asks for: filters as the address has them, the order, and how many are left to decide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from ensemble.marks.file import FAULT, IGNORE, NORMAL, Mark
from ensemble.page.items import Item
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
    """Items in the order asked for, the mark of each, and how many of `total` are not marked, whatever the verdict."""

    items: Sequence[Item]
    marks: Sequence[Mark | None]
    left: int
    total: int


def chosen(session: Session, wanted: Filter) -> Chosen:
    """The items that a filter lets through, with the marks that count now.

    OptionError for a machine or section that the results do not have.
    """
    _refuse_unknown(session, wanted)
    marked = session.marked
    items = [item for item in session.items if _fits(item, wanted)]
    if wanted.order == TIME:
        items.sort(key=lambda item: (item.time != item.time, -item.time if item.time == item.time else 0.0))
    left = sum(item.row not in marked for item in items)
    shown = [item for item in items if not wanted.verdict or _verdict(marked.get(item.row)) == wanted.verdict]
    return Chosen(shown, [marked.get(item.row) for item in shown], left, len(items))


def item_of(session: Session, row: int) -> Item | None:
    """The item that a row of the results belongs to."""
    return next((item for item in session.items if item.row == row or row in item.rows), None)


def _verdict(mark: Mark | None) -> str:
    return mark.mark if mark else UNMARKED


def _fits(item: Item, wanted: Filter) -> bool:
    if wanted.decision != ALL and item.reported != (wanted.decision == REPORTED):
        return False
    if (wanted.machine and item.machine != wanted.machine) or (wanted.section and item.section != wanted.section):
        return False
    if not wanted.since and not wanted.until:
        return True
    first, last = wanted.seconds
    return first <= item.time < last


def _refuse_unknown(session: Session, wanted: Filter) -> None:
    sections = session.scored.sections
    for name, value, known in (
        ("machine", wanted.machine, {machine for machine, _ in sections}),
        ("section", wanted.section, {section for _, section in sections}),
    ):
        if value and value not in known:
            has = ", ".join(sorted(map(printable, known))[:20])
            raise OptionError(f"{name} {printable(value[:LONGEST])!r} is not in these results; they have {has}")

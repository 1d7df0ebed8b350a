"""Filters, the order, and what is left."""

from dataclasses import replace
from datetime import datetime
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from large_results import large_scored
from review_plant import session_of
from window_page import window_session

from ensemble.marks.file import Mark, append_mark
from ensemble.review.chosen import Filter, chosen, filter_of, item_of
from ensemble.review.session import Session
from featstore.errors import OptionError


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return session_of(tmp_path, data=False)


def with_times(session: Session) -> Session:
    """The clip of row i was recorded i days after the first of March, at noon; the last one at an unknown time."""
    first = datetime(2026, 3, 1, 12).timestamp()
    times = first + 86_400 * np.arange(len(session.scored.clips))
    times[-1] = np.nan
    session.decide(replace(session.scored, times=times))
    return session


def test_the_furthest_above_its_threshold_comes_first(session: Session) -> None:
    found = chosen(session, Filter())
    excess = [item.excess for item in found.items]
    assert excess == sorted(excess, reverse=True)
    assert min(excess) > 1
    assert len(found.items) == session.scored.decision.sum() == found.total == found.left


def test_decisions(session: Session) -> None:
    reported, others, both = (chosen(session, Filter(decision=word)) for word in ("reported", "not", "all"))
    assert {item.row for item in others.items} == set(np.flatnonzero(~session.scored.decision).tolist())
    assert both.total == reported.total + others.total == len(session.scored.clips)


def test_machine_and_section(session: Session) -> None:
    found = chosen(session, filter_of({"machine": "fan", "section": "01", "decision": "all"}))
    assert {item.section for item in found.items} == {"01"}
    assert len(found.items) == 12
    for values in ({"machine": "x"}, {"section": "<script>"}):
        with pytest.raises(OptionError, match="not in these results; they have"):
            chosen(session, filter_of(values))


def test_verdicts_and_what_is_left(session: Session) -> None:
    rows = [item.row for item in session.items[:3]]
    for row, mark in zip(rows, ("fault", "normal", "ignore"), strict=True):
        append_mark(session.path, Mark(clip=session.scored.keys[row], mark=mark))
    total = int(session.scored.decision.sum())
    for word, row in zip(("fault", "normal", "ignore"), rows, strict=True):
        found = chosen(session, Filter(verdict=word))
        assert [(item.row, found.marked[item.row].mark) for item in found.items] == [(row, word)]
        assert found.total == total
        assert found.left == sum(item.row not in session.marked for item in found.items), "of what the list shows"
    unmarked = chosen(session, Filter(verdict="unmarked"))
    assert {item.row for item in unmarked.items}.isdisjoint(rows)
    assert len(unmarked.items) == total - 3


def test_times(session: Session) -> None:
    session = with_times(session)
    found = chosen(session, filter_of({"from": "2026-03-03", "to": "2026-03-05", "decision": "all", "order": "time"}))
    assert [item.row for item in found.items] == [4, 3, 2], "a day is meant as a whole, the newest first"
    found = chosen(session, filter_of({"from": "2026-03-03T12:00", "to": "2026-03-05T12:00", "decision": "all"}))
    assert {item.row for item in found.items} == {2, 3}, "the end is not included"
    last = len(session.scored.clips) - 1
    assert last not in {
        item.row for item in chosen(session, filter_of({"from": "1990-01-01", "decision": "all"})).items
    }
    assert chosen(session, Filter(order="time", decision="all")).items[-1].row == last


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"verdict": "bad"}, "verdict 'bad': expected unmarked, fault, normal, ignore"),
        ({"decision": "x" * 5000}, "expected reported, not, all"),
        ({"order": "1"}, "expected excess, time"),
        ({"from": "yesterday"}, "from 'yesterday': expected a date such as"),
        ({"to": "9999-12-31T23:59:59.999999+99:00"}, "expected a date"),
        ({"to": "9999-12-31"}, "expected a date"),
        ({"from": "2026-03-02", "to": "2026-03-01"}, "the end comes first"),
    ],
)
def test_values_that_are_not_possible(values: dict[str, str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        filter_of(values)


def test_an_item_is_found_by_any_of_its_rows(tmp_path: Path) -> None:
    session = window_session(tmp_path, data=False)
    item = session.items[0]
    assert len(item.rows) > 1
    assert [item_of(session, row) for row in item.rows] == [item] * len(item.rows)
    assert item_of(session, 10**9) is None


def plain(session: Session, wanted: Filter) -> list[int]:
    """Rows of the items that a filter lets through, by a plain walk over all items."""
    first, last = wanted.seconds
    rows = [
        (item.time, item.row)
        for item in session.items
        if (wanted.decision == "all" or item.reported == (wanted.decision == "reported"))
        and wanted.machine in ("", item.machine)
        and wanted.section in ("", item.section)
        and (not (wanted.since or wanted.until) or first <= item.time < last)
        and wanted.verdict in ("", session.marked[item.row].mark if item.row in session.marked else "unmarked")
    ]
    if wanted.order == "time":
        rows.sort(key=lambda row: (row[0] != row[0], -row[0] if row[0] == row[0] else 0.0))
    return [row for _, row in rows]


@pytest.mark.parametrize("windows", [False, True])
def test_every_filter_is_that_of_a_plain_walk(tmp_path: Path, windows: bool) -> None:
    times = np.where(np.arange(400) % 7 < 6, 1.7e9 + 3600.0 * (np.arange(400) * 37 % 400), np.nan)
    scored = replace(large_scored(400, windows=windows), times=times, threshold=np.full(400, 0.6))
    session = Session(tmp_path, tmp_path, scored)
    for number, word in enumerate(("fault", "normal", "ignore")):
        for item in session.items[number::11]:
            append_mark(tmp_path, Mark(clip=scored.keys[item.row], mark=word))
    day = datetime.fromtimestamp(1.7e9 + 5 * 86_400).date().isoformat()
    for decision, verdict, order in product(("reported", "not", "all"), ("", "unmarked", "normal"), ("excess", "time")):
        base = {"decision": decision, "verdict": verdict, "order": order}
        for more in ({}, {"machine": "fan"}, {"section": "02"}, {"from": day}, {"machine": "pump", "to": day}):
            wanted = filter_of(base | more)
            found = chosen(session, wanted)
            every = plain(session, replace(wanted, verdict=""))
            assert [item.row for item in found.items] == plain(session, wanted)
            assert found.left == sum(item.row not in session.marked for item in found.items)
            assert found.total == len(every)


def test_only_what_is_listed_is_made(tmp_path: Path) -> None:
    session = Session(tmp_path, tmp_path, large_scored(4000))
    found = chosen(session, Filter(decision="all", order="time"))
    assert (len(found.items), found.total) == (4000, 4000)
    assert len(found.items[:50]) == 50
    assert len(session.items._made) == 50

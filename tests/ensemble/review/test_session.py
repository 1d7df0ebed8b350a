"""A session: marks as they are on disk, decisions that change, and several threads at once."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from large_results import large_scored
from review_plant import session_of

from ensemble.marks.apply import marked_rows
from ensemble.marks.file import Mark, append_mark
from ensemble.page import items as items_module
from ensemble.review import session as module
from ensemble.review.session import Session, marked_in
from featstore.clip import recording_of
from featstore.store import FeatureStore

THREADS = 8


@pytest.fixture(scope="module", autouse=True)
def _unsynced(unsynced: None) -> None:
    pass


def at_once(what: Callable[[], object], times: int = THREADS) -> list[object]:
    """The results of calls that all threads begin together."""
    gate = threading.Barrier(times)

    def call(_: int) -> object:
        gate.wait()
        return what()

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(call, range(times)))


def slow(function: Callable[..., object], calls: list[object]) -> Callable[..., object]:
    """The function, with time for a second caller to begin before it ends."""

    def slowly(*args: object) -> object:
        calls.append(args)
        threading.Event().wait(0.05)
        return function(*args)

    return slowly


def test_the_store_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_of(tmp_path, data=False)
    calls: list[object] = []
    monkeypatch.setattr(FeatureStore, "open", slow(FeatureStore.open, calls))
    assert len({id(store) for store in at_once(lambda: session.store)}) == 1
    assert len(calls) == 1


def test_a_store_that_is_open_is_not_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = session_of(tmp_path, data=False).store
    session = Session(store.path, tmp_path, large_scored(8), opened=store)
    monkeypatch.setattr(FeatureStore, "open", lambda path: pytest.fail("opened"))
    assert session.store is store


def test_items_and_marks_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_of(tmp_path, data=False)
    append_mark(session.path, Mark(clip=session.scored.keys[3], mark="fault"))
    made: list[object] = []
    read: list[object] = []
    monkeypatch.setattr(module, "items", slow(items_module.items, made))
    monkeypatch.setattr(module, "read_marks", slow(module.read_marks, read))
    assert len({id(items) for items in at_once(lambda: session.items)}) == 1
    assert all(marked == {3: session.marks.items[0]} for marked in at_once(lambda: session.marked))
    assert (len(made), len(read)) == (1, 1)


def test_threads_that_decide_mark_and_read_agree_with_each_other(tmp_path: Path) -> None:
    """Items are always those of one decision, and no reader sees a mark that is half there."""
    session = session_of(tmp_path, data=False)
    run = session.scored
    lower = run.with_thresholds({("fan", "00"): 0.2})
    allowed = {tuple(items_module.items(scored).peaks.tolist()) for scored in (run, lower)}
    problems: list[object] = []

    def decide() -> None:
        for i in range(30):
            session.decide((run, lower)[i % 2])

    def mark() -> None:
        for row in range(10):
            append_mark(session.path, Mark(clip=run.keys[row], mark="fault"))

    def look() -> None:
        for _ in range(60):
            items = session.items
            if tuple(items.peaks.tolist()) not in allowed or len(list(items)) != len(items):
                problems.append(items.peaks)
            marked = session.marked
            if set(marked) != set(range(len(marked))):
                problems.append(marked)

    work = [decide, mark, *[look] * 4]
    gate = threading.Barrier(len(work))

    def begin(part: Callable[[], None]) -> None:
        gate.wait()
        part()

    with ThreadPoolExecutor(len(work)) as pool:
        list(pool.map(begin, work))
    assert problems == []
    assert len(session.marked) == 10


def test_a_decision_changes_the_items(tmp_path: Path) -> None:
    session = session_of(tmp_path, data=False)
    before = session.items
    assert session.items is before
    session.decide(session.scored.with_thresholds({("fan", "00"): 0.01}))
    assert session.items.reported > before.reported
    assert session.scored.decision.sum() == session.items.reported


def test_marks_that_another_process_made_are_seen(tmp_path: Path) -> None:
    session = session_of(tmp_path, data=False)
    assert session.marked == {}
    for mark in ("fault", "ignore", "none"):
        append_mark(session.path, Mark(clip=session.scored.keys[2], mark=mark, who="other"))
        assert [item.mark for item in session.marked.values()] == ([mark] if mark != "none" else [])
    assert len(session.marks.items) == 3


def test_marks_are_looked_up_among_the_recordings_that_they_name() -> None:
    scored = large_scored(400, windows=True)
    keys = scored.keys
    whole = recording_of(keys[17])
    marks = [
        Mark(clip=keys[5], mark="fault"),
        Mark(clip=whole, mark="fault", start_s=12, end_s=44),
        Mark(clip=recording_of(keys[90]), mark="ignore"),
        Mark(clip=keys[90], mark="none"),
        Mark(clip="nowhere.wav", mark="fault"),
    ]
    expected = marked_rows(marks, scored.clips)
    assert len(expected) > 10
    assert marked_in(marks, scored) == expected
    assert marked_in([], scored) == {}

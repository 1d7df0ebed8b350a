"""Values that are made once, by one thread, and of which the last are kept."""

import threading

import pytest

from ensemble.review.space.kept import Kept


def test_two_threads_that_ask_at_once_wait_for_one_computation() -> None:
    kept: Kept[object] = Kept(2)
    made: list[int] = []
    go = threading.Event()

    def make() -> object:
        made.append(1)
        go.wait(10)
        return object()

    got: list[object] = []
    threads = [threading.Thread(target=lambda: got.append(kept.get("a", make))) for _ in range(4)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(10)
    assert len(made) == 1
    assert len(got) == 4
    assert len(set(map(id, got))) == 1


def test_only_the_last_are_kept() -> None:
    kept: Kept[int] = Kept(2)
    made: list[str] = []

    def make(key: str) -> int:
        made.append(key)
        return len(made)

    for key in ("a", "b", "a", "c", "a", "b"):
        kept.get(key, lambda key=key: make(key))
    assert made == ["a", "b", "c", "b"]
    kept.drop("a")
    kept.drop("never")
    assert kept.values() == [4]


def test_an_error_is_not_kept() -> None:
    kept: Kept[int] = Kept(2)
    with pytest.raises(ZeroDivisionError):
        kept.get("a", lambda: 1 // 0)
    assert kept.values() == []
    assert kept.get("a", lambda: 7) == 7

"""The cache keeps within its bound, makes each value once, and makes few at a time."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ensemble.review.sound.cache import Cache


class Maker:
    """Counts what it makes."""

    def __init__(self, size: int = 10) -> None:
        self.size, self.made = size, 0

    def __call__(self) -> bytes:
        self.made += 1
        return bytes(self.size)


def test_the_least_recently_used_value_goes_first() -> None:
    cache, makers = Cache(25), {key: Maker() for key in "abc"}
    for key in ("a", "b", "a", "c", "a"):
        cache.get(key, makers[key], len)
    assert [makers[key].made for key in "abc"] == [1, 1, 1], "a was used after b, so b went"
    cache.get("b", makers["b"], len)
    assert makers["b"].made == 2
    assert cache.bytes == 20


def test_a_value_above_the_bound_is_given_and_not_kept() -> None:
    cache, small, large = Cache(25), Maker(), Maker(26)
    cache.get("small", small, len)
    assert len(cache.get("large", large, len)) == 26
    assert cache.bytes == 10
    cache.get("small", small, len)
    assert small.made == 1, "a value that is not kept drops no other"
    cache.get("large", large, len)
    assert large.made == 2


def test_two_requests_for_a_value_make_it_once() -> None:
    cache, begun, go = Cache(at_once=4), threading.Event(), threading.Event()
    made = []

    def slow() -> bytes:
        made.append(1)
        begun.set()
        assert go.wait(30)
        return b"value"

    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(cache.get, "key", slow, len) for _ in range(8)]
        assert begun.wait(30)
        go.set()
        assert {future.result(30) for future in waiting} == {b"value"}
    assert len(made) == 1


def test_at_most_two_are_made_at_once() -> None:
    cache, lock, running, most = Cache(at_once=2), threading.Lock(), [0], [0]
    both = threading.Barrier(2)

    def make() -> bytes:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        both.wait(30)  # fails where only one is made at a time
        with lock:
            running[0] -= 1
        return b"x"

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(cache.get, key, make, len) for key in range(8)]:
            future.result(60)
    assert most[0] == 2


def test_values_that_need_others_do_not_block_each_other() -> None:
    cache = Cache(at_once=2)
    both = threading.Barrier(2)

    def outer(key: int) -> bytes:
        both.wait(30)  # both places are taken by values that need the same third one
        return cache.get("inner", lambda: b"inner", len) + bytes([key])

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(cache.get, key, lambda key=key: outer(key), len) for key in (1, 2)]
        assert [future.result(60) for future in futures] == [b"inner\x01", b"inner\x02"]


def test_an_error_is_raised_and_not_kept() -> None:
    cache, answers = Cache(), iter([None, b"later"])

    def make() -> bytes:
        answer = next(answers)
        if answer is None:
            raise ValueError("not yet")
        return answer

    with pytest.raises(ValueError, match="not yet"):
        cache.get("key", make, len)
    assert cache.get("key", make, len) == b"later"
    assert cache.get("other", lambda: b"", len) == b"", "the place is free again"

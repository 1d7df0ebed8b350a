"""The buffer between the reading thread and the loop."""

import threading

import numpy as np
import pytest

from ensemble.watching.feed import Feed


def wave(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_waves_come_out_in_order_and_then_the_end() -> None:
    feed = Feed(100)
    feed.put(wave(1, 2))
    feed.put(wave(3))
    feed.end()
    assert (feed.received, feed.held) == (3, 3)
    waves = [feed.get(0), feed.get(0)]
    assert [part.tolist() for part in waves if part is not None] == [[1, 2], [3]]
    assert feed.get(0) is None
    assert (feed.received, feed.held) == (3, 0)


def test_nothing_came_in_time() -> None:
    nothing = Feed(100).get(0)
    assert nothing is not None
    assert len(nothing) == 0


def test_the_error_of_the_reader_comes_after_what_was_read() -> None:
    feed = Feed(100)
    feed.put(wave(1))
    feed.end(OSError("gone"))
    assert feed.get(0) is not None
    with pytest.raises(OSError, match="gone"):
        feed.get(0)


def test_a_full_buffer_makes_the_reader_wait_and_loses_nothing() -> None:
    feed = Feed(4)
    waves = [wave(i, i) for i in range(50)]
    largest = 0

    def write() -> None:
        for part in waves:
            feed.put(part)
        feed.end()

    writer = threading.Thread(target=write)
    writer.start()
    got = []
    while (part := feed.get(10)) is not None:
        largest = max(largest, feed.held)
        got.append(part)
    writer.join()
    np.testing.assert_array_equal(np.concatenate(got), np.concatenate(waves))
    assert largest <= 4


def test_it_counts_how_often_the_reader_had_to_wait() -> None:
    feed = Feed(1)
    feed.put(wave(1))
    writer = threading.Thread(target=feed.put, args=(wave(2),))
    writer.start()
    while not feed.full:
        pass
    assert feed.get(10) is not None
    writer.join(10)
    assert (feed.full, feed.held) == (1, 1)

"""One turn at a time, a few waiting, more refused."""

import threading

import pytest

from ensemble.review.space.turns import Busy, Turns


def test_more_than_a_few_are_refused_and_places_come_back() -> None:
    turns = Turns(1)
    with turns.place():
        with turns.place(), pytest.raises(Busy), turns.place():
            pass
        with pytest.raises(ValueError, match="inside"), turns.place():
            raise ValueError("inside")
        with turns.place():
            pass


def test_one_at_a_time() -> None:
    turns = Turns(8)
    running, most = [0], [0]

    def work() -> None:
        with turns.place():
            for _ in range(50):
                with turns.turn():
                    running[0] += 1
                    most[0] = max(most[0], running[0])
                    running[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most == [1]

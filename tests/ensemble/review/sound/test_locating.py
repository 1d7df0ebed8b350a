"""The statistics of normal sound are made once, and nobody waits for them for ever."""

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ensemble.deviation.locate import Locator
from ensemble.review.sound.locating import Locating
from featstore.errors import DataError

LOCATOR = cast(Locator, SimpleNamespace())


def test_it_is_made_once_and_not_waited_for() -> None:
    go, made = threading.Event(), []

    def make() -> tuple[Locator, str]:
        made.append(1)
        assert go.wait(30)
        return LOCATOR, ""

    locating = Locating(make)
    assert not made, "nothing is made before somebody asks"
    assert [locating.get(), locating.get()] == [None, None]
    go.set()
    assert locating.get(30) is LOCATOR
    assert locating.get() is LOCATOR
    assert len(made) == 1


def test_the_reason_why_there_is_none() -> None:
    locating = Locating(lambda: (None, "build logmel"))
    for _ in range(2):
        with pytest.raises(DataError, match="build logmel"):
            locating.get(30)


def test_an_error_is_a_reason() -> None:
    def make() -> Any:
        raise MemoryError("too large")

    with pytest.raises(DataError, match="too large"):
        Locating(make).get(30)

"""One space for all requests of a session."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from ensemble.review.session import Session
from ensemble.review.space import opened
from ensemble.review.space.opened import Space, space_of


def test_requests_of_a_session_share_its_space(page: Session) -> None:
    app = SimpleNamespace(state=SimpleNamespace(session=page))
    first = space_of(SimpleNamespace(app=app))  # type: ignore[arg-type]
    assert space_of(SimpleNamespace(app=app)) is first  # type: ignore[arg-type]
    other = SimpleNamespace(state=SimpleNamespace(session=page))
    assert space_of(SimpleNamespace(app=other)) is not first  # type: ignore[arg-type]


@pytest.mark.parametrize(("small", "searched"), [(10, True), (1 << 30, False)])
def test_a_large_view_is_prepared_once(
    page: Session, monkeypatch: pytest.MonkeyPatch, small: int, searched: bool
) -> None:
    calls: list[tuple[int, ...]] = []

    def nearest(queries: np.ndarray, bank: np.ndarray, k: int) -> None:
        calls.append((len(queries), len(bank), k))

    monkeypatch.setattr(opened, "nearest", nearest)
    monkeypatch.setattr(opened, "SMALL", small)
    space = Space(page)
    before = set(threading.enumerate())
    space.prepare()
    space.prepare()
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
    assert calls == ([(1, 72, 1)] if searched else [])
    assert space.views._kept.values(), "the rows are in memory"

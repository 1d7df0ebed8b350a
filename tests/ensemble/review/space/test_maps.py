"""Maps: every projection once, marks and decisions as they are now, UMAP in the background."""

import threading

import numpy as np
import pytest

from ensemble.marks.file import FAULT, Mark
from ensemble.review import projection
from ensemble.review.asked import Busy
from ensemble.review.session import Session
from ensemble.review.space import maps
from ensemble.review.space.maps import Map, Maps
from ensemble.review.space.population import GENERATED
from ensemble.review.space.views import Views
from featstore.errors import DataError


@pytest.fixture
def space(page: Session) -> Maps:
    return Maps(page, Views(page))


def mapped(space: Maps, method: str = "pca") -> Map:
    found = space.map("e", method, generated=False)
    assert isinstance(found, Map)
    return found


class Told:
    """A computation that ends when it is told to."""

    made: list["Told"] = []  # noqa: RUF012 - emptied by the fixture

    def __init__(self, compute: object, X: np.ndarray) -> None:
        self.X, self.result, self.error, self.is_running, self.seconds = X, None, "", True, 7
        self.made.append(self)

    def end(self, result: np.ndarray | None = None, error: str = "") -> None:
        self.result, self.error, self.is_running = result, error, False


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Told]:
    Told.made = []
    monkeypatch.setattr(maps, "Computation", Told)
    monkeypatch.setattr(projection, "has_umap", lambda: True)
    return Told.made


def test_points_are_those_of_the_rows(page: Session, space: Maps) -> None:
    found = mapped(space)
    X = page.store.matrix("e")[found.people.number[found.shown]]
    assert len(found.points) == len(X) == 72
    expected = projection.pca(X, np.arange(len(X)))
    np.testing.assert_allclose(found.points, expected.points, rtol=0, atol=1e-5)
    assert found.explained == pytest.approx(expected.explained)
    assert found.missing == 0


def test_threads_compute_a_projection_once(space: Maps, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    pca = projection.pca
    monkeypatch.setattr(projection, "pca", lambda X, fit: calls.append(1) or pca(X, fit))
    threads = [threading.Thread(target=mapped, args=(space,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert calls == [1]


def test_reported_and_marked_clips_are_always_shown(
    page: Session, space: Maps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maps, "MOST", 20)
    keys = page.store.clips("e").keys()
    marks = (Mark(clip=keys[0], mark=FAULT), Mark(clip=keys[30], mark=FAULT))
    monkeypatch.setattr(type(page), "marks", type("Marks", (), {"items": marks}))
    found = mapped(space)
    shown = {found.people.clips.keys()[i] for i in found.shown}
    reported = {page.scored.keys[i] for i in np.flatnonzero(page.scored.decision)}
    assert 0 < len(reported) < 19
    assert len(shown) == 20
    assert reported | {keys[0], keys[30]} <= shown
    assert {found.people.clips.keys()[i] for i in found.marked} == {keys[0], keys[30]}
    assert found.missing == 0
    monkeypatch.setattr(maps, "MOST", 1)
    assert mapped(space).missing == len(reported | {keys[0], keys[30]}) - 1


def test_generated_anomalies_do_not_turn_the_axes(page: Session, space: Maps, monkeypatch: pytest.MonkeyPatch) -> None:
    population = maps.population

    def with_generated(clips, scored):
        people = population(clips, scored)
        people.role[:5] = GENERATED
        return people

    monkeypatch.setattr(maps, "population", with_generated)
    both = space.map("e", "pca", generated=True)
    real = mapped(space)
    assert isinstance(both, Map)
    assert (len(both.shown), len(real.shown)) == (72, 67)
    np.testing.assert_array_equal(both.points[5:], real.points)
    X = page.store.matrix("e")[5:]
    np.testing.assert_allclose(real.points, projection.pca(X, np.arange(67)).points, rtol=0, atol=1e-5)


def test_umap_is_computed_once_in_the_background(space: Maps, told: list[Told]) -> None:
    assert space.map("e", "umap", generated=False) == 7
    assert space.map("e", "umap", generated=False) == 7
    assert len(told) == 1
    with pytest.raises(Busy, match="another UMAP is being computed"):
        space.map("e", "umap", generated=True)
    points = told[0].X[:, :2]
    told[0].end(points)
    found = mapped(space, "umap")
    np.testing.assert_array_equal(found.points, points)
    assert found.explained is None
    assert mapped(space, "pca").explained is not None
    assert len(told) == 1


def test_a_umap_that_failed_is_told_once_and_tried_again(space: Maps, told: list[Told]) -> None:
    space.map("e", "umap", generated=False)
    told[0].end(error="out of memory")
    with pytest.raises(DataError, match="out of memory"):
        space.map("e", "umap", generated=False)
    assert space.map("e", "umap", generated=False) == 7
    assert len(told) == 2


def test_umap_without_its_extra(space: Maps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "has_umap", lambda: False)
    with pytest.raises(DataError, match=r'pip install "featstore\[umap\]"'):
        space.map("e", "umap", generated=False)

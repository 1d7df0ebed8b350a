"""The names of views, the one that is shown first, and rows that are read once."""

import numpy as np
import pytest
from view_store import listed, patterned, with_views

from ensemble.page.scored import scored_of
from ensemble.recipe import Member, Recipe
from ensemble.review.session import Session
from ensemble.review.space import views
from ensemble.review.space.views import Views, default_view, view_names
from ensemble.run import detect
from featstore.errors import RequestError


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("views")
    clips = listed(20)
    store = with_views(folder / "store", clips, {name: patterned(len(clips), seed=i) for i, name in enumerate("abc")})
    scored = scored_of(detect(store, Recipe((Member("v", "knn:k=1", "b"),))), title="store")
    return Session(folder / "store", folder, scored)


def test_names_and_the_default(session: Session) -> None:
    named = view_names(session.store)
    assert named == {"v": [("v@a", "a"), ("v@b", "b"), ("v@c", "c"), ("v", "all views joined")]}
    assert default_view(session) == "v@b", "the view of the nearest normal clips"
    space = Views(session)
    assert [space.checked(text) for text in ("", "v", "v@c")] == ["v@b", "v", "v@c"]
    assert {space.embedding(text) for text in ("v", "v@c")} == {"v"}


@pytest.mark.parametrize("text", ["v@d", "w", "v@", "v@a@b", "../v", "x" * 10_000])
def test_unknown_views_are_named(session: Session, text: str) -> None:
    with pytest.raises(RequestError, match="it has v@a, v@b, v@c, v") as caught:
        Views(session).checked(text)
    assert len(str(caught.value)) < 500


def test_a_recipe_that_cannot_be_read_gives_the_first_view(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(session.scored.__dict__, "recipe", "no recipe [")
    assert default_view(session) == "v@a"


def test_rows_are_read_once_and_two_views_stay(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    rows_of = views.rows_of
    monkeypatch.setattr(views, "rows_of", lambda store, text: read.append(text) or rows_of(store, text))
    space = Views(session)
    whole = session.store.matrix("v")
    for text in ("v@a", "v@a", "v@c", "v@a", "v", "v@a", "v@c"):
        rows = space.rows(text)
        part = {"v@a": whole[:, 0], "v@c": whole[:, 2], "v": whole.reshape(len(whole), -1)}[text]
        np.testing.assert_array_equal(rows.matrix, part)
    assert read == ["v@a", "v@c", "v", "v@c"]
    monkeypatch.setattr(views, "KEPT_BYTES", 10)
    space = Views(session)
    assert space.rows("v@b") is not space.rows("v@b"), "a view that is too large is not kept"

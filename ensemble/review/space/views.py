"""The views of a store that a page works on: their names, and the rows of the last ones used in memory."""

from ensemble.inputs import evidence_of
from ensemble.recipe import recipe_of
from ensemble.review.session import Session
from ensemble.review.space.kept import Kept
from ensemble.scoring.neighbours import Rows, rows_of
from featstore.errors import AsdError, RequestError
from featstore.spec import did_you_mean
from featstore.store import FeatureStore

KEPT = 2
"""Most views in memory."""

KEPT_BYTES = 1 << 30
"""Largest view that is kept in memory; a larger one is read for every request."""


def view_names(store: FeatureStore) -> dict[str, list[tuple[str, str]]]:
    """Of every embedding, its views as (NAME@VIEW, title); an embedding with several views also as a whole."""
    names: dict[str, list[tuple[str, str]]] = {}
    for name in sorted(store.embeddings):
        views = [(f"{name}@{view}", view) for view in store.info(name).views]
        names[name] = [*views, (name, "all views joined" if views else name)]
    return names


def default_view(session: Session) -> str:
    """The view that gives the nearest normal clips of the results; the first of the store where it has no such view."""
    known = [text for views in view_names(session.store).values() for text, _ in views]
    if not known:
        raise RequestError(f"{session.path}: no embeddings; fill it with `featstore build`")
    try:
        source = evidence_of(session.store, recipe_of(session.scored.recipe)).source
    except AsdError:
        return known[0]
    return source if source in known else known[0]


class Views:
    """Rows of views, read once; the last ones stay in memory. Methods may be called from several threads."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._kept: Kept[Rows] = Kept(KEPT)

    def checked(self, text: str) -> str:
        """The name of a view, the default one for ""; RequestError lists the views where it is unknown."""
        if not text:
            return default_view(self._session)
        known = [name for views in view_names(self._session.store).values() for name, _ in views]
        if text in known:
            return text
        hint = did_you_mean(text[:200], known)
        raise RequestError(f"no view {text[:200]!r} of an embedding in the store{hint}; it has {', '.join(known)}")

    def embedding(self, text: str) -> str:
        """The embedding of a view by a name that is `checked`."""
        return next(name for name, views in view_names(self._session.store).items() if text in dict(views))

    def rows(self, text: str) -> Rows:
        """The rows of a view by a name that is `checked`."""
        rows = self._kept.get(text, lambda: rows_of(self._session.store, text))
        if rows.matrix.nbytes > KEPT_BYTES:
            self._kept.drop(text)
        return rows

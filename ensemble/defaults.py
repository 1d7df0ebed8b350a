"""The fixed default ensemble: the same three detectors on every view of every embedding, chosen without any label."""

from ensemble.recipe import Member, Recipe
from featstore.errors import StoreError
from featstore.store import FeatureStore

DETECTORS = (
    "knn:k=1,standardize=true",
    "mahalanobis:covariance=ledoit_wolf,standardize=true",
    "gmm:standardize=true",
)
"""One that compares with stored clips and two that fit a distribution: they make different mistakes."""

FUSION = "fisher"


def default_recipe(store: FeatureStore, embeddings: tuple[str, ...] = (), detectors: tuple[str, ...] = ()) -> Recipe:
    """Every detector on every view of the named embeddings (default: all), fused by Fisher's rule.

    An embedding can be named with a view, `twfr@r0.9`. StoreError for an empty store.
    """
    names = embeddings or tuple(sorted(store.embeddings))
    if not names:
        raise StoreError(f"{store.path}: no embeddings; fill it with `featstore build`")
    members = [
        Member(name, detector, view)
        for text in names
        for name, view in _views(store, text)
        for detector in detectors or DETECTORS
    ]
    return Recipe(tuple(members), fusion=FUSION)


def single_recipe(store: FeatureStore, detector: str, embedding: str) -> Recipe:
    """One detector on one embedding: `NAME` joins its views, `NAME@VIEW` takes one. The scores stay raw."""
    name, view = split_source(store, embedding)
    return Recipe((Member(name, detector, view),), name="single")


def split_source(store: FeatureStore, text: str) -> tuple[str, str]:
    """Embedding and view of `NAME` or `NAME@VIEW`."""
    if text in store.embeddings:
        return text, ""
    name, _, view = text.rpartition("@")
    store.info(name or text)
    return name, view


def _views(store: FeatureStore, text: str) -> list[tuple[str, str]]:
    name, view = split_source(store, text)
    return [(name, view_name) for view_name in ((view,) if view else store.info(name).views or ("",))]

"""The fixed default ensemble: four detectors on the views of every embedding, weighted without labels or anomalies."""

from collections.abc import Collection, Mapping, Sequence

from ensemble.checks.subtracted import left_out
from ensemble.recipe import Member, Recipe
from ensemble.view_weights import view_weights
from featstore.errors import StoreError
from featstore.store import FeatureStore

DETECTORS = {
    "knn:k=1,standardize=true": 0.5,
    "mahalanobis:covariance=ledoit_wolf,standardize=true": 1.0,
    "gmm:standardize=true": 1.0,
    "lof:k=4,standardize=true": 0.2,
}
"""Detectors and their weights: two that fit a distribution, and two that compare with the nearest stored clips.

They make different mistakes. In small banks the nearest clips are far away, so those two have smaller weights.
"""

FUSION = "weighted_fisher"


def default_recipe(store: FeatureStore, embeddings: tuple[str, ...] = (), detectors: tuple[str, ...] = ()) -> Recipe:
    """The default detectors on the views of the named embeddings (default: all), weighted, by Fisher's fusion.

    `view_weights` weighs the views and leaves out copies, those of little weight, and mixes that `checks.subtracted`
    leaves out. An embedding can have a view, `twfr@r0.9`. Where a view or the `detectors` are named, every view stays,
    with its weight. StoreError for an empty store.
    """
    names = embeddings or tuple(sorted(store.embeddings))
    if not names:
        raise StoreError(f"{store.path}: no embeddings; fill it with `featstore build`")
    sources = [source for text in names for source in _views(store, text)]
    as_named = bool(detectors) or any(split_source(store, text)[1] for text in names)
    without = () if as_named else left_out(store, names)
    weights = dict.fromkeys(detectors, 1.0) or DETECTORS
    return weighted_recipe(store, sources, weights, veto=not as_named, without=without)


def possible_members(store: FeatureStore, embeddings: tuple[str, ...] = ()) -> Recipe:
    """Every member that the default of the named embeddings (default: all) may have, without weights."""
    sources = [source for text in embeddings or sorted(store.embeddings) for source in _views(store, text)]
    return Recipe(tuple(Member(name, detector, view) for name, view in sources for detector in DETECTORS))


def weighted_recipe(
    store: FeatureStore,
    sources: Sequence[tuple[str, str]],
    detectors: Mapping[str, float],
    *,
    veto: bool = True,
    without: Collection[str] = (),
) -> Recipe:
    """Every detector on every (embedding, view), with the product of their weights.

    `veto` leaves views out, those of the mixes `without` among them.
    """
    weights = view_weights(store, sources, veto=veto, without=without)
    members = [
        Member(name, detector, view, weight=float(f"{weight * of_view:.3g}"))
        for (name, view), of_view in zip(sources, weights.tolist(), strict=True)
        for detector, weight in detectors.items()
        if of_view
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

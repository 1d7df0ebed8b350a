"""The fixed default ensemble: four detectors on the views of every embedding, weighted without labels or anomalies."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ensemble.checks.named import distinct_sources, named_sources, sources_of, split_source
from ensemble.checks.subtracted import left_out
from ensemble.recipe import Member, Recipe
from ensemble.view_weights import view_weights
from featstore.errors import RequestError, StoreError
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
    leaves out. A view or a mix can be named, `twfr@r0.9`, `logmel@0-1`: its views stay, with their weights, and views
    of embeddings that are named whole are left out as before. Where the `detectors` are named, every view stays.
    StoreError for an empty store, RequestError for an unknown name.
    """
    texts = embeddings or tuple(sorted(store.embeddings))
    if not texts:
        raise StoreError(f"{store.path}: no embeddings; fill it with `featstore build`")
    sources, named = distinct_sources(store, texts), named_sources(store, texts)
    veto = np.array([not detectors and source not in named for source in sources])
    without = () if detectors else left_out(store, texts)
    weights = dict.fromkeys(detectors, 1.0) or DETECTORS
    return weighted_recipe(store, sources, weights, veto=veto, without=without)


def possible_members(store: FeatureStore, embeddings: tuple[str, ...] = ()) -> Recipe:
    """Every member that the default of the named embeddings (default: all) may have, without weights."""
    sources = distinct_sources(store, embeddings or sorted(store.embeddings))
    return Recipe(tuple(Member(name, detector, view) for name, view in sources for detector in DETECTORS))


def weighted_recipe(
    store: FeatureStore,
    sources: Sequence[tuple[str, str]],
    detectors: Mapping[str, float],
    *,
    veto: bool | np.ndarray = True,
    without: Collection[str] = (),
) -> Recipe:
    """Every detector on every (embedding, view), with the product of their weights.

    `veto` leaves views out, those of the mixes `without` among them; an array says it for every source.
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
    """One detector on one embedding: `NAME` joins its views, `NAME@VIEW` takes one. The scores stay raw.

    RequestError for an unknown view, and for a mix of several.
    """
    name, view = split_source(store, embedding)
    sources = sources_of(store, embedding)
    if view and len(sources) > 1:
        raise RequestError(
            f"{embedding} names the {len(sources)} views of a mix, and one -d reads one view: "
            f"-e {name}@{sources[0][1]}; --default -e {embedding} fuses detectors on all of them"
        )
    return Recipe((Member(name, detector, sources[0][1] if view else ""),), name="single")

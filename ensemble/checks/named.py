"""What the texts of `-e` name: an embedding with all its views, a mix of its channels, or a single view."""

from collections.abc import Iterable

from featstore.audio.near_far.mixes import MARK, mix_of_view, mix_texts
from featstore.errors import RequestError
from featstore.spec import did_you_mean
from featstore.store import EmbeddingInfo, FeatureStore

Source = tuple[str, str]
"""Embedding and view; the view is "" for the views joined, or where there are none."""


def split_source(store: FeatureStore, text: str) -> Source:
    """Embedding and the rest of `NAME`, `NAME@MIX` or `NAME@VIEW`; StoreError for an unknown embedding."""
    if text in store.embeddings:
        return text, ""
    name, _, rest = text.rpartition("@")
    store.info(name or text)
    return name, rest


def sources_of(store: FeatureStore, text: str) -> tuple[Source, ...]:
    """The views that a text names: all of `NAME`, those of the mix in `NAME@MIX` (`logmel@0-1`), or one.

    RequestError where the embedding has neither a view nor a mix of this name.
    """
    name, rest = split_source(store, text)
    info = store.info(name)
    views = info.views or ("",)
    if not rest:
        return tuple((name, view) for view in views)
    if rest in info.views:
        return ((name, rest),)
    mixes = mix_texts(info.channel)
    if len(mixes) > 1 and rest in mixes:
        of_mix = tuple((name, view) for view in info.views if mix_of_view(info.channel, view) == rest)
        if of_mix:
            return of_mix
    raise RequestError(f"{store.path}: {name} has no view {rest!r}; {_known(info, rest)}")


def _known(info: EmbeddingInfo, rest: str) -> str:
    """The views and mixes of an embedding, and the one that was probably meant; of equal views the first mix's."""
    mixes = mix_texts(info.channel)
    several = len(mixes) > 1
    known = f"its views: {', '.join(info.views) or 'none'}" + (f"; its mixes: {', '.join(mixes)}" if several else "")
    same = next((view for view in info.views if view.endswith(f"{MARK}{rest}")), "")
    meant = f"; did you mean {same}?" if same else did_you_mean(rest, (*info.views, *mixes) if several else info.views)
    return known + meant


def distinct_sources(store: FeatureStore, texts: Iterable[str]) -> list[Source]:
    """The views that the texts name, each once, those of whole embeddings first.

    Of copies the first stays, so a view that is named leaves none of theirs out.
    """
    ordered = sorted(texts, key=lambda text: text not in store.embeddings)
    return list(dict.fromkeys(source for text in ordered for source in sources_of(store, text)))


def whole_embeddings(store: FeatureStore, texts: Iterable[str]) -> list[str]:
    """The texts that name an embedding with all its views."""
    return [text for text in texts if text in store.embeddings]


def named_sources(store: FeatureStore, texts: Iterable[str]) -> set[Source]:
    """The views that are named by themselves or by their mix; nothing leaves them out."""
    return {source for text in texts if text not in store.embeddings for source in sources_of(store, text)}

"""Recordings of a store by name: a key as in scores.csv, or a unique file name."""

from collections.abc import Iterable
from itertools import takewhile
from pathlib import PurePosixPath

from featstore.clip import recording_of
from featstore.errors import DataError
from featstore.spec import did_you_mean
from featstore.store import FeatureStore

COMPARED = 1000
"""Most keys that a misspelt name is compared with, those that begin like it."""


def recordings(store: FeatureStore) -> tuple[set[str], dict[str, list[str]]]:
    """Keys of all recordings, and lists of keys by file name, which also fit a path in another folder."""
    keys: set[str] = set()
    for embedding in sorted(store.embeddings):
        clips = store.clips(embedding)
        keys.update(clips[clips.where(variant="")].keys())
    return keys, _by_name(keys)


def marked_key(store: FeatureStore, name: str) -> str:
    """The clip that a person names: its key, or the path of a recording that is stored as windows.

    DataError for a name that no recording has, with the nearest key, and for one that several have.
    """
    keys, _ = recordings(store)
    keys |= {recording_of(key) for key in keys}
    if name in keys:
        return name
    fitting = _by_name(keys).get(PurePosixPath(name.replace("\\", "/")).name, [])
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise DataError(f"{name!r} fits {len(fitting)} recordings, as {fitting[0]!r}; give a path as in scores.csv")
    raise DataError(
        f"{name!r} is no recording of {store.path}; expected a path as in scores.csv, or a unique file name "
        "(a new file joins with `featstore build`)"
        f"{did_you_mean(name, [*_alike(name, keys), *_alike(name, _by_name(keys))])}"
    )


def _by_name(keys: Iterable[str]) -> dict[str, list[str]]:
    of_name: dict[str, list[str]] = {}
    for key in sorted(keys):
        of_name.setdefault(PurePosixPath(key).name, []).append(key)
    return of_name


def _alike(name: str, keys: Iterable[str]) -> list[str]:
    """The keys that begin most like a name; a comparison with all would take long in a large store."""

    def shared(key: str) -> int:
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(key, name, strict=False)))

    return sorted(keys, key=lambda key: (-shared(key), key))[:COMPARED]

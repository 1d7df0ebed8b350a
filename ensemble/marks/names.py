"""Recordings of a store by name, see `featstore.layouts.names`."""

from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path

from featstore.audio.hashes import content_hash
from featstore.building.state import read_state
from featstore.clip import recording_of
from featstore.errors import DataError
from featstore.layouts.names import Names, several
from featstore.spec import did_you_mean
from featstore.store import FeatureStore

COMPARED = 1000
"""Most keys that a misspelt name is compared with, those that begin like it."""


def recordings(store: FeatureStore) -> Names:
    """The keys of all recordings."""
    keys: set[str] = set()
    for embedding in sorted(store.embeddings):
        clips = store.clips(embedding)
        keys.update(clips[clips.where(variant="")].keys())
    return Names(keys)


def marked_key(store: FeatureStore, name: str) -> str:
    """The clip that a person names: its key, or the path of a recording that is stored as windows.

    DataError for a name that no recording has, with the nearest key, for one that several have, and for the path of a
    file that is another recording.
    """
    keys = recordings(store).keys
    names = Names(keys | {recording_of(key) for key in keys})
    fitting = names.fitting(name)
    if len(fitting) > 1:
        raise DataError(f"{name!r} {several(fitting, 'recordings')}; give a path as in scores.csv")
    if fitting and _is_other_file(store, fitting[0], name):
        raise DataError(
            f"{name!r} is another file than {fitting[0]!r}, the only recording of {store.path} with that ending; give "
            "a path as in scores.csv (a new file joins with `featstore build`)"
        )
    if fitting:
        return fitting[0]
    raise DataError(
        f"{name!r} is no recording of {store.path}; expected a path as in scores.csv, or a unique file name "
        "(a new file joins with `featstore build`)"
        f"{did_you_mean(name, [*_alike(name, names.keys), *_alike(name, names.of_name)])}"
    )


def _is_other_file(store: FeatureStore, key: str, name: str) -> bool:
    """Whether a name that is no key is an existing file with another content than the recording of the last build."""
    state, given = read_state(store.path), Path(name)
    if state is None or name == key or "/" not in name:
        return False
    try:
        own = Path(state.root) / recording_of(key)
        return given.is_file() and own.is_file() and not (given.samefile(own) or _equal(given, own))
    except (OSError, ValueError):
        return False


def _equal(file: Path, other: Path) -> bool:
    return file.stat().st_size == other.stat().st_size and content_hash(file) == content_hash(other)


def _alike(name: str, keys: Iterable[str]) -> list[str]:
    """The keys that begin most like a name; a comparison with all would take long in a large store."""

    def shared(key: str) -> int:
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(key, name, strict=False)))

    return sorted(keys, key=lambda key: (-shared(key), key))[:COMPARED]

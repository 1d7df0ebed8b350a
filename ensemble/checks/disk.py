"""Recordings of a store that are no longer in the folder of the last build, found without reading any of them."""

import os
from collections.abc import Iterable
from pathlib import Path

from featstore.building.state import read_state
from featstore.clip import recording_of
from featstore.store import FeatureStore
from featstore.table import ClipTable
from featstore.terminal.shown import counted


def data_root(store: FeatureStore, data: Path | None = None) -> Path | None:
    """Folder of the recordings: `data`, or that of the last build; None where it is unknown or not there."""
    state = read_state(store.path)
    root = data or (Path(state.root) if state else None)
    return root if root is not None and root.is_dir() else None


def gone_files(root: Path | None, paths: Iterable[str]) -> set[str]:
    """The recordings of `paths` that are not below `root`; only the names in its folders are read.

    None are gone where no folder is known, or where all are: then the folder was moved, or is that of other data.
    """
    if root is None:
        return set()
    recordings = set(map(recording_of, paths))
    names_in: dict[str, set[str] | None] = {}
    gone = set()
    for path in recordings:
        folder, _, name = path.rpartition("/")
        if folder not in names_in:
            names_in[folder] = _names(root, folder)
        names = names_in[folder]
        if names is not None and name not in names:
            gone.add(path)
    return gone if len(gone) < len(recordings) else set()


def gone_note(root: Path | None, scored: ClipTable, train: ClipTable) -> str:
    """A note on clips whose recordings are no longer in the data; empty where there are none."""
    gone = gone_files(root, [*scored.recordings(), *train.recordings()])
    if not gone:
        return ""
    pairs = ((scored, "scored clip"), (train, "training clip"))
    counts = [(sum(path in gone for path in clips.recordings()), noun) for clips, noun in pairs]
    texts = " and ".join(counted(number, noun) for number, noun in counts if number)
    return (
        f"{texts} of recordings that are no longer in {root}, first {min(gone)}; featstore build with --prune removes "
        "their rows"
    )


def _names(root: Path, folder: str) -> set[str] | None:
    """Names in a folder below the root; none where it is missing, None where nothing can be said."""
    if folder.startswith("/") or ".." in folder.split("/"):
        return None
    try:
        with os.scandir(root / folder) as entries:
            return {entry.name for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError:
        return None

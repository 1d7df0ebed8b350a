"""STORE/build.json: the folder of the last build, and whether that build finished.

The file is not part of the store: a store without it, or with an unreadable one, is complete.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from featstore.disk.files import explained, read_regular, write_new
from featstore.errors import StoreError
from featstore.terminal.shown import counted

FILE = "build.json"
MAX_BYTES = 1 << 16


@dataclass(frozen=True)
class BuildState:
    """Folder of the recordings, number of clips, and whether the build finished."""

    root: str
    clips: int
    finished: bool


def write_state(store: Path, state: BuildState) -> None:
    """Replace STORE/build.json."""
    data = (json.dumps(asdict(state)) + "\n").encode()
    with explained(str(store / FILE), len(data), store):
        write_new(store / FILE, data)


def read_state(store: Path) -> BuildState | None:
    """Content of STORE/build.json; None when it is missing or unreadable."""
    try:
        raw = json.loads(read_regular(store / FILE, MAX_BYTES))
        return BuildState(str(raw["root"]), int(raw["clips"]), bool(raw["finished"]))
    except (OSError, StoreError, ValueError, KeyError, TypeError):
        return None


def unfinished(store: Path) -> str:
    """A warning when the last build did not finish, otherwise an empty text."""
    state = read_state(store)
    if state is None or state.finished:
        return ""
    return (
        f"the last build of {store} (from {state.root}, {counted(state.clips, 'clip')}) did not finish; its rows are "
        "valid but incomplete: run the same featstore build again, or for a planned build its workers and featstore "
        "commit"
    )


def other_root(store: Path, root: Path) -> list[str]:
    """A note when the last build used another folder than `root`."""
    state = read_state(store)
    if state is None or Path(state.root) == root.resolve():
        return []
    return [
        f"{store} was last built from {state.root}; a clip is identified by its path below the folder, so build each "
        "store from one folder only, unless that folder was moved"
    ]

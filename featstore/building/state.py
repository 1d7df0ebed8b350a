"""STORE/build.json: from which folder the store was last built, and whether that build came to its end.

A convenience beside the store, not part of it: a reader that finds it missing or broken knows nothing, and no harm is
done.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from featstore.disk.files import read_regular, write_checked
from featstore.errors import StoreError

FILE = "build.json"
MAX_BYTES = 1 << 16


@dataclass(frozen=True)
class BuildState:
    """Folder of the recordings, how many clips the build was asked for, and whether it finished."""

    root: str
    clips: int
    finished: bool


def write_state(store: Path, state: BuildState) -> None:
    """Replace STORE/build.json."""
    write_checked(store / FILE, (json.dumps(asdict(state)) + "\n").encode())


def read_state(store: Path) -> BuildState | None:
    """What STORE/build.json says; None where it is missing or unreadable."""
    try:
        raw = json.loads(read_regular(store / FILE, MAX_BYTES))
        return BuildState(str(raw["root"]), int(raw["clips"]), bool(raw["finished"]))
    except (OSError, StoreError, ValueError, KeyError, TypeError):
        return None


def unfinished(store: Path) -> str:
    """A warning where the last build did not come to its end, else nothing."""
    state = read_state(store)
    if state is None or state.finished:
        return ""
    return (
        f"the last build of {store} (from {state.root}, {state.clips:,} clips) did not finish; what it holds is sound "
        "but not complete: run the same featstore build again, or where it is planned its workers and featstore commit"
    )


def other_root(store: Path, root: Path) -> list[str]:
    """A note where the store was last built from another folder than `root`."""
    state = read_state(store)
    if state is None or Path(state.root) == root.resolve():
        return []
    return [
        f"{store} was last built from {state.root}; clips are told apart by their path below the folder, so build one "
        "store from one folder, unless that folder only moved"
    ]

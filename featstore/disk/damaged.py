"""The folder for files that are taken out of a store but not deleted."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from featstore.disk.files import make_folder, sync_directory

FOLDER = "damaged"


def move_to_damaged(root: Path, files: Iterable[Path]) -> None:
    """Move `files`, relative to the store at `root`, to its folder `damaged`; those that are missing are ignored."""
    moved = list(files)
    if not moved:
        return
    make_folder(root / FOLDER)
    for file in moved:
        with suppress(FileNotFoundError):
            (root / file).replace(root / FOLDER / file.name)
    sync_directory(root / FOLDER)

"""Places on disk: how much is free, and whether the file system does what a store needs."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from featstore.console import size
from featstore.disk.files import free_bytes, sync_directory
from featstore.doctor.finding import BROKEN, NOTE, Finding
from featstore.errors import reason_of

SPARE_BYTES = 1e9
PREFIX = ".featstore-doctor-"


def hub_cache() -> Path:
    """Folder in which the hub's library keeps downloads."""
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")


def space_found(name: str, path: Path) -> Finding:
    """Free space at a place that may not exist yet."""
    free = free_bytes(path.absolute())
    text = f"{size(free)} free in {path}"
    mend = "free some space, or choose another place" if free < SPARE_BYTES else ""
    return Finding(name, text, NOTE if mend else "ok", mend)


def store_found(path: Path) -> Finding:
    """What is in a store; its errors are findings."""
    from featstore.store import FeatureStore

    store = FeatureStore.open(path)
    rows = ", ".join(f"{name} ({store.rows(name):,} rows)" for name in sorted(store.embeddings))
    return Finding("store", f"{path}: {rows or 'no embeddings'}")


def is_store(path: Path) -> bool:
    """Whether a folder has the parts of a store."""
    return (path / "manifest").is_dir()


def file_system_found(path: Path) -> Finding:
    """Whether the file system at `path`, or of its nearest existing folder, has what the writer of a store uses.

    Tried in a temporary folder, beside a store where that is the same file system: locks between two open files, hard
    links, files that are created only once, and folders that can be synced.
    """
    name, folder = "file system", _folder(path.absolute())
    if not os.access(folder, os.W_OK):
        return Finding(name, f"{folder} is read-only here: a store in it can be read, not written", NOTE)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=folder) as made:
        failed = {what: reason for what, test in TESTS.items() if (reason := _reason(test, Path(made)))}
    if "locks" in failed:
        text = f"{folder}: no file locks ({failed['locks']}), so a store cannot be written here"
        return Finding(name, text, BROKEN, "put the store on another disk")
    if failed:
        lacking = "; ".join(f"{what}: {reason}" for what, reason in failed.items())
        return Finding(name, f"{folder}: locks work; {lacking}. A store works without, with fewer guarantees", NOTE)
    return Finding(name, f"{folder}: {', '.join(TESTS)} work")


def _folder(path: Path) -> Path:
    """The folder to try things in."""
    while not path.is_dir():
        path = path.parent
    beside = path.parent
    is_same = beside.stat().st_dev == path.stat().st_dev
    return beside if is_store(path) and is_same and os.access(beside, os.W_OK) else path


def _reason(test: Callable[[Path], None], folder: Path) -> str:
    """Why a test failed; empty where it did not."""
    try:
        test(folder)
    except (OSError, ImportError) as error:
        return reason_of(error)
    return ""


def _locks(folder: Path) -> None:
    """One of two open files gets the lock, the other one is refused."""
    import fcntl

    with (folder / "lock").open("w") as first, (folder / "lock").open("w") as second:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
    raise OSError("two writers get the same lock")


def _links(folder: Path) -> None:
    (folder / "file").write_bytes(b"content")
    os.link(folder / "file", folder / "link")
    if (folder / "link").read_bytes() != b"content":
        raise OSError("a hard link has another content")


def _created_once(folder: Path) -> None:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    os.close(os.open(folder / "once", flags))
    try:
        os.close(os.open(folder / "once", flags))
    except FileExistsError:
        return
    raise OSError("a file can be created twice")


TESTS = {"locks": _locks, "hard links": _links, "files created once": _created_once, "synced folders": sync_directory}

"""Remove damaged shards and manifests from a store, so that the next build computes their rows again."""

import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from featstore.disk.files import make_folder, sync_directory
from featstore.disk.head import FILE as HEAD
from featstore.disk.head import read_head, write_head
from featstore.disk.manifest import MAX_NUMBER, Manifest, load, numbered
from featstore.disk.newest import find_newest
from featstore.errors import StoreError
from featstore.store import FeatureStore, StoreWriter
from featstore.terminal.shown import counted
from featstore.upkeep.verify import DAMAGED, Problem, verify


def repair(path: Path) -> list[Problem]:
    """Move the damaged files of the store at `path` to STORE/damaged; returns the problems that `verify` reports.

    Rows of intact shards are unchanged. The next build computes the removed rows again; imported rows need another
    import. Where the last published state is missing, the store goes on from the newest one left, the shards of the
    lost one are moved too, and a problem says so. It can be killed at any step and run again. Raises StoreError when
    there is no store, no manifest is intact, or a newer program has written a shard.
    """
    FeatureStore.open(path)  # raises for a wrong path, where StoreWriter would create a store
    first, orphans = _secure_lost(path)
    with StoreWriter(path, repairing=True) as writer:
        problems = first + [problem for problem in _checked(path) if not first or problem.file != HEAD]
        files = [Path(problem.file) for problem in problems]
        damaged = {file.name for file in files if file.parent.name == "shards"}
        used = [entry.file for entry in writer.store.manifest.shards if entry.file in damaged]
        before = writer.store.manifest
        _move(path, [file for file in files if file.parent.name == "manifest"])
        _move(path, [Path("shards", file) for file in used])
        if used or writer.lost:
            writer.discard(used)
        if writer.lost:
            what = f"what was published after manifest {before.number} of {before.created} is lost"
            moved = counted(orphans, "shard of it was", "shards of it were")
            problems.append(Problem(".", f"{what}; {moved} moved to {path / DAMAGED}"))
        writer.remove_unnamed(keep=1)
    return problems


def _secure_lost(path: Path) -> tuple[list[Problem], int]:
    """Where the last published state is missing, let no kill during the repair hide or remove what is left of it.

    A head record says so first, if none does: without the shards that no manifest names, which are moved then, the
    store may look intact. Returns the problem of a head record that is moved away, and the number of shards.
    """
    with StoreWriter(path, repairing=True) as writer:
        if not writer.lost:
            return [], 0
        _checked(path)
        files = numbered(path)
        head = path / HEAD
        moved = head.is_dir() and not head.is_symlink()
        if moved:
            _move(path, [Path(HEAD)])
        _write_lost(path, max(files))
        orphans = _orphans(path, files.values())
        _move(path, orphans)
        return [Problem(HEAD, writer.lost)] if moved else [], len(orphans)


def _write_lost(path: Path, highest: int) -> None:
    """Write a head record that says that a state is missing, where none does."""
    published = find_newest(path).published  # also by the shards that are left of it
    with suppress(StoreError):  # a damaged one says so too
        head = read_head(path)
        if head is None or published > head.number:
            write_head(path, Manifest(min(max(published, highest), MAX_NUMBER - 1), checksum="0" * 64))


def _checked(path: Path) -> list[Problem]:
    """The problems of the store; StoreError where a newer program has written to it, whose shards are not damaged."""
    problems = verify(path)
    for problem in problems:
        if problem.newer:
            raise StoreError(f"{problem.what} for the repair; nothing was changed")
    return problems


def _orphans(path: Path, manifests: Iterable[Path]) -> list[Path]:
    """The shards that no readable manifest names, relative to the store."""
    named: set[str] = set()
    for manifest in manifests:
        with suppress(StoreError, FileNotFoundError):
            named.update(entry.file for entry in load(manifest).shards)
    return [file.relative_to(path) for file in sorted((path / "shards").glob("*.h5")) if file.name not in named]


def _move(path: Path, files: Sequence[Path]) -> None:
    """Move files to STORE/damaged, each under a name that is free there."""
    if not files:
        return
    make_folder(path / DAMAGED)
    for file in files:
        target = path / DAMAGED / file.name
        if target.exists():
            target = target.with_name(f"{target.name}-{secrets.token_hex(4)}")
        with suppress(FileNotFoundError):  # a shard may be missing
            (path / file).replace(target)
    sync_directory(path / DAMAGED)

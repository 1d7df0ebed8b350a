"""Remove damaged shards and manifests from a store, so that the next build computes their rows again."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from featstore.console import counted
from featstore.disk.files import make_folder, sync_directory
from featstore.disk.leftovers import unnamed
from featstore.store import FeatureStore, StoreWriter
from featstore.upkeep.verify import DAMAGED, Problem, verify


def repair(path: Path) -> list[Problem]:
    """Move the damaged files of the store at `path` to STORE/damaged; returns the problems that `verify` reports.

    Rows of intact shards are unchanged. The next build computes the removed rows again; imported rows need another
    import. Where the last published state is missing, the store goes on from the newest one left, the shards of the
    lost one are moved too, and a problem says so. Raises StoreError when there is no store, or no manifest is intact.
    """
    FeatureStore.open(path)  # raises for a wrong path, where StoreWriter would create a store
    with StoreWriter(path, repairing=True) as writer:
        problems = verify(path)
        files = [Path(problem.file) for problem in problems]
        _move(path, [file for file in files if file.parent.name == "manifest"])
        damaged = {file.name for file in files if file.parent.name == "shards"}
        used = [entry.file for entry in writer.store.manifest.shards if entry.file in damaged]
        before, orphans = writer.store.manifest, []
        if writer.lost:
            orphans = [file.relative_to(path) for file in unnamed(path, (path / "shards").glob("*.h5"))]
        if used or writer.lost:
            writer.discard(used)
        _move(path, [Path("shards", file) for file in used] + orphans)
        if writer.lost:
            what = f"what was published after manifest {before.number} of {before.created} is lost"
            moved = counted(len(orphans), "shard of it was", "shards of it were")
            problems.append(Problem(".", f"{what}; {moved} moved to {path / DAMAGED}"))
        writer.remove_unnamed(keep=1)
    return problems


def _move(path: Path, files: Sequence[Path]) -> None:
    if not files:
        return
    make_folder(path / DAMAGED)
    for file in files:
        with suppress(FileNotFoundError):  # a shard may be missing
            (path / file).replace(path / DAMAGED / file.name)
    sync_directory(path / DAMAGED)

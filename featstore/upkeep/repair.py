"""Remove damaged shards from a store, so that the next build computes their rows again."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from featstore.store import StoreWriter
from featstore.upkeep.verify import DAMAGED, Problem, verify


def repair(path: Path) -> list[Problem]:
    """Move the damaged shards of the store at `path` to STORE/damaged; returns the problems that `verify` reports.

    Rows of intact shards are unchanged. The next build computes the removed rows again; imported rows need another
    import. Raises StoreError when no manifest is intact: the store must then be built anew.
    """
    with StoreWriter(path) as writer:
        problems = verify(path)
        damaged = {Path(problem.file).name for problem in problems if problem.file.startswith("shards/")}
        for name in sorted(writer.store.embeddings):
            files = [entry.file for entry in writer.store.entries(name) if entry.file in damaged]
            if files:
                writer.replace_shards(name, files, [])
                _move_damaged(path, files)
        writer.remove_unnamed(keep=1)
    return problems


def _move_damaged(path: Path, files: Sequence[str]) -> None:
    (path / DAMAGED).mkdir(exist_ok=True)
    for file in files:
        with suppress(FileNotFoundError):  # a shard may be missing
            (path / "shards" / file).replace(path / DAMAGED / file)

"""Take damaged shards out of a store, so that the next build makes their rows again."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from featstore.store import StoreWriter
from featstore.upkeep.verify import Problem, verify

DAMAGED = "damaged"


def repair(path: Path) -> list[Problem]:
    """Drop every shard that `verify` finds damaged from the store at `path`; returns what was found.

    The files move to STORE/damaged. Rows of intact shards are not touched; rows that a build made come back with the
    next build, imported ones with the next import. Raises StoreError when no manifest is intact: nothing can be kept
    then, build anew.
    """
    with StoreWriter(path) as writer:
        problems = verify(path)
        damaged = {Path(problem.file).name for problem in problems if problem.file.startswith("shards/")}
        for name in sorted(writer.store.embeddings):
            files = [entry.file for entry in writer.store.entries(name) if entry.file in damaged]
            if files:
                writer.replace_shards(name, files, [])
                _set_aside(path, files)
        writer.remove_unnamed(keep=1)
    return problems


def _set_aside(path: Path, files: Sequence[str]) -> None:
    (path / DAMAGED).mkdir(exist_ok=True)
    for file in files:
        with suppress(FileNotFoundError):  # damage may mean that it is gone
            (path / "shards" / file).replace(path / DAMAGED / file)

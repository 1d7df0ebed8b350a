"""k-NN scores of archives of any size: blocks of an archive against the banks of its parts, in bounded memory.

Every unit of the archive becomes one file of results, so that a run that was killed goes on where it was, and units can
be shared by any number of processes: results do not depend on who made them, nor on blocks, threads or memory.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from ensemble.archive.banks import Banks, exact
from ensemble.archive.index import Indexes
from ensemble.archive.parts import Scored, is_done, write_part
from ensemble.archive.rows import (
    Block,
    Part,
    Source,
    Unit,
    batches,
    content_of,
    cut,
    normal_training,
    read_block,
    recordings,
)
from ensemble.archive.search import BlockSearch
from featstore.errors import RequestError, ResourceError
from featstore.store import FeatureStore

Done = Callable[[Unit, Scored | None], None]
"""Told of every unit whose results are on disk, with the results where they were made just now."""

UNIT_ROWS, UNIT_VALUES = 65_536, 2**23
"""Rows of a unit, at least; fewer of many dimensions, so that some units fit into any sensible memory."""

LIST_BYTES = 16
BANKS = {"training": normal_training, "all": recordings}
"""Which recordings of the reference a bank is made of."""


@dataclass(frozen=True)
class ArchiveJob:
    """What an archive run computes: everything that results depend on, as plain values.

    per: columns whose values share a bank (machine, section), or none for one bank. bank: a name of BANKS. k:
    neighbours whose mean cosine distance is the score. index: a kind of `detectors.approximate.kinds.KINDS`, or "" for
    exact search; probes: how hard it tries.
    """

    reference: str
    archive: str
    embedding: str | None = None
    k: int = 1
    per: tuple[str, ...] = ("machine", "section")
    bank: str = "training"
    index: str = ""
    probes: int | None = None


@dataclass(frozen=True)
class Resources:
    """memory: bytes for everything beyond the program itself. threads: of the search, beside one that reads ahead."""

    memory: int = 2 << 30
    threads: int = 1


class ArchiveRun:
    """A job opened on its stores: units, and the scores of any of them.

    RequestError where the two stores' embeddings differ, DataError where there is nothing to compare, ResourceError
    where the memory is too small.
    """

    def __init__(self, job: ArchiveJob, resources: Resources) -> None:
        self.reference = Source.of(FeatureStore.open(job.reference), job.embedding)
        job = replace(job, embedding=self.reference.name)
        self.job, self.resources = job, resources
        self.archive = Source.of(FeatureStore.open(job.archive), job.embedding)
        _refuse_others(self.reference, self.archive)
        values = int(np.prod(self.archive.store.info(self.archive.embedding).shape))
        self.units = cut(self.archive, self._identity(), min(UNIT_ROWS, -(-UNIT_VALUES // values)))
        self.indexes = Indexes(job.index, job.k, job.probes, _beside(self.reference)) if job.index else None
        self._banks: Banks | None = None
        self._references: dict[Part, np.ndarray] = {}

    def score(self, units: Sequence[Unit], folder: Path, done: Done = lambda unit, scored: None) -> None:
        """Write the results of `units` to `folder`, where they are not there yet, and tell `done` of each.

        ResourceError where the disk is full; results written before stay.
        """
        missing = []
        for unit in units:
            if is_done(folder, unit):
                done(unit, None)
            else:
                missing.append(unit)
        if not missing:
            return
        banks = self._prepared()
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            writing: Future[None] | None = None
            for batch, blocks in _ahead(reader, self._batches(missing), self._read):
                for unit, scored in zip(batch, self._scored(banks, blocks), strict=True):
                    if writing is not None:
                        writing.result()
                    writing = writer.submit(_finish, folder, unit, scored, done)
            if writing is not None:
                writing.result()

    @property
    def notes(self) -> list[str]:
        """What the user should know about how units were searched."""
        notes = list(self.indexes.notes) if self.indexes else []
        if self.indexes:
            notes.append(
                "clips whose neighbours the index has missed score too high and gather in top.csv; for exact "
                "scores leave out --index"
            )
        infos = [source.store.info(source.embedding) for source in (self.reference, self.archive)]
        if infos[0].fingerprint != infos[1].fingerprint:
            notes.append(f"{self.job.embedding} was imported twice: that one embedder made both is for you to know")
        if self._banks is not None and not self._banks.resident:
            notes.append(
                f"--memory holds a part of the {self._banks.rows:,} bank rows: they were read again for every batch of "
                "the archive; with more, once"
            )
        return notes

    def _identity(self) -> str:
        job = {**asdict(self.job), "reference": content_of(self.reference), "archive": ""}
        return hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()

    def _block_bytes(self) -> int:
        """Memory of the largest unit: its vectors as stored and as used, its clips and its lists."""
        shape = self.archive.store.info(self.archive.embedding).shape
        row = 4 * int(np.prod(shape)) + 8 * self.archive.d + 600 + self.job.k * (LIST_BYTES + 150)
        return row * max(unit.rows for unit in self.units)

    def _prepared(self) -> Banks:
        if self._banks is None:
            room = self.resources.memory - 3 * self._block_bytes()  # one read, one searched, one written
            if room <= 0:
                raise ResourceError(
                    f"{self.archive.store.path}: its largest unit takes {3 * self._block_bytes() / 1e6:,.0f} MB while "
                    f"it is read, searched and written, --memory allows {self.resources.memory / 1e6:,.0f} MB"
                )
            make = self.indexes.make if self.indexes else exact()
            banks = Banks(self.reference, BANKS[self.job.bank], self.job.per, room, make)
            if self.indexes and not banks.resident:
                raise RequestError(
                    f"--index {self.job.index} needs the {banks.rows:,} bank rows in memory; give more --memory"
                )
            self._references = banks.reference_scores(self.job.k, self.resources.threads)
            if self.indexes:
                self.indexes.measuring = True
            self._banks = banks
        return self._banks

    def _batches(self, units: Sequence[Unit]) -> Iterator[list[Unit]]:
        """Units that are searched together: single ones beside banks in memory, else what memory holds."""
        assert self._banks is not None
        if self._banks.resident:
            return iter([[unit] for unit in units])
        largest = max(unit.rows for unit in units)
        row = 3 * self._block_bytes() // max(unit.rows for unit in self.units)  # three batches: see `_prepared`
        return batches(units, max((self.resources.memory - self._banks.bytes) // row, largest))

    def _read(self, batch: Sequence[Unit]) -> list[Block]:
        return [read_block(self.archive, unit.entries, recordings) for unit in batch]

    def _scored(self, banks: Banks, blocks: Sequence[Block]) -> list[Scored]:
        searches = [BlockSearch.of(block, banks, self.job.k) for block in blocks]
        for chunk in banks.chunks():
            for search in searches:
                search.take(chunk, self.resources.threads)
        return [search.results(banks, self._references) for search in searches]


def _finish(folder: Path, unit: Unit, scored: Scored, done: Done) -> None:
    write_part(folder, unit, scored)
    done(unit, scored)


def _ahead(
    reader: ThreadPoolExecutor, batches: Iterator[list[Unit]], read: Callable[[Sequence[Unit]], list[Block]]
) -> Iterator[tuple[list[Unit], list[Block]]]:
    """Every batch with its blocks, the next one being read meanwhile."""
    pending = None
    for batch in batches:
        reading = (batch, reader.submit(read, batch))
        if pending is not None:
            yield pending[0], pending[1].result()
        pending = reading
    if pending is not None:
        yield pending[0], pending[1].result()


def _beside(source: Source) -> Path:
    """Where the indexes of an embedding are kept."""
    path = source.store.path.resolve()
    return path.with_name(f"{path.name}.index") / source.name


def _refuse_others(reference: Source, archive: Source) -> None:
    """Vectors of two embedders do not compare; of imported ones nobody here knows who made them."""
    ours = reference.store.info(reference.embedding)
    theirs = archive.store.info(archive.embedding)
    imported = ours.config.get("imported") and theirs.config.get("imported")
    for name in ("shape",) if imported else ("fingerprint", "shape"):
        if getattr(ours, name) != getattr(theirs, name):
            raise RequestError(
                f"{archive.store.path}: {archive.embedding} has {name} {getattr(theirs, name)}, in "
                f"{reference.store.path} {reference.embedding} has {getattr(ours, name)}; build both with one embedder"
            )

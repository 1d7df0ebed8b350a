"""k-NN scores of archives of any size: blocks of an archive against the banks of their groups, in bounded memory.

Every unit of the archive becomes one result file. So a killed run resumes after an interruption, and any number of
processes can share the units: the results do not depend on the process, the blocks, the threads or the memory.
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
    Group,
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
"""Called for every unit whose results are on disk, with the results where they were computed just now."""

UNIT_ROWS, UNIT_VALUES = 65_536, 2**23
"""Least rows of a unit; fewer where UNIT_VALUES is reached, so that units of long rows fit into memory."""

LIST_BYTES = 16
BANKS = {"training": normal_training, "all": recordings}
"""Which recordings of the reference a bank contains."""


@dataclass(frozen=True)
class ArchiveJob:
    """What an archive run computes: everything that the results depend on, as plain values.

    per: columns whose values share a bank (machine, section), empty for one bank. bank: a name of BANKS. k: the score
    is the mean cosine distance of so many neighbours. index: a kind of `detectors.approximate.kinds.KINDS`, or "" for
    exact search; probes: how thoroughly it searches.
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
    """memory: bytes for everything except the program itself. threads: of the search; one more reads ahead."""

    memory: int = 2 << 30
    threads: int = 1


class ArchiveRun:
    """A job with its opened stores: the units of the archive, and their scores.

    RequestError where the embeddings of the two stores differ, DataError where there is nothing to compare,
    ResourceError where the memory is too small.
    """

    def __init__(self, job: ArchiveJob, resources: Resources) -> None:
        self.reference = Source.of(FeatureStore.open(job.reference), job.embedding)
        job = replace(job, embedding=self.reference.name)
        self.job, self.resources = job, resources
        self.archive = Source.of(FeatureStore.open(job.archive), job.embedding)
        _refuse_different(self.reference, self.archive)
        values = int(np.prod(self.archive.store.info(self.archive.embedding).shape))
        self.units = cut(self.archive, self._identity(), min(UNIT_ROWS, -(-UNIT_VALUES // values)))
        self.indexes = Indexes(job.index, job.k, job.probes, _index_folder(self.reference)) if job.index else None
        self._banks: Banks | None = None
        self._references: dict[Group, np.ndarray] = {}

    def score(self, units: Sequence[Unit], folder: Path, done: Done = lambda unit, scored: None) -> None:
        """Write the results of `units` to `folder`, except those that exist, and call `done` for each.

        ResourceError where the disk is full; earlier results are kept.
        """
        missing = []
        for unit in units:
            if is_done(folder, unit):
                done(unit, None)
            else:
                missing.append(unit)
        if not missing:
            return
        banks = self.banks()
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
                "--index is approximate: clips whose neighbours it misses score too high and gather in top.csv; leave "
                "out --index for exact scores"
            )
        infos = [source.store.info(source.embedding) for source in (self.reference, self.archive)]
        if infos[0].fingerprint != infos[1].fingerprint:
            notes.append(f"{self.job.embedding} was imported twice: make sure the same embedder made both")
        if self._banks is not None and not self._banks.resident:
            notes.append(
                f"--memory is too small for the {self._banks.rows:,} bank rows, so they were read again for every "
                "batch of the archive; with more memory they are read once"
            )
        return notes

    def _identity(self) -> str:
        job = {**asdict(self.job), "reference": content_of(self.reference), "archive": ""}
        return hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()

    def _block_bytes(self) -> int:
        """Memory of the largest unit: its vectors as stored and as float32, its clips and its neighbour lists."""
        shape = self.archive.store.info(self.archive.embedding).shape
        row = 4 * int(np.prod(shape)) + 8 * self.archive.d + 600 + self.job.k * (LIST_BYTES + 150)
        return row * max(unit.rows for unit in self.units)

    def banks(self) -> Banks:
        """The banks, read when first needed."""
        if self._banks is None:
            available = self.resources.memory - 3 * self._block_bytes()  # one read, one searched, one written
            if available <= 0:
                raise ResourceError(
                    f"{self.archive.store.path}: its largest unit takes {3 * self._block_bytes() / 1e6:,.0f} MB to be "
                    f"read, searched and written, but --memory is {self.resources.memory / 1e6:,.0f} MB; give more"
                )
            make = self.indexes.make if self.indexes else exact()
            banks = Banks(self.reference, BANKS[self.job.bank], self.job.per, available, make)
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
        """Units that are searched together: one at a time where the banks are in memory, else as many as fit."""
        assert self._banks is not None
        if self._banks.resident:
            return iter([[unit] for unit in units])
        largest = max(unit.rows for unit in units)
        row = 3 * self._block_bytes() // max(unit.rows for unit in self.units)  # three batches, as in `banks`
        return batches(units, max((self.resources.memory - self._banks.bytes) // row, largest))

    def _read(self, batch: Sequence[Unit]) -> list[Block]:
        return [read_block(self.archive, unit.entries, recordings) for unit in batch]

    def _scored(self, banks: Banks, blocks: Sequence[Block]) -> list[Scored]:
        searches = [BlockSearch.of(block, banks, self.job.k) for block in blocks]
        for chunk in banks.chunks():
            for search in searches:
                search.update(chunk, self.resources.threads)
        return [search.results(banks, self._references) for search in searches]


def _finish(folder: Path, unit: Unit, scored: Scored, done: Done) -> None:
    write_part(folder, unit, scored)
    done(unit, scored)


def _ahead(
    reader: ThreadPoolExecutor, batches: Iterator[list[Unit]], read: Callable[[Sequence[Unit]], list[Block]]
) -> Iterator[tuple[list[Unit], list[Block]]]:
    """Every batch with its blocks, while the next one is being read."""
    pending = None
    for batch in batches:
        reading = (batch, reader.submit(read, batch))
        if pending is not None:
            yield pending[0], pending[1].result()
        pending = reading
    if pending is not None:
        yield pending[0], pending[1].result()


def _index_folder(source: Source) -> Path:
    """The folder for the indexes of an embedding, beside its store."""
    path = source.store.path.resolve()
    return path.with_name(f"{path.name}.index") / source.name


def _refuse_different(reference: Source, archive: Source) -> None:
    """RequestError for embeddings of two embedders; of imported ones only the shape can be compared."""
    first = reference.store.info(reference.embedding)
    second = archive.store.info(archive.embedding)
    imported = first.config.get("imported") and second.config.get("imported")
    for name in ("shape",) if imported else ("fingerprint", "shape"):
        if getattr(first, name) != getattr(second, name):
            raise RequestError(
                f"{archive.store.path}: {archive.embedding} has {name} {getattr(second, name)}, but in "
                f"{reference.store.path} it is {getattr(first, name)}; build both stores with the same embedder"
            )

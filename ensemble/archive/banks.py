"""The banks of an archive run: one per part, in memory where they fit, else read again for every batch of queries."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from detectors.search.products import has_gpu
from detectors.search.quantised import TiledBank, bytes_per_row
from detectors.search.streamed import TopK, codes_are_faster
from ensemble.archive.rows import Chosen, Part, Source, key_hashes, parts_of, read_block
from featstore.errors import DataError, ResourceError

PIECE_ROWS = 1024
"""Bank rows that must fit into memory at a time, at least."""

Search = Callable[[TopK, np.ndarray, np.ndarray, int], None]
"""Improves lists for queries (m, d) by a bank, but for one excluded id each, on some threads."""

Make = Callable[[Part, np.ndarray, np.ndarray], Search]
"""Makes the search of a part out of rows and ids; of a piece of a part where banks do not fit into memory."""

CALIBRATION = 10_000
"""Bank rows per part, chosen by the hash of their keys, whose leave-one-out scores place the scores of the archive."""


@dataclass(frozen=True, eq=False)
class Names:
    """Keys and content hashes of a part's bank in the order of the keys; a row's id is its place here."""

    keys: np.ndarray
    content: np.ndarray
    ids: np.ndarray
    """Id of every row in store order."""

    hashes: np.ndarray
    hashed: np.ndarray
    """Hashes of the keys, rising, and the ids they belong to."""

    @classmethod
    def of(cls, keys: np.ndarray, content: np.ndarray) -> "Names":
        """From keys and content hashes in store order."""
        order = np.argsort(keys, kind="stable")
        ids = np.empty(len(keys), dtype=np.int64)
        ids[order] = np.arange(len(keys))
        hashes = key_hashes(keys[order])
        by_hash = np.argsort(hashes, kind="stable")
        return cls(keys[order], content[order], ids, hashes[by_hash], by_hash)

    def same(self, keys: np.ndarray, content: np.ndarray) -> np.ndarray:
        """Id (m,) of the row that is the very recording of a key, or -1: the same key and, where known, content."""
        found = np.full(len(keys), -1, dtype=np.int64)
        hashes = key_hashes(keys)
        at = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        for i in np.flatnonzero(self.hashes[at] == hashes):  # few, unless reference and archive share their clips
            place = at[i]
            while place < len(self.hashes) and self.hashes[place] == hashes[i]:
                row = self.hashed[place]
                known = bool(content[i]) and bool(self.content[row])
                if self.keys[row] == keys[i] and (content[i] == self.content[row] or not known):
                    found[i] = row
                place += 1
        return found

    def sample(self) -> np.ndarray:
        """Ids of at most CALIBRATION rows, the same whatever the order of the store."""
        return np.sort(self.hashed[:CALIBRATION])


def exact() -> Make:
    """Exact search of rows in memory, with products on a GPU where there is one.

    Elsewhere the first piece of each part shows which products are faster.
    """
    coded: dict[Part, bool] = {}

    def make(part: Part, rows: np.ndarray, ids: np.ndarray) -> Search:
        if has_gpu():
            from detectors.search.on_device import DeviceBank

            return DeviceBank(rows, ids).update
        if part not in coded:
            coded[part] = codes_are_faster(rows)
        bank = TiledBank.of(rows, ids, coded=coded[part])

        def improve(lists: TopK, queries: np.ndarray, exclude: np.ndarray, threads: int) -> None:
            lists.update(queries, bank, exclude=exclude, threads=threads)

        return improve

    return make


class Banks:
    """Banks of the rows of `source` that `chosen` keeps, one per value of the columns `per`, searched as `make` says.

    `memory`: bytes that banks may take; `bytes`: what they take. ResourceError where not even their names fit,
    DataError without rows.
    """

    def __init__(self, source: Source, chosen: Chosen, per: Sequence[str], memory: int, make: Make) -> None:
        self.source, self.chosen, self.per, self.make = source, chosen, tuple(per), make
        self.names = {part: Names.of(*columns) for part, columns in self._columns().items()}
        if not self.names:
            raise DataError(
                f"{source.store.path}: no training clips of {source.embedding} to compare with; --bank all takes every "
                "recording of the reference"
            )
        self.rows = sum(len(names.keys) for names in self.names.values())
        row, least = bytes_per_row(source.d) + 8 * source.d, min(self.rows, PIECE_ROWS)  # as given and together, too
        fixed = self._names_bytes() + self._sample_bytes() + _shard_bytes(source)
        fit = (memory - fixed) // row
        if fit < least:
            raise ResourceError(
                f"the names of {self.rows:,} bank rows, one shard of them and their calibration need "
                f"{(fixed + least * row) / 1e6:,.1f} MB, {memory / 1e6:,.1f} MB of --memory are left; give more"
            )
        self.resident = self.rows <= fit
        self._piece = fit if self.resident else max(fit // 4, least)  # memory serves better as longer lists
        self.bytes = fixed + min(self._piece, self.rows) * row
        self._kept: dict[Part, Search] | None = None

    def chunks(self) -> Iterator[dict[Part, Search]]:
        """The banks by part, whole where they fit into memory, else one piece after the other."""
        if self._kept is not None:
            yield self._kept
            return
        for chunk in self._read():
            if self.resident:
                self._kept = chunk
            yield chunk
            if not self.resident:
                chunk.clear()  # whoever still holds it: the next one takes its place in memory

    def reference_scores(self, k: int, threads: int) -> dict[Part, np.ndarray]:
        """Leave-one-out scores of a sample of every part that has more than k rows."""
        wanted = {part: names.sample() for part, names in self.names.items() if len(names.keys) > k}
        vectors = {part: np.empty((len(ids), self.source.d), np.float32) for part, ids in wanted.items()}
        for part, ids, rows in self._pieces():
            if part in wanted:
                at = np.minimum(np.searchsorted(wanted[part], ids), len(wanted[part]) - 1)
                hit = wanted[part][at] == ids
                vectors[part][at[hit]] = rows[hit]
        lists = {part: TopK.empty(len(ids), k) for part, ids in wanted.items()}
        for chunk in self.chunks():
            for part in sorted(lists.keys() & chunk.keys()):
                chunk[part](lists[part], vectors[part], wanted[part], threads)
        return {part: found.distance.mean(axis=1) for part, found in lists.items()}

    def _columns(self) -> dict[Part, tuple[np.ndarray, np.ndarray]]:
        found: dict[Part, list[tuple[np.ndarray, np.ndarray]]] = {}
        for entry in self.source.store.entries(self.source.embedding):
            block = read_block(self.source, [entry], self.chosen, vectors=False)
            keys = block.keys()
            for part, rows in parts_of(block.clips, self.per):
                found.setdefault(part, []).append((keys[rows], block.content[rows]))
        return {
            part: (np.concatenate([keys for keys, _ in columns]), np.concatenate([content for _, content in columns]))
            for part, columns in found.items()
        }

    def _names_bytes(self) -> int:
        return sum(
            array.nbytes
            for names in self.names.values()
            for array in (names.keys, names.content, names.ids, names.hashes, names.hashed)
        )

    def _sample_bytes(self) -> int:
        return 4 * self.source.d * sum(min(len(names.keys), CALIBRATION) for names in self.names.values())

    def _pieces(self) -> Iterator[tuple[Part, np.ndarray, np.ndarray]]:
        """Part, ids and vectors of the rows of every shard."""
        start = dict.fromkeys(self.names, 0)
        for entry in self.source.store.entries(self.source.embedding):
            block = read_block(self.source, [entry], self.chosen)
            assert block.vectors is not None
            for part, rows in parts_of(block.clips, self.per):
                vectors = block.vectors[rows]
                yield part, self.names[part].ids[start[part] : start[part] + len(vectors)], vectors
                start[part] += len(vectors)

    def _read(self) -> Iterator[dict[Part, Search]]:
        held: dict[Part, list[tuple[np.ndarray, np.ndarray]]] = {}
        count = 0
        for part, ids, vectors in self._pieces():
            for at in (slice(i, i + self._piece) for i in range(0, len(ids), self._piece)):
                if count and count + len(ids[at]) > self._piece:
                    yield self._searches(held)
                    held, count = {}, 0
                held.setdefault(part, []).append((ids[at], vectors[at]))
                count += len(ids[at])
        if held:
            yield self._searches(held)

    def _searches(self, held: dict[Part, list[tuple[np.ndarray, np.ndarray]]]) -> dict[Part, Search]:
        searches = {}
        for part in sorted(held):
            pieces = held.pop(part)  # so that rows are let go as soon as their bank holds them
            ids, rows = (np.concatenate(columns) for columns in zip(*pieces, strict=True))
            searches[part] = self.make(part, rows, ids)
        return searches


def _shard_bytes(source: Source) -> int:
    """Memory that reading a shard takes: the file, what is in it, and the rows as they are used."""
    return max(2 * entry.bytes + 8 * entry.rows * source.d for entry in source.store.entries(source.embedding))

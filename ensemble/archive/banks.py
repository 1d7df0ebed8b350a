"""The banks of an archive run, one per group: in memory if they fit, else read again for every batch of queries."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from detectors.search.products import has_gpu
from detectors.search.quantised import bytes_per_row
from detectors.search.streamed import TopK, bank_of
from ensemble.archive.rows import ClipFilter, Group, Source, groups_of, key_hashes, read_block
from featstore.errors import DataError, ResourceError

PIECE_ROWS = 1024
"""Least number of bank rows that must fit into memory at a time."""

Search = Callable[[TopK, np.ndarray, np.ndarray, int], None]
"""Updates the neighbour lists of queries (m, d) from a bank, excluding one id per query, on a number of threads."""

MakeSearch = Callable[[Group, np.ndarray, np.ndarray], Search]
"""Makes the search of a group from rows and ids; where banks do not fit into memory, the rows are a piece of it."""

CALIBRATION = 10_000
"""Bank rows per group, sampled by the hash of their keys, whose leave-one-out scores calibrate the archive's scores."""


@dataclass(frozen=True, eq=False)
class BankKeys:
    """Keys and content hashes of a group's bank, sorted by key; the id of a row is its position here.

    ids: id of every row in store order. hashes: the sorted hashes of the keys; hashed: the ids that they belong to.
    """

    keys: np.ndarray
    content: np.ndarray
    ids: np.ndarray
    hashes: np.ndarray
    hashed: np.ndarray

    @classmethod
    def of(cls, keys: np.ndarray, content: np.ndarray) -> "BankKeys":
        """From keys and content hashes in store order."""
        order = np.argsort(keys, kind="stable")
        ids = np.empty(len(keys), dtype=np.int64)
        ids[order] = np.arange(len(keys))
        hashes = key_hashes(keys[order])
        by_hash = np.argsort(hashes, kind="stable")
        return cls(keys[order], content[order], ids, hashes[by_hash], by_hash)

    def same_recording(self, keys: np.ndarray, content: np.ndarray) -> np.ndarray:
        """Id (m,) of the row with the same key and, where both are known, the same content; -1 where there is none."""
        same = np.full(len(keys), -1, dtype=np.int64)
        hashes = key_hashes(keys)
        at = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        for i in np.flatnonzero(self.hashes[at] == hashes):  # few, unless reference and archive share clips
            place = at[i]
            while place < len(self.hashes) and self.hashes[place] == hashes[i]:
                row = self.hashed[place]
                known = bool(content[i]) and bool(self.content[row])
                if self.keys[row] == keys[i] and (content[i] == self.content[row] or not known):
                    same[i] = row
                place += 1
        return same

    def sample(self) -> np.ndarray:
        """Ids of at most CALIBRATION rows; they do not depend on the order of the store."""
        return np.sort(self.hashed[:CALIBRATION])


def exact() -> MakeSearch:
    """Exact search of rows in memory, on a GPU where there is one.

    On a CPU, the first piece of each group decides which kind of products is used.
    """
    coded: dict[Group, bool] = {}

    def make(group: Group, rows: np.ndarray, ids: np.ndarray) -> Search:
        if has_gpu():
            from detectors.search.on_device import DeviceBank

            return DeviceBank(rows, ids).update
        bank = bank_of(rows, ids, coded=coded.get(group))
        coded[group] = bank.coded

        def improve(lists: TopK, queries: np.ndarray, exclude: np.ndarray, threads: int) -> None:
            lists.update(queries, bank, exclude=exclude, threads=threads)

        return improve

    return make


class Banks:
    """Banks of the rows of `source` that pass `clip_filter`: one per value of the columns `per`, searched by `make`.

    `memory`: bytes that the banks may take; `bytes`: what they take; `resident`: they fit. ResourceError where not even
    their keys fit, DataError without rows.
    """

    def __init__(
        self, source: Source, clip_filter: ClipFilter, per: Sequence[str], memory: int, make: MakeSearch
    ) -> None:
        self.source, self.clip_filter, self.per, self.make = source, clip_filter, tuple(per), make
        self.groups = {group: BankKeys.of(*columns) for group, columns in self._columns().items()}
        if not self.groups:
            raise DataError(
                f"{source.store.path}: no training clips of {source.embedding} to compare with; use --bank all to "
                "compare with every recording of the reference"
            )
        self.rows = sum(len(bank.keys) for bank in self.groups.values())
        row, least = bytes_per_row(source.d) + 8 * source.d, min(self.rows, PIECE_ROWS)  # also as read, and joined
        fixed = self._key_bytes() + self._sample_bytes() + _shard_bytes(source)
        fit = (memory - fixed) // row
        if fit < least:
            raise ResourceError(
                f"the keys of {self.rows:,} bank rows, one shard and the calibration need "
                f"{(fixed + least * row) / 1e6:,.1f} MB, but {memory / 1e6:,.1f} MB of --memory are left; give more"
            )
        self.resident = self.rows <= fit
        self._piece = fit if self.resident else max(fit // 4, least)  # the rest is better used for longer lists
        self.bytes = fixed + min(self._piece, self.rows) * row
        self._searches: dict[Group, Search] | None = None

    def chunks(self) -> Iterator[dict[Group, Search]]:
        """Searches by group: of whole banks where they fit into memory, else of one piece after the other."""
        if self._searches is not None:
            yield self._searches
            return
        for chunk in self._read():
            if self.resident:
                self._searches = chunk
            yield chunk
            if not self.resident:
                chunk.clear()  # frees the memory for the next piece, even if the caller keeps the dictionary

    def reference_scores(self, k: int, threads: int) -> dict[Group, np.ndarray]:
        """Leave-one-out scores of a sample of every group with more than k rows."""
        samples = {group: bank.sample() for group, bank in self.groups.items() if len(bank.keys) > k}
        vectors = {group: np.empty((len(ids), self.source.d), np.float32) for group, ids in samples.items()}
        for group, ids, rows in self._pieces():
            if group in samples:
                at = np.minimum(np.searchsorted(samples[group], ids), len(samples[group]) - 1)
                sampled = samples[group][at] == ids
                vectors[group][at[sampled]] = rows[sampled]
        lists = {group: TopK.empty(len(ids), k) for group, ids in samples.items()}
        for chunk in self.chunks():
            for group in sorted(lists.keys() & chunk.keys()):
                chunk[group](lists[group], vectors[group], samples[group], threads)
        return {group: nearest.distance.mean(axis=1) for group, nearest in lists.items()}

    def _columns(self) -> dict[Group, tuple[np.ndarray, np.ndarray]]:
        """Keys and content hashes of every group in store order."""
        by_group: dict[Group, list[tuple[np.ndarray, np.ndarray]]] = {}
        for entry in self.source.store.entries(self.source.embedding):
            block = read_block(self.source, [entry], self.clip_filter, vectors=False)
            keys = block.keys()
            for group, rows in groups_of(block.clips, self.per):
                by_group.setdefault(group, []).append((keys[rows], block.content[rows]))
        return {
            group: (np.concatenate([keys for keys, _ in columns]), np.concatenate([content for _, content in columns]))
            for group, columns in by_group.items()
        }

    def _key_bytes(self) -> int:
        return sum(
            array.nbytes
            for bank in self.groups.values()
            for array in (bank.keys, bank.content, bank.ids, bank.hashes, bank.hashed)
        )

    def _sample_bytes(self) -> int:
        return 4 * self.source.d * sum(min(len(bank.keys), CALIBRATION) for bank in self.groups.values())

    def _pieces(self) -> Iterator[tuple[Group, np.ndarray, np.ndarray]]:
        """Group, ids and vectors of the rows of every shard."""
        start = dict.fromkeys(self.groups, 0)
        for entry in self.source.store.entries(self.source.embedding):
            block = read_block(self.source, [entry], self.clip_filter)
            assert block.vectors is not None
            for group, rows in groups_of(block.clips, self.per):
                vectors = block.vectors[rows]
                yield group, self.groups[group].ids[start[group] : start[group] + len(vectors)], vectors
                start[group] += len(vectors)

    def _read(self) -> Iterator[dict[Group, Search]]:
        pending: dict[Group, list[tuple[np.ndarray, np.ndarray]]] = {}
        count = 0
        for group, ids, vectors in self._pieces():
            for at in (slice(i, i + self._piece) for i in range(0, len(ids), self._piece)):
                if count and count + len(ids[at]) > self._piece:
                    yield self._made(pending)
                    pending, count = {}, 0
                pending.setdefault(group, []).append((ids[at], vectors[at]))
                count += len(ids[at])
        if pending:
            yield self._made(pending)

    def _made(self, pending: dict[Group, list[tuple[np.ndarray, np.ndarray]]]) -> dict[Group, Search]:
        """Searches of the pending rows, which are removed."""
        searches = {}
        for group in sorted(pending):
            pieces = pending.pop(group)  # so that these rows are freed as soon as their bank is made
            ids, rows = (np.concatenate(columns) for columns in zip(*pieces, strict=True))
            searches[group] = self.make(group, rows, ids)
        return searches


def _shard_bytes(source: Source) -> int:
    """Memory that reading the largest shard takes: the file, its content, and the rows as float32."""
    return max(2 * entry.bytes + 8 * entry.rows * source.d for entry in source.store.entries(source.embedding))

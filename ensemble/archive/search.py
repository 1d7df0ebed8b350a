"""A block of an archive under search: its clips by part, their lists of neighbours, and what follows from them."""

from dataclasses import dataclass

import numpy as np

from detectors.search.streamed import TopK
from ensemble.archive.banks import Banks, Search
from ensemble.archive.parts import Scored
from ensemble.archive.rows import Block, Part, parts_of
from ensemble.decision.calibrate import position


@dataclass(frozen=True, eq=False)
class _Query:
    """The clips of one part of a block."""

    part: Part
    rows: np.ndarray | slice
    vectors: np.ndarray
    exclude: np.ndarray
    nearest: TopK


@dataclass(frozen=True, eq=False)
class BlockSearch:
    """A block under search: lists of neighbours for every part that has a bank."""

    block: Block
    keys: np.ndarray
    queries: list[_Query]
    k: int

    @classmethod
    def of(cls, block: Block, banks: Banks, k: int) -> "BlockSearch":
        """Lists for the clips of every part with a bank of more than k rows."""
        assert block.vectors is not None
        keys, queries = block.keys(), []
        for part, rows in parts_of(block.clips, banks.per):
            names = banks.names.get(part)
            if names is None or len(names.keys) <= k:
                continue
            vectors = block.vectors[rows]
            exclude = names.same(keys[rows], block.content[rows])
            queries.append(_Query(part, rows, vectors, exclude, TopK.empty(len(vectors), k)))
        return cls(block, keys, queries, k)

    def take(self, chunk: dict[Part, Search], threads: int) -> None:
        """Improve the lists by banks or pieces of banks."""
        for query in self.queries:
            if query.part in chunk:
                chunk[query.part](query.nearest, query.vectors, query.exclude, threads)

    def results(self, banks: Banks, references: dict[Part, np.ndarray]) -> Scored:
        """Scores, percentiles among the `references`, and neighbours, in the order of the block."""
        n, columns = len(self.keys), self.block.clips.columns
        score, percentile = np.full(n, np.nan), np.full(n, np.nan)
        distance = np.full((n, self.k), np.nan)
        width = max((banks.names[query.part].keys.dtype.itemsize for query in self.queries), default=1)
        neighbour = np.zeros((n, self.k), dtype=f"S{width}")
        for query in self.queries:
            found = query.nearest
            score[query.rows] = found.distance.mean(axis=1)
            percentile[query.rows] = position(score[query.rows], references[query.part])
            distance[query.rows] = found.distance
            neighbour[query.rows] = banks.names[query.part].keys[found.id]
        return Scored(self.keys, columns["machine"], columns["section"], score, percentile, distance, neighbour)

"""The search of one block of an archive: its clips by group, their neighbour lists, and the resulting scores."""

from dataclasses import dataclass

import numpy as np

from detectors.search.streamed import TopK
from ensemble.archive.banks import Banks, Search
from ensemble.archive.parts import Scored
from ensemble.archive.rows import Block, Group, groups_of
from ensemble.decision.calibrate import position


@dataclass(frozen=True, eq=False)
class _Query:
    """The clips of one group of a block."""

    group: Group
    rows: np.ndarray | slice
    vectors: np.ndarray
    exclude: np.ndarray
    nearest: TopK


@dataclass(frozen=True, eq=False)
class BlockSearch:
    """A block with neighbour lists for every group that has a bank."""

    block: Block
    keys: np.ndarray
    queries: list[_Query]
    k: int

    @classmethod
    def of(cls, block: Block, banks: Banks, k: int) -> "BlockSearch":
        """Empty lists for the clips of every group with a bank of more than k rows."""
        assert block.vectors is not None
        keys, queries = block.keys(), []
        for group, rows in groups_of(block.clips, banks.per):
            bank = banks.groups.get(group)
            if bank is None or len(bank.keys) <= k:
                continue
            vectors = block.vectors[rows]
            exclude = bank.same_recording(keys[rows], block.content[rows])
            queries.append(_Query(group, rows, vectors, exclude, TopK.empty(len(vectors), k)))
        return cls(block, keys, queries, k)

    def update(self, chunk: dict[Group, Search], threads: int) -> None:
        """Update the lists from banks or pieces of banks."""
        for query in self.queries:
            if query.group in chunk:
                chunk[query.group](query.nearest, query.vectors, query.exclude, threads)

    def results(self, banks: Banks, references: dict[Group, np.ndarray]) -> Scored:
        """Scores, percentiles among the `references`, and neighbours, in the order of the block."""
        n, columns = len(self.keys), self.block.clips.columns
        score, percentile = np.full(n, np.nan), np.full(n, np.nan)
        distance = np.full((n, self.k), np.nan)
        width = max((banks.groups[query.group].keys.dtype.itemsize for query in self.queries), default=1)
        neighbour = np.zeros((n, self.k), dtype=f"S{width}")
        for query in self.queries:
            nearest = query.nearest
            score[query.rows] = nearest.distance.mean(axis=1)
            percentile[query.rows] = position(score[query.rows], references[query.group])
            distance[query.rows] = nearest.distance
            neighbour[query.rows] = banks.groups[query.group].keys[nearest.id]
        return Scored(self.keys, columns["machine"], columns["section"], score, percentile, distance, neighbour)

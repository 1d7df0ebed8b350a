"""An embedder that fails on every recording ends a build once, instead of rejecting all of them."""

from collections import Counter
from collections.abc import Collection, Sequence

from featstore.building.work import Result
from featstore.errors import DataError
from featstore.store import EmbeddingInfo, FeatureStore

ENOUGH = 32
"""Recordings that could be read, none of them embedded, after which the embedder counts as the cause."""


def with_rows(store: FeatureStore) -> set[str]:
    """Names of the embeddings of a store that have rows."""
    return {name for name in store.embeddings if store.rows(name)}


class Failing:
    """Watches the embedders of a run until each has embedded its first recording.

    held: names of the embeddings that already have rows; for them fewer than ENOUGH failures are of the recordings.
    """

    def __init__(self, infos: Sequence[EmbeddingInfo], held: Collection[str] = ()) -> None:
        self.infos, self.held = infos, held
        self._embedded: set[int] = set()
        self._failures: Counter[int] = Counter()
        self._reasons: dict[int, str] = {}

    def count(self, position: int, results: Sequence[Result]) -> None:
        """Count results of the embedding at a position; DataError after ENOUGH failures without a success."""
        if any(result.vector is not None for result in results):
            self._embedded.add(position)
        failed = [result.reason for result in results if result.by_embedder]
        if position in self._embedded or not failed:
            return
        self._failures[position] += len(failed)
        self._reasons[position] = failed[-1]
        if self._failures[position] >= ENOUGH:
            raise self._error(position)

    def suspects(self) -> list[int]:
        """Positions of the embeddings that have failed and not yet embedded anything."""
        return [position for position in self._failures if position not in self._embedded]

    def end(self) -> None:
        """DataError where an embedding without rows has failed until the end of the run."""
        for position in self.suspects():
            if self.infos[position].name not in self.held:
                raise self._error(position)

    def _error(self, position: int) -> DataError:
        count = self._failures[position]
        return DataError(
            f"{self.infos[position].name}: none of the first {count} clips that could be read was embedded: "
            f"{self._reasons[position]}; none of them is recorded as rejected, so the next build tries them again"
        )

"""Imports whose rows a repair has removed can be made again."""

from pathlib import Path

import numpy as np
import pytest
from sample_store import clip, content, path_of, rows

from featstore.disk import parts
from featstore.errors import RequestError
from featstore.exchange.embeddings import import_matrix
from featstore.store import FeatureStore
from featstore.table import ClipTable
from featstore.upkeep.repair import repair
from featstore.upkeep.verify import verify

CLIPS = ClipTable.from_clips([clip(number) for number in range(3)])
WHOLE = {path_of(number): float(number) for number in range(3)}


def imported(store: Path, offset: float = 0.0) -> dict[str, float]:
    import_matrix(store, "mine", rows([0, 1, 2]) + np.float32(offset), CLIPS)
    return content(FeatureStore.open(store), "mine")


def without(store: Path, count: int) -> None:
    for entry in FeatureStore.open(store).entries("mine")[:count]:
        (store / "shards" / entry.file).unlink()
    repair(store)


@pytest.mark.parametrize("lost", [1, 3])
def test_the_same_import_adds_the_rows_that_were_removed(
    tmp_path: Path, lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "MAX_ROWS", 1)
    assert imported(tmp_path) == WHOLE
    without(tmp_path, lost)
    assert FeatureStore.open(tmp_path).rows("mine") == 3 - lost
    assert imported(tmp_path) == WHOLE
    assert verify(tmp_path) == []


def test_other_rows_take_the_name_of_an_embedding_without_rows_only(tmp_path: Path) -> None:
    imported(tmp_path)
    with pytest.raises(RequestError, match="already has other rows as 'mine'"):
        imported(tmp_path, 5.0)
    without(tmp_path, 1)
    assert imported(tmp_path, 5.0) == {key: value + 5.0 for key, value in WHOLE.items()}

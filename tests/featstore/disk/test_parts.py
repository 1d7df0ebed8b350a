"""Rows are cut into shards whose bytes count all columns."""

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
from sample_store import clip, path_of, shard

from featstore.disk import parts as module
from featstore.disk.parts import parts
from featstore.disk.shard import ShardData, build_image
from featstore.table import ClipTable

NUMBERS = range(40)


def keys(pieces: list[ShardData]) -> list[str]:
    return list(chain.from_iterable(piece.keys() for piece in pieces))


def test_long_attributes_make_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    data = shard(NUMBERS)
    long = [replace(clip(i), attributes={"note": "x" * 2000}) for i in NUMBERS]
    wide = replace(data, clips=ClipTable.from_clips(long))
    monkeypatch.setattr(module, "MAX_BYTES", 10_000)
    few = parts(wide)
    assert len(few) == 10 > len(parts(data))
    assert keys(few) == [path_of(i) for i in NUMBERS]
    np.testing.assert_array_equal(np.concatenate([piece.matrix for piece in few]), data.matrix)
    np.testing.assert_array_equal(np.concatenate([piece.facts["mtime_ns"] for piece in few]), list(NUMBERS))
    assert max(len(build_image(piece)) for piece in few) < 10_000 + 2 * len(build_image(shard([])))


def test_a_part_has_a_limited_number_of_rows_and_at_least_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 15)
    assert [len(piece.clips) for piece in parts(shard(NUMBERS))] == [15, 15, 10]
    monkeypatch.setattr(module, "MAX_BYTES", 1)
    assert len(parts(shard(NUMBERS))) == 40


def test_rejections_stay_with_the_first_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 2)
    assert keys(parts(shard([1, 2, 3], rejected=[4]))) == [path_of(i) for i in (1, 2, 4, 3)]
    assert keys(parts(shard([], rejected=[4]))) == [path_of(4)]
    assert parts(shard([])) == []

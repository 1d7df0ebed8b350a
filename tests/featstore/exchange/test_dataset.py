"""Exports as a folder of the Hugging Face library."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from sample_store import INFO, make_store, path_of, shard

from featstore.clip import Clip
from featstore.errors import DataError, StoreError
from featstore.exchange import dataset
from featstore.exchange.embeddings import export
from featstore.table import COLUMNS, ClipTable

datasets = pytest.importorskip("datasets")


@pytest.mark.parametrize(("shape", "views"), [((4,), ()), ((2, 3), ("low", "high"))])
def test_a_data_set_has_all_rows_and_columns(tmp_path, monkeypatch, shape, views):
    monkeypatch.setattr(dataset, "BLOCK_ROWS", 2)
    clips = ClipTable.from_clips([Clip("b.wav#t=2.5,12.5", "fan", "00", "test")])
    info = replace(INFO, shape=shape, views=views)
    store = make_store(tmp_path / "store", shard([5, 6, 7], info=info), replace(shard([1], info=info), clips=clips))
    assert export(store, "twfr", tmp_path / "out", to="hf") == 4
    rows = datasets.load_from_disk(tmp_path / "out")
    stored = store.clips("twfr")
    assert {name: list(rows[name]) for name in COLUMNS} == {name: stored.column(name).tolist() for name in COLUMNS}
    assert list(rows["end_s"]) == [None, None, None, 12.5]
    np.testing.assert_array_equal(rows.with_format("numpy")["embedding"][:], store.matrix("twfr"))
    assert rows.features["embedding"].length == shape[0]
    assert all(view in rows.info.description for view in views)
    del rows
    assert {path.name for path in tmp_path.iterdir()} == {"out", "store"}


def test_a_folder_in_use_is_refused_and_an_empty_one_is_not(tmp_path):
    store = make_store(tmp_path / "store", shard([1]))
    out = tmp_path / "out"
    out.mkdir()
    export(store, "twfr", out, to="hf")
    before = (out / "state.json").read_bytes()
    with pytest.raises(DataError, match="out: expected a new folder, this exists; choose another"):
        export(store, "twfr", out, to="hf")
    assert (out / "state.json").read_bytes() == before
    assert json.loads((out / "dataset_info.json").read_text())["features"]["section"]["dtype"] == "string"


def test_a_failed_export_leaves_nothing(tmp_path):
    store = make_store(tmp_path / "store", shard([5, 6, 7]), shard([1]))
    max((store.path / "shards").glob("*.h5")).write_bytes(b"damaged")
    with pytest.raises(StoreError, match="damaged"):
        export(store, "twfr", tmp_path / "out", to="hf")
    with pytest.raises(StoreError, match=r"cannot write .*nowhere"):
        export(store, "twfr", tmp_path / "nowhere" / "out", to="hf")
    assert {path.name for path in tmp_path.iterdir()} == {"store"}


def test_a_missing_library_names_the_extra(tmp_path, monkeypatch):
    store = make_store(tmp_path / "store", shard([1]))
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"needs datasets; pip install 'featstore\[hf\]'"):
        export(store, "twfr", tmp_path / "out", to="hf")


def test_parquet_and_arrow_files_are_read_too(tmp_path):
    store = make_store(tmp_path / "store", shard([1, 2]))
    export(store, "twfr", tmp_path / "rows.parquet", to="parquet")
    export(store, "twfr", tmp_path / "out", to="hf")
    for kind, files in (("parquet", "rows.parquet"), ("arrow", "out/*.arrow")):
        rows = datasets.load_dataset(
            kind, data_files=str(tmp_path / files), split="train", cache_dir=str(tmp_path / "cache")
        )
        assert list(rows["path"]) == [path_of(1), path_of(2)]
        np.testing.assert_array_equal(np.array(rows["embedding"], dtype=np.float32), store.matrix("twfr"))

"""Exports read back with their views; files of other kinds are named with what to do."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from featstore.clip import Clip
from featstore.errors import DataError
from featstore.exchange.embeddings import export, import_files, import_matrix
from featstore.exchange.kinds.own import NOTE
from featstore.store import FeatureStore
from featstore.table import ClipTable

pytestmark = pytest.mark.usefixtures("unsynced")
needs_pyarrow = pytest.mark.skipif(find_spec("pyarrow") is None, reason="pyarrow is not installed")
KINDS = ["npz", pytest.param("parquet", marks=needs_pyarrow)]


def store_with(tmp_path: Path, shape: tuple[int, ...], views: tuple[str, ...] = ()) -> FeatureStore:
    clips = [
        Clip(f"fan/{name}.wav", "fan", "00", "train", "source", "normal", {"load": "=1+1"})
        for name in ("a", "=SUM(A1)", "-1", "+x", "@y", "e\u0301")
    ]
    matrix = np.random.default_rng(0).normal(size=(len(clips), *shape)).astype(np.float32)
    import_matrix(tmp_path / "store", "e", matrix, ClipTable.from_clips(clips), views=views)
    return FeatureStore.open(tmp_path / "store")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("shape", "views"), [((3,), ()), ((2, 3), ("mean", "p90")), ((2, 3), ())], ids=str)
def test_an_export_reads_back_with_rows_names_and_views(
    tmp_path: Path, kind: str, shape: tuple[int, ...], views: tuple[str, ...]
) -> None:
    store = store_with(tmp_path, shape, views)
    export(store, "e", tmp_path / f"e.{kind}", to=kind)
    import_files(tmp_path / "again", [tmp_path / f"e.{kind}"], "e")
    again = FeatureStore.open(tmp_path / "again")
    assert again.info("e").views == views
    assert list(again.clips("e")) == list(store.clips("e"))
    np.testing.assert_array_equal(again.matrix("e"), store.matrix("e"))


def test_views_that_do_not_fit_are_left_out(tmp_path: Path) -> None:
    export(store_with(tmp_path, (2, 3), ("mean", "p90")), "e", tmp_path / "e.npz")
    with np.load(tmp_path / "e.npz") as file:
        np.savez(tmp_path / "odd.npz", **{**file, "views": np.array(["mean"]), NOTE: np.array("")})
    import_files(tmp_path / "again", [tmp_path / "odd.npz"], "e")
    assert FeatureStore.open(tmp_path / "again").info("e").views == ()


@needs_pyarrow
@pytest.mark.parametrize(
    ("harm", "message"),
    [
        ("foreign", "expected a column of vectors or numbered columns"),
        ("other shape", r"not an export of this program: rows of shape \(6,\), stated \[7, 7\]"),
        ("negative", r"not an export of this program: rows of shape \(6,\), stated \[-2, -3\]"),
        ("no JSON", "e.parquet: "),
        ("not parquet", "e.parquet: "),
    ],
)
def test_other_parquet_files_are_no_exports(tmp_path: Path, harm: str, message: str) -> None:
    import pyarrow as pa
    from pyarrow.parquet import read_table, write_table

    path = tmp_path / "e.parquet"
    export(store_with(tmp_path, (2, 3)), "e", path, to="parquet")
    table = read_table(path)
    stated = {"other shape": {"shape": "[7, 7]"}, "negative": {"shape": "[-2, -3]"}, "no JSON": {"shape": "["}}
    if harm == "foreign":
        table = pa.table({"a": [1]})
    write_table(table.replace_schema_metadata(stated.get(harm)), path)
    if harm == "not parquet":
        path.write_bytes(b"no table")
    with pytest.raises(DataError, match=message):
        import_files(tmp_path / "again", [path], "e")


@needs_pyarrow
def test_an_export_without_its_shape_is_a_table_of_vectors(tmp_path: Path) -> None:
    from pyarrow.parquet import read_table, write_table

    path, store = tmp_path / "e.parquet", store_with(tmp_path, (2, 3))
    export(store, "e", path, to="parquet")
    write_table(read_table(path).replace_schema_metadata({}), path)
    import_files(tmp_path / "again", [path], "e")
    again = FeatureStore.open(tmp_path / "again")
    np.testing.assert_array_equal(again.matrix("e"), store.matrix("e").reshape(-1, 6))
    assert list(again.clips("e")) == list(store.clips("e"))

import csv
import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from sample_store import INFO, clip, make_store, path_of, rows, shard

from featstore.clip import Clip
from featstore.disk import parts as disk_parts
from featstore.errors import DataError, StoreError
from featstore.exchange import embeddings as exchange
from featstore.exchange.embeddings import export, import_files, import_matrix
from featstore.store import FeatureStore, StoreWriter
from featstore.table import COLUMNS, ClipTable
from featstore.upkeep.verify import verify

STRANGE = Clip('a "b",\n🎧.wav', "fan", "00", "test", attributes={"k": "v"})


@pytest.fixture
def store(tmp_path):
    odd = replace(shard([1]), clips=ClipTable.from_clips([STRANGE]))
    return make_store(tmp_path / "store", shard([5, 6, 7]), odd)


def expected(store) -> dict[str, list[str]]:
    clips = store.clips("twfr")
    return {name: clips.column(name).tolist() for name in COLUMNS}


def test_npz_loads_without_pickle(store, tmp_path, monkeypatch):
    monkeypatch.setattr(exchange, "BLOCK_ROWS", 3)
    assert export(store, "twfr", tmp_path / "out.npz") == 4
    with np.load(tmp_path / "out.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["embedding"], store.matrix("twfr"))
        assert {name: arrays[name].tolist() for name in COLUMNS} == expected(store)


def test_csv_reads_back_exactly(store, tmp_path):
    values = store.matrix("twfr") + np.float32(0.1)
    with StoreWriter(store.path) as writer:
        store = writer.commit([replace(shard([5, 6, 7]), matrix=values[:3])])
    export(store, "twfr", tmp_path / "out.csv", to="csv")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert {name: [line[name] for line in lines] for name in COLUMNS} == expected(store)
    numbers = np.array([[line[f"e{i}"] for i in range(4)] for line in lines]).astype(np.float32)
    np.testing.assert_array_equal(numbers, store.matrix("twfr"))


def test_parquet_has_a_list_of_fixed_size(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    info = replace(INFO, shape=(2, 3), views=("low", "high"))
    store = make_store(tmp_path / "store", shard([1, 2], info=info))
    export(store, "twfr", tmp_path / "out.parquet", to="parquet")
    table = parquet.read_table(tmp_path / "out.parquet")
    assert {name: table[name].to_pylist() for name in COLUMNS} == expected(store)
    np.testing.assert_array_equal(
        np.array(table["embedding"].to_pylist()), rows([1, 2]).dtype.type(0) + rows([1, 2], info).reshape(2, 6)
    )
    assert table.schema.metadata[b"shape"] == b"[2, 3]"


def test_undecodable_names_survive_csv(tmp_path):
    odd = replace(shard([1]), clips=ClipTable.from_clips([replace(clip(1), path="x\udcff.wav")]))
    store = make_store(tmp_path / "store", odd)
    export(store, "twfr", tmp_path / "out.csv", to="csv")
    assert b"\nx\xff.wav,fan" in (tmp_path / "out.csv").read_bytes().replace(b"\r\n", b"\n")
    pytest.importorskip("pyarrow")
    export(store, "twfr", tmp_path / "out.parquet", to="parquet")


@pytest.mark.parametrize("to", ["npz", "csv", "parquet"])
def test_a_failed_export_leaves_the_old_file(store, tmp_path, to):
    if to == "parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / "out"
    out.write_text("old")
    next((store.path / "shards").glob("*-0001.h5")).write_bytes(b"damaged")
    with pytest.raises(StoreError, match="damaged"):
        export(store, "twfr", out, to=to)
    assert out.read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"out", "store"}


def test_unknown_format_and_folder_are_errors(store, tmp_path):
    with pytest.raises(DataError, match="'xlsx'; choose from npz, parquet, csv"):
        export(store, "twfr", tmp_path / "out", to="xlsx")
    with pytest.raises(StoreError, match=r"cannot write .*nowhere"):
        export(store, "twfr", tmp_path / "nowhere" / "out")


def test_export_and_import_are_inverse(store, tmp_path):
    export(store, "twfr", tmp_path / "out.npz")
    assert import_files(tmp_path / "other", [tmp_path / "out.npz"], "copy") == 4
    copy = FeatureStore.open(tmp_path / "other")
    np.testing.assert_array_equal(copy.matrix("copy"), store.matrix("twfr"))
    assert list(copy.clips("copy")) == list(store.clips("twfr"))


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int16"])
def test_import_keeps_numbers(tmp_path, dtype):
    values = rows([1, 2]).astype(dtype)
    clips = ClipTable.from_clips([clip(1), clip(2)])
    import_matrix(tmp_path / "store", "mine", values, clips, {"model": "ours"})
    store = FeatureStore.open(tmp_path / "store")
    assert store.info("mine").dtype == ("float16" if dtype == "float16" else "float32")
    assert store.info("mine").config == {"imported": True, "model": "ours"}
    np.testing.assert_array_equal(store.matrix("mine"), values.astype(np.float32))


def test_the_same_import_again_changes_nothing(tmp_path):
    root, clips = tmp_path / "store", ClipTable.from_clips([clip(1), clip(2)])
    import_matrix(root, "mine", rows([1, 2]), clips)
    number = FeatureStore.open(root).manifest.number
    assert import_matrix(root, "mine", rows([1, 2]), clips) == 2
    assert FeatureStore.open(root).manifest.number == number
    for values, table in ((rows([1, 3]), clips), (rows([1, 2]), ClipTable.from_clips([clip(1), clip(3)]))):
        with pytest.raises(StoreError, match="already has other rows as 'mine'"):
            import_matrix(root, "mine", values, table)
    with StoreWriter(root) as writer:
        import_matrix(writer, "another", rows([1, 3]), clips)


def test_large_arrays_are_split(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_parts, "MAX_ROWS", 2)
    monkeypatch.setattr(disk_parts, "MAX_BYTES", 1000)
    numbers = list(range(5))
    import_matrix(tmp_path / "store", "mine", rows(numbers), ClipTable.from_clips([clip(i) for i in numbers]))
    store = FeatureStore.open(tmp_path / "store")
    assert [entry.rows for entry in store.entries("mine")] == [2, 2, 1]
    np.testing.assert_array_equal(store.matrix("mine"), rows(numbers))
    assert verify(store.path) == []


def write_manifest(path, numbers) -> None:
    lines = [f'{path_of(i)},fan,{i % 3:02d},train,source,normal,"{{""speed"": ""{i}""}}"' for i in numbers]
    path.write_text("\n".join(["path,machine,section,split,domain,label,attributes", *lines]) + "\n")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_an_array_with_a_manifest(tmp_path, suffix):
    array, manifest = tmp_path / f"x{suffix}", tmp_path / "clips.csv"
    np.save(array, rows([1, 2])) if suffix == ".npy" else np.savez(array, x=rows([1, 2]))
    write_manifest(manifest, [1, 2])
    assert import_files(tmp_path / "store", [array], "mine", manifest=manifest) == 2
    store = FeatureStore.open(tmp_path / "store")
    assert list(store.clips("mine")) == [clip(1), clip(2)]
    np.testing.assert_array_equal(store.matrix("mine"), rows([1, 2]))
    write_manifest(manifest, [1, 2, 3])
    with pytest.raises(DataError, match="2 rows of embeddings for 3 clips"):
        import_files(tmp_path / "store", [array], "other", manifest=manifest)


def test_a_file_that_is_no_npz_is_said_to_be_none(tmp_path):
    (tmp_path / "x.npz").write_text("clip,score")
    with pytest.raises(DataError, match=r"x\.npz: no \.npz file, or a damaged one"):
        import_files(tmp_path / "store", [tmp_path / "x.npz"], "mine")


def test_one_of_several_arrays_is_chosen_by_its_key(tmp_path):
    np.savez(tmp_path / "x.npz", a=rows([1]), b=rows([2]))
    write_manifest(tmp_path / "clips.csv", [1])
    with pytest.raises(DataError, match="arrays a, b; name the one"):
        import_files(tmp_path / "store", [tmp_path / "x.npz"], "mine", manifest=tmp_path / "clips.csv")
    with pytest.raises(DataError, match="no array 'c'; choose from a, b"):
        import_files(tmp_path / "store", [tmp_path / "x.npz"], "mine", manifest=tmp_path / "clips.csv", key="c")
    import_files(tmp_path / "store", [tmp_path / "x.npz"], "mine", manifest=tmp_path / "clips.csv", key="b")
    np.testing.assert_array_equal(FeatureStore.open(tmp_path / "store").matrix("mine"), rows([2]))


NAMES = ["section_00_source_train_normal_0000_vel_6.wav", "section_01_target_test_anomaly_0003_noAttribute.wav"]


def asdkit(file, **change) -> None:
    """An extract file as ASDKit writes it: absolute paths, integer section and flags, embeddings under `embed`."""
    paths = [f"/data/formatted/dcase2023/raw/fan/{name.split('_')[3]}/{name}" for name in NAMES]
    arrays = {
        "path": np.array(paths),
        "section": np.array([0, 1]),
        "is_normal": np.array([1, 0]),
        "is_target": np.array([0, 1]),
        "embed": rows([1, 2]),
        "AS-knn": np.zeros(2),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **(arrays | change))


def test_asdkit_extracts_become_clips(tmp_path):
    asdkit(tmp_path / "fan" / "train_extract.npz")
    assert import_files(tmp_path / "store", [tmp_path / "fan"], "beats") == 2
    store = FeatureStore.open(tmp_path / "store")
    assert list(store.clips("beats")) == [
        Clip(f"fan/train/{NAMES[0]}", "fan", "00", "train", "source", "normal", {"vel": "6"}),
        Clip(f"fan/test/{NAMES[1]}", "fan", "01", "test", "target", "anomaly", {}),
    ]
    np.testing.assert_array_equal(store.matrix("beats"), rows([1, 2]))


def test_several_extracts_become_one_embedding(tmp_path):
    asdkit(tmp_path / "a_extract.npz")
    other = np.array([f"/x/pump/train/{i}.wav" for i in range(2)])
    asdkit(tmp_path / "b_extract.npz", path=other, embed_2=rows([8, 9]))
    assert import_files(tmp_path / "store", [tmp_path / "a_extract.npz", tmp_path / "b_extract.npz"], "all") == 4
    assert import_files(tmp_path / "store", [tmp_path / "b_extract.npz"], "second", key="embed_2") == 2
    asdkit(tmp_path / "c_extract.npz", embed=np.zeros((2, 5)))
    with pytest.raises(DataError, match="embeddings of different shapes"):
        import_files(tmp_path / "store", [tmp_path], "mixed")
    with pytest.raises(DataError, match=r"no \*_extract\.npz or .* below .*, and no hoplite\.sqlite; name the files"):
        import_files(tmp_path / "store", [tmp_path / "store"], "none")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": np.array(["a.wav", "b.wav"])}, "ends in machine/split/name in row 0, got 'a.wav'"),
        ({"section": np.array([0.5, 1])}, "section is float64, expected integers"),
        ({"is_normal": np.array([1])}, "2 embeddings, but ASDKit columns of"),
        ({"embed": np.array(["a", "b"])}, "expected numbers"),
        ({"embed": np.array([1.0, 2.0])}, r"expected numbers of shape \(n, d\)"),
    ],
)
def test_malformed_extracts_are_errors(tmp_path, change, message):
    asdkit(tmp_path / "x_extract.npz", **change)
    with pytest.raises(DataError, match=message):
        import_files(tmp_path / "store", [tmp_path / "x_extract.npz"], "mine")
    assert not (tmp_path / "store").exists()


class Boom:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


def test_pickles_are_refused_with_what_to_do(tmp_path):
    objects = np.array([Boom()], dtype=object)
    np.save(tmp_path / "x.npy", objects)
    np.savez(tmp_path / "x_extract.npz", embed=objects)
    write_manifest(tmp_path / "clips.csv", [1])
    for file, manifest in (("x.npy", tmp_path / "clips.csv"), ("x_extract.npz", None)):
        with pytest.raises(DataError, match=f"{file}: pickled Python objects.*np.savez"):
            import_files(tmp_path / "store", [tmp_path / file], "mine", manifest=manifest)


def test_an_array_larger_than_its_file_is_refused(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 4)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("embed.npy", header.getvalue())
    (tmp_path / "x.npy").write_bytes(header.getvalue())
    write_manifest(tmp_path / "clips.csv", [1])
    for name in ("x.npz", "x.npy"):
        with pytest.raises(DataError, match=name):
            import_files(tmp_path / "store", [tmp_path / name], "mine", manifest=tmp_path / "clips.csv")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"plain text"])
def test_files_without_arrays_are_errors(tmp_path, content):
    for name in ("x.npz", "x.npy"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            import_files(tmp_path / "store", [tmp_path / name], "mine", manifest=tmp_path / "clips.csv")


def test_an_array_without_description_asks_for_a_manifest(tmp_path):
    np.savez(tmp_path / "x.npz", embed=rows([1]))
    with pytest.raises(
        DataError, match=r"no description of its rows: expected a column of paths .* or give --manifest"
    ):
        import_files(tmp_path / "store", [tmp_path / "x.npz"], "mine")


def test_attributes_of_an_export_are_json(store, tmp_path):
    export(store, "twfr", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as arrays:
        assert json.loads(str(arrays["attributes"][0])) == {"speed": "5"}


def test_exports_state_the_times_of_windows(tmp_path):
    pytest.importorskip("pyarrow")
    from pyarrow.parquet import read_table

    clips = [Clip(path, "fan", "00", "train") for path in ("a.wav", "a.wav#t=2.5,12.5")]
    store = make_store(tmp_path / "store", replace(shard([1, 2]), clips=ClipTable.from_clips(clips)))
    for to in ("npz", "csv", "parquet"):
        export(store, "twfr", tmp_path / f"out.{to}", to=to)
    with np.load(tmp_path / "out.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["start_s"], [np.nan, 2.5])
        np.testing.assert_array_equal(arrays["end_s"], [np.nan, 12.5])
    lines = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert [(line["start_s"], line["end_s"]) for line in lines] == [("", ""), ("2.5", "12.5")]
    table = read_table(tmp_path / "out.parquet")
    assert (table["start_s"].to_pylist(), table["end_s"].to_pylist()) == ([None, 2.5], [None, 12.5])
    assert import_files(tmp_path / "again", [tmp_path / "out.npz"], "twfr") == 2
    assert list(FeatureStore.open(tmp_path / "again").clips("twfr")) == clips


def test_a_manifest_names_windows_of_an_array(tmp_path):
    (tmp_path / "rows.csv").write_text("path,start_s,end_s\na.wav,5,15\na.wav,0,10\n")
    np.save(tmp_path / "rows.npy", np.eye(2, 3, dtype=np.float32))
    assert import_files(tmp_path / "store", [tmp_path / "rows.npy"], "x", manifest=tmp_path / "rows.csv") == 2
    assert FeatureStore.open(tmp_path / "store").clips("x").keys() == ["a.wav#t=5,15", "a.wav#t=0,10"]

"""Files of named arrays: npy, npz, safetensors and pt, which one is taken, and what describes its rows."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featstore.clip import Clip
from featstore.errors import DataError

pytestmark = pytest.mark.usefixtures("unsynced")
torch = pytest.importorskip("torch")

X = np.arange(6, dtype=np.float32).reshape(2, 3) / 4
PATHS = np.array(["fan/a.wav", "fan/b.wav"])


def saved(path: Path, arrays: Mapping[str, Any]) -> Path:
    """The arrays in the format of the suffix; in .npy and plain .pt files the only one."""
    if path.suffix == ".npy":
        np.save(path, *arrays.values())
    elif path.suffix == ".npz":
        np.savez_compressed(path, **arrays)
    elif path.suffix == ".safetensors":
        from safetensors.numpy import save_file

        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    else:
        plain = {
            name: array.tolist() if array.dtype.kind == "U" else torch.tensor(array) for name, array in arrays.items()
        }
        torch.save(plain, path)
    return path


SUFFIXES = [".npz", ".safetensors", ".pt", ".pth"]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int16", "int64", "uint8"])
@pytest.mark.parametrize("suffix", [".npy", *SUFFIXES])
def test_numbers_of_every_kind_with_a_manifest(tmp_path, importing, manifest, suffix, dtype):
    values = (X * 4).astype(dtype)
    store = importing(saved(tmp_path / f"x{suffix}", {"x": values}), manifest=manifest)
    np.testing.assert_array_equal(store.matrix("e"), values.astype(np.float32))
    assert store.info("e").dtype == ("float16" if dtype == "float16" else "float32")
    assert [clip.path for clip in store.clips("e")] == ["a.wav", "b.wav"]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", ">f8", "<f2"])
def test_npy_in_any_order_of_bytes_and_axes(tmp_path, importing, manifest, order, dtype):
    values = np.array(np.stack([X, X + 1]), dtype=dtype, order=order)
    np.save(tmp_path / "x.npy", values)
    store = importing(tmp_path / "x.npy", manifest=manifest)
    np.testing.assert_array_equal(store.matrix("e"), np.stack([X, X + 1]))


@pytest.mark.parametrize("suffix", [".npz", ".pt"])
def test_texts_beside_the_array_describe_its_rows(tmp_path, importing, suffix):
    arrays = {
        "embeddings": X,
        "file_name": PATHS,
        "machine": np.array(["fan", "fan"]),
        "section": np.array([1, 2]),
        "anomaly": np.array([0, 1]),
        "attr_load": np.array(["6", "12"]),
        "start": np.array([0.0, 2.5]),
        "end": np.array([2.5, 5.0]),
        "species": np.array(["x", "y"]),
    }
    store = importing(saved(tmp_path / f"x{suffix}", arrays))
    assert list(store.clips("e")) == [
        Clip("fan/a.wav#t=0,2.5", "fan", "01", "train", label="normal", attributes={"load": "6"}),
        Clip("fan/b.wav#t=2.5,5", "fan", "02", "test", label="anomaly", attributes={"load": "12"}),
    ]
    np.testing.assert_array_equal(store.matrix("e"), X)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
def test_one_vector_per_recording_under_its_name(tmp_path, importing, suffix):
    store = importing(saved(tmp_path / f"x{suffix}", {"fan/a.wav": X[0], "fan/b.flac": X[1]}))
    rows = dict(zip(store.clips("e").keys(), store.matrix("e").tolist(), strict=True))
    assert rows == {"fan/a.wav": X[0].tolist(), "fan/b.flac": X[1].tolist()}


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
def test_vectors_of_recordings_have_one_length(tmp_path, importing, suffix):
    path = saved(tmp_path / f"x{suffix}", {"fan/a.wav": X[0], "fan/b.wav": X[1, :2]})
    with pytest.raises(DataError, match=r"expected vectors of one length, got fan/a.wav \[3\], fan/b.wav \[2\]"):
        importing(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_of_several_arrays_the_key_names_one(tmp_path, importing, manifest, suffix):
    path = saved(tmp_path / f"x{suffix}", {"a": X, "b": X + 1, "c": X[0]})
    with pytest.raises(DataError, match=r"arrays a, b; name the one with the embeddings \(--key\)"):
        importing(path, manifest=manifest)
    with pytest.raises(DataError, match="no array 'd'; choose from a, b, c"):
        importing(path, manifest=manifest, key="d")
    with pytest.raises(DataError, match=r"c: expected numbers of shape \(n, d\) or \(n, views, d\), got float32 of"):
        importing(path, manifest=manifest, key="c")
    np.testing.assert_array_equal(importing(path, manifest=manifest, key="b").matrix("e"), X + 1)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_arrays_without_paths_ask_for_a_manifest(tmp_path, importing, suffix):
    with pytest.raises(DataError, match=r"no description of its rows: expected a column of paths .* --manifest"):
        importing(saved(tmp_path / f"x{suffix}", {"a": X, "score": X[0]}))


def test_other_arrays_are_not_read(tmp_path, importing):
    np.savez(tmp_path / "x.npz", e=X, path=PATHS, thing=np.array([{}], dtype=object))
    assert importing(tmp_path / "x.npz").rows("e") == 2


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"e": X, "path": PATHS[:1]}, r"2 embeddings, but columns of other lengths: \{'path': 1\}"),
        (
            {"e": X, "clip": PATHS, "recording": PATHS},
            "columns clip, recording could all be path; rename one of them to path",
        ),
        (
            {"e": X, "path": PATHS, "label": np.array([0, 1])},
            "row 1, column label: .* got '0'; name the column anomaly",
        ),
        ({"e": X, "path": PATHS, "split": np.array(["dev", "dev"])}, "row 1, column split: expected train, test"),
        ({"e": X, "path": PATHS, "start": X[:, 0]}, "column end_s: empty|column start_s: expected|columns"),
        ({"e": X, "path": np.array(["", "a.wav"])}, "row 1, column path: expected the path of a recording, got ''"),
        ({"e": X, "path": np.array(["../a.wav", "b.wav"])}, r"row 1, column path: '../a.wav' contains '\.\.'"),
        ({"e": X, "path": np.array(["/d/a.wav", "b.wav"])}, "row 1: '/d/a.wav' is absolute and not below .*--root"),
        ({"e": X, "path": np.array(["a.wav", "a.wav"])}, "'a.wav' stands in 2 rows, first in 1 and 2"),
        ({"e": X, "path": np.array(["a.wav::", "b.wav"])}, "ends in '::'"),
        (
            {"e": np.array([[1, np.nan], [1, 1]]), "path": PATHS},
            r"1 row with numbers that are not finite .* row 1 \('fan",
        ),
        ({"e": np.array([[1, 1], [1, 1e300]]), "path": PATHS}, "not finite"),
        ({"e": X[:0], "path": PATHS[:0]}, "expected numbers of shape"),
        ({"path": PATHS, "s": X[0]}, r"expected one array of numbers .* got path \[2\] of text, s \[3\]"),
    ],
    ids=range(14),
)
def test_every_mismatch_is_named(tmp_path, importing, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(DataError, match=message):
        importing(tmp_path / "x.npz")
    assert not (tmp_path / "store").exists()


def test_keys_of_this_program_name_windows_and_variants(tmp_path, importing):
    np.savez(tmp_path / "x.npz", e=X, key=np.array(["fan/a.wav#t=2.5,5", "fan/a.wav::squeal-10-1"]))
    assert list(importing(tmp_path / "x.npz").clips("e")) == [
        Clip("fan/a.wav#t=2.5,5", "fan", "00", "train"),
        Clip("fan/a.wav", "fan", "00", "train", variant="squeal-10-1"),
    ]


def test_a_window_in_the_path_and_other_times_disagree(tmp_path, importing):
    arrays = {
        "e": X,
        "path": np.array(["a.wav#t=0,5", "a.wav#t=5,10"]),
        "start_s": np.array([0, 4]),
        "end_s": np.array([5, 10]),
    }
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(DataError, match=r"row 2: 'a\.wav#t=5,10' names a window, but start and end are 4 and 10"):
        importing(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", **{**arrays, "start_s": np.array([0, 5])})
    assert importing(tmp_path / "x.npz").clips("e").keys() == ["a.wav#t=0,5", "a.wav#t=5,10"]


@pytest.mark.parametrize(
    ("root", "paths"),
    [("/data/raw", ["/data/raw/fan/a.wav", "fan/b.wav"]), ("C:/data", [r"C:\data\fan\a.wav", "C:/data/fan/b.wav"])],
)
def test_the_root_is_cut_off_absolute_paths(tmp_path, importing, root, paths):
    np.savez(tmp_path / "x.npz", e=X, path=np.array(paths))
    store = importing(tmp_path / "x.npz", root=Path(root))
    assert store.clips("e").keys() == ["fan/a.wav", "fan/b.wav"]


def test_a_manifest_of_recordings_describes_their_windows(tmp_path, importing, manifest):
    np.savez(tmp_path / "x.npz", e=np.vstack([X, X[:1]]), path=np.array(["b.wav#t=0,1", "a.wav", "b.wav#t=1,2"]))
    assert list(importing(tmp_path / "x.npz", manifest=manifest).clips("e")) == [
        Clip("b.wav#t=0,1", "fan", "01", "test", label="anomaly"),
        Clip("a.wav", "fan", "01", "train", label="normal"),
        Clip("b.wav#t=1,2", "fan", "01", "test", label="anomaly"),
    ]
    np.savez(tmp_path / "x.npz", e=X, path=np.array(["a.wav", "c.wav"]))
    with pytest.raises(DataError, match=r"1 recording not in the manifest, first 'c.wav'"):
        importing(tmp_path / "x.npz", manifest=manifest)


def test_brain_floats(tmp_path, importing, manifest):
    from safetensors.torch import save_file

    tensors = {"other": torch.ones(3), "x": torch.tensor(X * 4).to(torch.bfloat16)}
    save_file(tensors, tmp_path / "x.safetensors")
    torch.save(tensors["x"], tmp_path / "x.pt")
    for name in ("x.safetensors", "x.pt"):
        np.testing.assert_array_equal(importing(tmp_path / name, manifest=manifest).matrix("e"), X * 4)


def bomb(path: Path, shape: tuple[int, ...]) -> Path:
    """An .npz of zeros, compressed a thousandfold."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    zeros = bytes(1 << 20)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w", force_zip64=True) as file,
    ):
        file.write(header.getvalue())
        for _ in range(4 * int(np.prod(shape)) // len(zeros)):
            file.write(zeros)
    return path


def test_a_zip_bomb_is_refused(tmp_path, importing, manifest, monkeypatch):
    from featstore.exchange.kinds import content

    monkeypatch.setattr(content, "FREE_BYTES", 1 << 20)
    path = bomb(tmp_path / "x.npz", (1 << 10, 1 << 12))
    with pytest.raises(DataError, match=r"declares 16,777,344 bytes in a file of [0-9,]+; more than 100 times"):
        importing(path, manifest=manifest)


def test_a_shape_beyond_all_numbers_is_refused(tmp_path, importing, manifest):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 62, 1 << 62)})
    (tmp_path / "x.npy").write_bytes(header.getvalue())
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue())
    for name in ("x.npy", "x.npz"):
        with pytest.raises(DataError, match=name):
            importing(tmp_path / name, manifest=manifest)


def test_two_members_of_one_name_are_refused(tmp_path, importing, manifest):
    content = io.BytesIO()
    np.save(content, X)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", content.getvalue())
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("x.npy", content.getvalue())
    with pytest.raises(DataError, match="two of its arrays have the same name"):
        importing(tmp_path / "x.npz", manifest=manifest)


class Boom:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


def test_objects_in_files_of_torch_are_not_run(tmp_path, importing, manifest):
    torch.save({"x": Boom()}, tmp_path / "x.pt")
    with pytest.raises(DataError, match="contains other objects than tensors and plain values"):
        importing(tmp_path / "x.pt", manifest=manifest)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(1).expand(1 << 20, 1 << 20), r"declares 4,398,046,511,104 bytes"),
        (torch.zeros(2, 3).to_sparse(), "expected a tensor, or a dict of tensors and lists, got Tensor"),
        (torch.zeros(2, 3, dtype=torch.complex64), "expected a tensor, or a dict"),
        (torch.zeros(2, 3, device="meta"), "expected a tensor, or a dict"),
        ({"a": {"b": torch.zeros(2, 3)}}, "expected a tensor, or a dict of tensors and lists, got dict"),
        (3, "expected a tensor, or a dict of tensors and lists, got int"),
        (torch.zeros(3), "expected numbers of shape"),
    ],
    ids=["expanded", "sparse", "complex", "meta", "nested", "number", "vector"],
)
def test_tensors_that_are_no_rows(tmp_path, importing, manifest, value, message):
    torch.save(value, tmp_path / "x.pt")
    with pytest.raises(DataError, match=message):
        importing(tmp_path / "x.pt", manifest=manifest)


def test_a_file_of_torch_whose_zip_expands_is_refused(tmp_path, importing, manifest, monkeypatch):
    from featstore.exchange.kinds import content

    monkeypatch.setattr(content, "FREE_BYTES", 1 << 20)
    torch.save(torch.zeros(1 << 22, 1), tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for member in plain.infolist():
            packed.writestr(member.filename, plain.read(member))
    with pytest.raises(DataError, match="more than 100 times its size"):
        importing(tmp_path / "x.pt", manifest=manifest)


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.safetensors", "x.pt"])
@pytest.mark.parametrize("content", [b"", b"\0" * 200, b"PK\x03\x04 torn", b"<html>no</html>", b"\xff" * 16 + b"{}"])
def test_damaged_files_are_errors_of_one_line(tmp_path, importing, manifest, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name) as caught:
        importing(tmp_path / name, manifest=manifest)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
def test_files_cut_short_are_errors(tmp_path, importing, manifest, suffix):
    path = saved(tmp_path / f"x{suffix}", {"x": np.random.default_rng(0).normal(size=(2, 500)).astype(np.float32)})
    content = path.read_bytes()
    for size in range(1, len(content), 97):
        path.write_bytes(content[:size])
        with pytest.raises(DataError, match=path.name):
            importing(path, manifest=manifest)


@pytest.mark.parametrize(
    ("root", "paths"),
    [
        ("/d", ["file:///d/fan/a.wav", "file://localhost/d/fan/b.wav"]),
        ("/d d", ["file:///d%20d/fan/a.wav", "file:/d%20d/fan/b.wav"]),
        ("s3://bucket/x", ["s3://bucket/x/fan/a.wav", "s3://bucket/x/fan/b.wav"]),
        ("c:\\plant", ["C:\\plant\\fan\\a.wav", "c:/plant/fan/b.wav"]),
    ],
)
def test_the_root_is_cut_off_addresses_and_drives(tmp_path, importing, root, paths):
    path = saved(tmp_path / "x.npz", {"e": X, "path": np.array(paths)})
    with pytest.raises(DataError, match="is absolute and not below"):
        importing(path)
    assert importing(path, root=Path(root)).clips("e").keys() == list(PATHS)


def test_relative_paths_of_windows_get_slashes(tmp_path, importing):
    path = saved(tmp_path / "x.npz", {"e": X, "path": np.array(["fan\\a.wav", "fan\\b.wav"])})
    (clip, _) = importing(path).clips("e")
    assert (clip.path, clip.machine) == ("fan/a.wav", "fan")


def test_a_manifest_with_backslashes_describes_the_same_recordings(tmp_path, importing):
    path = saved(tmp_path / "x.npz", {"e": X, "path": np.array(["fan\\a.wav", "fan/b.wav"])})
    (tmp_path / "m.csv").write_text("path,machine\nfan\\a.wav,ventilator\nfan\\b.wav,ventilator\n")
    assert importing(path, manifest=tmp_path / "m.csv").clips("e").where(machine="ventilator").all()


def test_plurals_describe_rows_and_other_arrays_are_named(tmp_path, importing):
    arrays = {"e": X, "paths": PATHS, "labels": np.array(["normal", "anomaly"]), "key": PATHS, "logits": X[:, 0]}
    said: list[str] = []
    store = importing(saved(tmp_path / "x.npz", arrays), say=said.append)
    assert [clip.label for clip in store.clips("e")] == ["normal", "anomaly"]
    assert said == [f"{tmp_path / 'x.npz'}: embeddings of 'e' [2, 3]; columns not used: logits, paths"]


def test_numbers_that_numpy_lacks_are_named(tmp_path, importing, manifest):
    from safetensors.torch import save_file

    save_file({"e": torch.ones(2, 3).to(torch.float8_e4m3fn)}, tmp_path / "x.safetensors")
    with pytest.raises(DataError, match="e has numbers of type F8_E4M3; expected one of F64"):
        importing(tmp_path / "x.safetensors", manifest=manifest)

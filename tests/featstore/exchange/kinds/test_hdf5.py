"""HDF5 files: one data set with the embeddings, and nothing outside the file."""

import h5py
import numpy as np
import pytest

from featstore.clip import Clip
from featstore.errors import DataError
from featstore.exchange.kinds import content, hdf5

pytestmark = pytest.mark.usefixtures("unsynced")
X = np.arange(6, dtype=np.float32).reshape(2, 3) / 4
PATHS = ["fan/a.wav", "fan/b.wav"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.h5"


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8", "i2", "u1"])
@pytest.mark.parametrize(
    "options", [{}, {"chunks": (1, 2)}, {"compression": "gzip", "shuffle": True}, {"compression": "lzf"}]
)
def test_numbers_in_any_storage_of_h5py(path, importing, manifest, dtype, options):
    with h5py.File(path, "w") as file:
        file.create_dataset("deep/er/x", data=(X * 4).astype(dtype), **options)
        file.attrs["note"] = "attributes are not read"
    np.testing.assert_array_equal(importing(path, manifest=manifest).matrix("e"), X * 4)


@pytest.mark.parametrize("texts", [PATHS, np.array(PATHS, dtype="S")], ids=["variable", "fixed"])
def test_texts_of_the_same_group_describe_the_rows(path, importing, texts):
    with h5py.File(path, "w") as file:
        file["run/embeddings"] = X
        file["run/filename"] = texts
        file["run/section"] = [3, 4]
        file["run/is_anomaly"] = [0, 1]
        file["other/machine"] = [b"x"]
    assert list(importing(path).clips("e")) == [
        Clip("fan/a.wav", "fan", "03", "train", label="normal"),
        Clip("fan/b.wav", "fan", "04", "test", label="anomaly"),
    ]


def test_the_key_is_a_path_inside(path, importing, manifest):
    with h5py.File(path, "w") as file:
        file["a/x"], file["b/x"] = X, X + 1
    with pytest.raises(DataError, match=r"arrays .*a/x.*; name the one"):
        importing(path, manifest=manifest)
    with pytest.raises(DataError, match="no array 'x'; choose from"):
        importing(path, manifest=manifest, key="x")
    np.testing.assert_array_equal(importing(path, manifest=manifest, key="/b/x").matrix("e"), X + 1)


def outside(tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = X
    (tmp_path / "secret.bin").write_bytes(X.tobytes())


def soft(file, tmp_path):
    file["y"] = X[0]
    file["x"] = h5py.SoftLink("/y")


def external(file, tmp_path):
    file["x"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/x")


def virtual(file, tmp_path):
    layout = h5py.VirtualLayout(shape=X.shape, dtype="f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "x", shape=X.shape)
    file.create_virtual_dataset("x", layout)


def stored_elsewhere(file, tmp_path):
    file.create_dataset("x", X.shape, "f4", external=[(str(tmp_path / "secret.bin"), 0, X.nbytes)])


def never_written(file, tmp_path):
    file.create_dataset("x", (2, 3), "f4")


def partly_written(file, tmp_path):
    file.create_dataset("x", (4, 3), "f4", chunks=(1, 3))[:2] = X


def huge(file, tmp_path):
    file.create_dataset("x", (1 << 40, 1 << 20), "f4", chunks=(1, 1 << 10))


def huge_chunk(file, tmp_path):
    file.create_dataset("x", (1 << 13, 1 << 13), "f4", chunks=(1 << 13, 1 << 13), compression="gzip")[0, 0] = 1


def plugin(file, tmp_path):
    file.create_dataset("x", data=X, chunks=X.shape, scaleoffset=2)


def compound(file, tmp_path):
    file["x"] = np.zeros((2, 3), dtype=[("a", "f4")])


def references(file, tmp_path):
    file["y"] = X[0]
    file.create_dataset("x", (2, 3), h5py.ref_dtype)[:] = file["y"].ref


def objects(file, tmp_path):
    file.create_dataset("x", (2, 3), h5py.vlen_dtype("u1"))


def text(file, tmp_path):
    file["x"] = "scalar"


HOSTILE = {
    soft: r"x is a soft or external link",
    external: r"x is a soft or external link",
    virtual: r"x: its values are in other files",
    stored_elsewhere: r"x: its values are in other files",
    never_written: r"declares 24 bytes, stores 0; it was not written",
    partly_written: r"2 of its 4 chunks were not written",
    huge: r"declares [0-9,]+ bytes in a file of",
    huge_chunk: r"declares 268,435,456 bytes in a file of",
    plugin: r"x: HDF5 filter 6 is not read; save it without, or with gzip",
    compound: r"x: expected numbers or text",
    references: r"x: expected numbers or text",
    objects: r"x: expected numbers or text",
    text: r"x: expected numbers or text",
}


@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__)
@pytest.mark.parametrize("key", ["x", None])
def test_nothing_outside_the_file_is_read_and_nothing_huge_is_allocated(
    path, tmp_path, importing, manifest, make, key, monkeypatch
):
    monkeypatch.setattr(content, "FREE_BYTES", 1 << 27)
    outside(tmp_path)
    with h5py.File(path, "w") as file:
        make(file, tmp_path)
    with pytest.raises(DataError, match=HOSTILE[make] if key else "x.h5: "):
        importing(path, manifest=manifest, key=key)
    assert not (tmp_path / "store").exists()


def test_a_link_on_the_way_is_not_followed(path, tmp_path, importing, manifest):
    outside(tmp_path)
    with h5py.File(path, "w") as file:
        file["group"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/")
    with pytest.raises(DataError, match="group is a soft or external link, which is not followed"):
        importing(path, manifest=manifest, key="group/x")


def test_links_beside_the_data_set_are_not_followed(path, tmp_path, importing, manifest):
    outside(tmp_path)
    with h5py.File(path, "w") as file:
        file["x"] = X
        file["path"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/x")
        file["loop"] = file["/"]
        file["again"] = file["x"]
    assert importing(path, manifest=manifest).rows("e") == 2


def test_texts_that_repeat_one_large_object_are_refused(path, importing, monkeypatch):
    with h5py.File(path, "w") as file:
        file["x"] = X
        file.create_dataset("path", (2,), h5py.string_dtype())[:] = ["a" * 70_000, "b"]
    for free in (1 << 30, 1):
        monkeypatch.setattr(hdf5, "FREE_BYTES", free)
        with pytest.raises(DataError, match="path: a text of 70,000 bytes; at most 65,536"):
            importing(path)


def test_many_objects_are_refused(path, importing, manifest, monkeypatch):
    monkeypatch.setattr(hdf5, "MAX_OBJECTS", 5)
    with h5py.File(path, "w") as file:
        for i in range(6):
            file.create_group(f"g{i}")
    with pytest.raises(DataError, match="more than 5 groups and data sets"):
        importing(path, manifest=manifest)


def test_a_file_without_numbers_lists_what_it_has(path, importing, manifest):
    with h5py.File(path, "w") as file:
        file["a"], file["b"] = X[0], X[0]
    with pytest.raises(DataError, match=r"expected one array of numbers of shape .* got .*a \[3\]"):
        importing(path, manifest=manifest)


def test_damaged_files_are_errors(path, importing, manifest):
    with h5py.File(path, "w") as file:
        file["x"] = np.random.default_rng(0).normal(size=(20, 30))
    content = path.read_bytes()
    damages = [b"", b"text", *(content[:size] for size in range(100, len(content), 700))]
    damages += [content[:at] + b"\xff" * 8 + content[at + 8 :] for at in range(0, 1600, 97)]
    outcomes = set()
    for damaged in damages:
        path.write_bytes(damaged)
        try:
            importing(path, manifest=manifest)
        except DataError as error:
            outcomes.add("\n" not in str(error))
    assert outcomes == {True}


def test_truth_values_state_labels(path, importing):
    with h5py.File(path, "w") as file:
        file["e"], file["path"], file["anomaly"] = np.ones((2, 3)), ["a.wav", "b.wav"], np.array([False, True])
    assert [clip.label for clip in importing(path).clips("e")] == ["normal", "anomaly"]

"""Malicious files are rejected by name, before large memory is allocated or another file is read."""

import hashlib
import io
import json
import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from sample_store import content, make_store, path_of, shard

from featstore.disk.newest import find_newest
from featstore.disk.publish import publish
from featstore.disk.shard import build_image, open_image
from featstore.errors import StoreError
from featstore.store import FeatureStore, StoreWriter
from featstore.upkeep.verify import verify


def external_link(file: h5py.File) -> None:
    del file["embedding"]
    file["embedding"] = h5py.ExternalLink("/etc/hostname", "/embedding")


def soft_link(file: h5py.File) -> None:
    del file["clip/path"]
    file["clip/path"] = h5py.SoftLink("/rejected/path")


def soft_linked_group(file: h5py.File) -> None:
    file.move("clip", "other")
    file["clip"] = h5py.SoftLink("/other")


def external_storage(file: h5py.File) -> None:
    del file["embedding"]
    file.create_dataset("embedding", shape=(2, 4), dtype="f4", external=[("/etc/passwd", 0, 32)])


def virtual_dataset(file: h5py.File) -> None:
    del file["embedding"]
    layout = h5py.VirtualLayout(shape=(2, 4), dtype="f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", shape=(2, 4))
    file.create_virtual_dataset("embedding", layout)


def shape_bomb(file: h5py.File) -> None:
    del file["embedding"]
    file.create_dataset("embedding", shape=(2, 400_000_000_000), dtype="f4")


def chunked_shape_bomb(file: h5py.File) -> None:
    del file["embedding"]
    file.create_dataset("embedding", shape=(2, 400_000_000_000), dtype="f4", chunks=(1, 1024))


def text_bomb(file: h5py.File) -> None:
    del file["rejected/path"]
    file.create_dataset("rejected/path", shape=(0,), dtype="S2000000000")


def compressed(file: h5py.File) -> None:
    matrix = file["embedding"][()]
    del file["embedding"]
    file.create_dataset("embedding", data=matrix, compression="gzip")


def aliased(file: h5py.File) -> None:
    """All text columns are one large dataset, so together they declare more bytes than the file has."""
    for name in ("machine", "section"):
        del file["clip"][name]
    big = file.create_dataset("clip/machine", data=np.zeros(2, dtype="S60000"))
    file["clip/section"] = big


def object_text(file: h5py.File) -> None:
    del file["clip/path"]
    file.create_dataset("clip/path", data=["a", "b"], dtype=h5py.string_dtype())


def references(file: h5py.File) -> None:
    del file["clip/path"]
    file.create_dataset("clip/path", data=[file.ref, file.ref], dtype=h5py.ref_dtype)


def compound(file: h5py.File) -> None:
    del file["clip/path"]
    file.create_dataset("clip/path", data=np.zeros(2, dtype=[("a", "i4"), ("b", "f4")]))


def deep_nesting(file: h5py.File) -> None:
    del file["clip/path"]
    file.create_group("clip/path/" + "/".join("x" * 500))


def group_cycle(file: h5py.File) -> None:
    del file["rejected"]
    file["rejected"] = file["/"]


def extra_member(file: h5py.File) -> None:
    file.create_dataset("payload", data=np.zeros(3))


def extra_attribute(file: h5py.File) -> None:
    file.attrs["payload"] = 1


def huge_attribute(file: h5py.File) -> None:
    del file.attrs["config"]
    file.attrs.create("config", np.zeros(65000 // 8, dtype="i8"))


def object_attribute(file: h5py.File) -> None:
    del file.attrs["config"]
    file.attrs["config"] = "{}"


def attribute_on_data(file: h5py.File) -> None:
    file["embedding"].attrs["scale"] = 2.0


def missing_column(file: h5py.File) -> None:
    del file["clip/machine"]


def short_column(file: h5py.File) -> None:
    del file["clip/mtime_ns"]
    file.create_dataset("clip/mtime_ns", data=np.zeros(1, dtype="i8"))


def wrong_type(file: h5py.File) -> None:
    del file["clip/mtime_ns"]
    file.create_dataset("clip/mtime_ns", data=np.zeros(2, dtype="f4"))


def short_measures(file: h5py.File) -> None:
    file.create_dataset("clip/peak", data=np.zeros(1, dtype="f4"))


def wide_measures(file: h5py.File) -> None:
    file.create_dataset("clip/peak", data=np.zeros((2, 2), dtype="f4"))


def measures_as_whole_numbers(file: h5py.File) -> None:
    file.create_dataset("clip/peak", data=np.zeros(2, dtype="i4"))


def linked_measures(file: h5py.File) -> None:
    file["clip/peak"] = h5py.SoftLink("/clip/size_bytes")


def measures_bomb(file: h5py.File) -> None:
    file.create_dataset("clip/peak", shape=(400_000_000_000,), dtype="f4")


def group_of_measures(file: h5py.File) -> None:
    file.create_group("clip/peak")


def unknown_measures(file: h5py.File) -> None:
    file.create_dataset("clip/loudness", data=np.zeros(2, dtype="f4"))


def double_rows(file: h5py.File) -> None:
    del file["embedding"]
    file.create_dataset("embedding", data=np.zeros((2, 4)))


def scalar_embedding(file: h5py.File) -> None:
    del file["embedding"]
    file.create_dataset("embedding", data=np.float32(1))


CRAFTED = [
    external_link, soft_link, soft_linked_group, external_storage, virtual_dataset, shape_bomb, chunked_shape_bomb,
    text_bomb, compressed, aliased, object_text, references, compound, deep_nesting, group_cycle, extra_member,
    extra_attribute, huge_attribute, object_attribute, attribute_on_data, missing_column, short_column, wrong_type,
    double_rows, scalar_embedding, short_measures, wide_measures, measures_as_whole_numbers, linked_measures,
    measures_bomb, group_of_measures, unknown_measures,
]  # fmt: skip


def crafted(harm) -> bytes:
    buffer = io.BytesIO(build_image(shard([1, 2])))
    with h5py.File(buffer, "r+") as file:
        harm(file)
    return buffer.getvalue()


def plant(root: Path, image: bytes) -> None:
    """Replace the only shard by `image`, with a manifest that has its checksum."""
    manifest = find_newest(root).manifest
    entry = replace(manifest.shards[0], bytes=len(image), sha256=hashlib.sha256(image).hexdigest())
    (root / "shards" / entry.file).write_bytes(image)
    publish(root, manifest, (entry,), manifest.embeddings)


@pytest.fixture
def root(tmp_path):
    make_store(tmp_path / "store", shard([1, 2]))
    return tmp_path / "store"


@pytest.mark.parametrize("harm", CRAFTED, ids=lambda harm: harm.__name__)
def test_malicious_shards_with_a_right_checksum_are_rejected(root, harm):
    plant(root, crafted(harm))
    store = FeatureStore.open(root)
    tracemalloc.start()
    try:
        for read in (store.matrix, store.clips, store.rejected, lambda name: list(store.blocks(name, 10))):
            with pytest.raises(StoreError, match=store.manifest.shards[0].file):
                read("twfr")
        problems = verify(root)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    assert [problem.file for problem in problems] == [f"shards/{store.manifest.shards[0].file}"]


def test_the_unchanged_shard_is_accepted():
    with open_image(crafted(lambda file: None), "untouched") as opened:
        assert opened.n_rows == 2


def test_a_shard_of_another_embedding_is_rejected(root):
    other = shard([1, 2])
    plant(root, build_image(replace(other, info=replace(other.info, fingerprint="0" * 64))))
    with pytest.raises(StoreError, match="does not match its manifest"):
        FeatureStore.open(root).matrix("twfr")


def only_shard(root: Path) -> Path:
    return next((root / "shards").glob("*.h5"))


def test_a_linked_shard_is_rejected(root, tmp_path):
    path = only_shard(root)
    path.rename(tmp_path / "outside.h5")
    path.symlink_to(tmp_path / "outside.h5")
    with pytest.raises(StoreError, match="symbolic link"):
        FeatureStore.open(root).matrix("twfr")
    assert [problem.file for problem in verify(root)] == [f"shards/{path.name}"]


def test_linked_directories_are_rejected(root, tmp_path):
    (root / "shards").rename(tmp_path / "outside")
    (root / "shards").symlink_to(tmp_path / "outside")
    with pytest.raises(StoreError, match="symbolic link"):
        FeatureStore.open(root)
    with pytest.raises(StoreError, match="symbolic link"):
        StoreWriter(root)
    assert verify(root)


def newest_manifest(root: Path) -> Path:
    return max((root / "manifest").iterdir())


@pytest.mark.parametrize("place", [only_shard, newest_manifest])
def test_a_pipe_is_rejected_without_blocking(root, place):
    path = place(root)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(StoreError, match=r"not a regular file|no embedding"):
        FeatureStore.open(root).matrix("twfr")
    assert any(path.name in problem.file for problem in verify(root))


def test_a_directory_as_shard_is_rejected(root):
    path = only_shard(root)
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreError, match=path.name):
        FeatureStore.open(root).matrix("twfr")


def test_a_huge_sparse_file_is_not_read(root):
    path = only_shard(root)
    os.truncate(path, 1 << 40)
    with pytest.raises(StoreError, match=rf"{path.name} has {1 << 40} bytes"):
        FeatureStore.open(root).matrix("twfr")
    os.truncate(root / "manifest" / "00000002.json", 1 << 40)
    assert "00000002.json has" in FeatureStore.open(root).warnings[0]


def rewrite(root: Path, change) -> None:
    """Change the newest manifest and write a right checksum."""
    path = newest_manifest(root)
    raw = json.loads(path.read_bytes())
    del raw["checksum"]
    change(raw)
    canonical = json.dumps(raw, sort_keys=True, separators=(",", ":"))
    raw["checksum"] = hashlib.sha256(canonical.encode()).hexdigest()
    path.write_text(json.dumps(raw))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("file", "../../outside.h5"), ("file", "/etc/passwd"), ("file", "a/b.h5"), ("file", "A.h5"), ("file", "a.h5\n"),
        ("file", ""), ("file", 7), ("bytes", 1 << 50), ("bytes", -1), ("bytes", True), ("bytes", 1.5),
        ("rows", 1 << 40), ("surplus", 1), ("embedding", "unknown"), ("embedding", "../x"), ("dropped", {}),
        ("sha256", "f"), ("dropped", [5]), ("dropped", [1, 0]), ("dropped", [0, 0]), ("dropped", ["0"]),
        ("dropped", [2]), ("dropped", [-1]), ("cleared", [0]), ("cleared", [-1]),
    ],
)  # fmt: skip
def test_a_manifest_with_forbidden_values_is_skipped_and_named(root, field, value):
    rewrite(root, lambda raw: raw["shards"][0].update({field: value}))
    store = FeatureStore.open(root)
    assert store.manifest.number == 1
    assert "00000002.json" in store.warnings[0]
    assert [problem.file for problem in verify(root)] == ["manifest/00000002.json"]


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.update(surplus=1),
        lambda raw: raw.update(number=3),
        lambda raw: raw.update(shards=None),
        lambda raw: raw.update(embeddings=[]),
        lambda raw: raw.update(shards=[raw["shards"][0]] * 2),
        lambda raw: raw["embeddings"]["twfr"].update(shape=[0]),
        lambda raw: raw["embeddings"]["twfr"].update(shape=["4"]),
        lambda raw: raw["embeddings"]["twfr"].update(dtype="object"),
        lambda raw: raw["embeddings"]["twfr"].update(config=None),
        lambda raw: raw["embeddings"].update({"../x": raw["embeddings"]["twfr"]}),
    ],
)
def test_a_malformed_manifest_is_skipped(root, change):
    rewrite(root, change)
    assert FeatureStore.open(root).manifest.number == 1


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, '{"number": ' + "9" * 10_000 + "}", "{}"])
def test_a_file_that_is_not_a_manifest_is_skipped(root, text):
    (root / "manifest" / "00000002.json").write_text(text)
    assert FeatureStore.open(root).manifest.number == 1


def test_a_manifest_of_a_newer_version_is_not_skipped(root):
    rewrite(root, lambda raw: raw.update(version=2))
    with pytest.raises(StoreError, match="version 2; this program reads 'featstore-manifest' version 1"):
        FeatureStore.open(root)
    with pytest.raises(StoreError, match="version 2"):
        StoreWriter(root)
    assert content_is_untouched(root)


def content_is_untouched(root: Path) -> bool:
    rewrite(root, lambda raw: raw.update(version=1))
    return content(FeatureStore.open(root)) == {path_of(1): 1.0, path_of(2): 2.0}

"""Archive runs on small stores equal brute force, however the work is divided and wherever the banks are."""

import tracemalloc
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from archive_stores import D, add, check, clips, content, expected, results

pytest.importorskip("pyarrow")

from ensemble.archive import banks as archive_banks
from ensemble.archive import run as archive_module
from ensemble.archive.parts import Top
from ensemble.archive.run import ArchiveJob, ArchiveRun, Resources
from featstore.errors import DataError, RequestError, ResourceError, StoreError
from featstore.store import StoreWriter

pytestmark = pytest.mark.usefixtures("unsynced")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank of 300 clips and an archive of 210, in shards of 40."""
    root, rng = tmp_path_factory.mktemp("stores"), np.random.default_rng(1)
    X = rng.normal(size=(510, D)).astype(np.float32)
    X[400:410] = X[:10]
    np.save(root / "X.npy", X)
    add(root / "bank", clips(300, "bank"), X[:300], hashes="h")
    add(root / "archive", clips(210, "archive", split="test", label=""), X[300:], hashes="h")
    return root


def run(reference: Path, archive: Path, out: Path, *, memory: int = 1 << 30, threads: int = 1, **job) -> ArchiveRun:
    out.mkdir(parents=True, exist_ok=True)
    archive_run = ArchiveRun(ArchiveJob(str(reference), str(archive), **job), Resources(memory, threads))
    archive_run.score(archive_run.units, out)
    return archive_run


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("per", [("machine", "section"), ("machine",), ()])
def test_results_are_those_of_brute_force(stores, tmp_path, k, per):
    X = np.load(stores / "X.npy")
    run(stores / "bank", stores / "archive", tmp_path, k=k, per=per)
    archive = clips(210, "archive")
    check(results(tmp_path), expected(clips(300, "bank"), X[:300], archive, X[300:], k, per))


def least_memory(reference: Path, archive: Path, **job) -> int:
    """Little more than the smallest memory that a run can use."""
    for memory in (int(2e5 * 1.04**i) for i in range(100)):
        with suppress(ResourceError):
            ArchiveRun(ArchiveJob(str(reference), str(archive), **job), Resources(memory)).banks()
            return memory
    raise AssertionError("no memory is enough")


def test_memory_threads_and_units_change_no_bit(stores, tmp_path, monkeypatch):
    rng = np.random.default_rng(2)
    rows = clips(3000, "bank")
    add(tmp_path / "bank", rows, rng.integers(-2, 3, size=(3000, D)) + np.float32(0.25), per_shard=100)
    whole = run(tmp_path / "bank", stores / "archive", tmp_path / "whole", k=2)
    assert whole.banks().resident
    assert len(whole.units) == 1
    monkeypatch.setattr(archive_module, "UNIT_ROWS", 50)
    monkeypatch.setattr(archive_banks, "PIECE_ROWS", 400)
    least = least_memory(tmp_path / "bank", stores / "archive", k=2)
    pieces = run(tmp_path / "bank", stores / "archive", tmp_path / "pieces", k=2, memory=least, threads=2)
    assert not pieces.banks().resident
    assert len(list(pieces.banks().chunks())) == 8
    assert len(pieces.units) == 3
    assert content(tmp_path / "pieces") == content(tmp_path / "whole")
    of = archive_banks.bank_of
    monkeypatch.setattr(archive_banks, "bank_of", lambda rows, ids, coded: of(rows, ids, coded=False))
    for coded in (True, False):
        monkeypatch.setattr(archive_banks, "bank_of", lambda rows, ids, coded, flag=coded: of(rows, ids, coded=flag))
        run(tmp_path / "bank", stores / "archive", tmp_path / f"{coded}", k=2, threads=3)
        assert content(tmp_path / f"{coded}") == content(tmp_path / "whole")


def test_a_self_join_finds_copies_but_no_clip_itself(tmp_path, rng):
    X = rng.normal(size=(90, D)).astype(np.float32)
    X[60:64] = X[20:24]
    every = clips(90, "all", split="test", label="anomaly", parts=1)
    store = add(tmp_path / "store", every, X)
    with pytest.raises(DataError, match=r"no training clips of x .* --bank all"):
        run(store, store, tmp_path / "none")
    run(store, store, tmp_path / "out", bank="all", k=2)
    rows = results(tmp_path / "out")
    check(rows, expected(every, X, every, X, 2))
    assert all(row["clip"] not in (row["neighbour_1"], row["neighbour_2"]) for row in rows)
    assert [(row["neighbour_1"], row["distance_1"]) for row in rows[60:64]] == [
        (f"all/{i:05d}.wav", 0) for i in range(20, 24)
    ]


@pytest.mark.parametrize(("hashes", "excluded"), [("h", True), ("other", False), ("", True)])
def test_only_the_same_recording_is_excluded(tmp_path, rng, hashes, excluded):
    """The same path with another content is another recording; where a content is unknown, the path decides."""
    X = rng.normal(size=(40, D)).astype(np.float32)
    bank = add(tmp_path / "bank", clips(40, "same", parts=1), X, hashes="h")
    archive = add(tmp_path / "archive", clips(40, "same", parts=1), X, hashes=hashes)
    run(bank, archive, tmp_path / "out")
    rows = results(tmp_path / "out")
    assert all((row["clip"] == row["neighbour_1"]) != excluded for row in rows)
    assert all((row["score"] == 0) != excluded for row in rows)


def test_banks_hold_only_normal_training_clips_and_generated_anomalies_are_not_scored(tmp_path, rng):
    normal = clips(20, "normal", parts=1)
    others = [replace(clip, path=f"v/{clip.path}", variant="clipping=1") for clip in normal]
    others += clips(20, "test", split="test", parts=1) + clips(20, "odd", label="anomaly", parts=1)
    X = rng.normal(size=(80, D)).astype(np.float32)
    store = add(tmp_path / "store", [*normal, *others], X, per_shard=20)  # one shard holds nothing but variants
    run(store, store, tmp_path / "out")
    rows = results(tmp_path / "out")
    assert len(rows) == 60
    assert {row["neighbour_1"].split("/")[0] for row in rows} == {"normal"}
    run(store, store, tmp_path / "all", bank="all")
    assert {row["neighbour_1"].split("/")[0] for row in results(tmp_path / "all")} == {"normal", "test", "odd"}


def test_a_unit_of_generated_anomalies_only_is_an_empty_file(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(archive_module, "UNIT_ROWS", 20)
    normal = clips(20, "normal", parts=1)
    variants = [replace(clip, variant="clipping=1") for clip in normal]
    store = add(tmp_path / "store", [*normal, *variants], rng.normal(size=(40, D)).astype(np.float32), per_shard=20)
    archive_run = run(store, store, tmp_path / "out")
    assert len(archive_run.units) == 2
    assert len(results(tmp_path / "out")) == 20


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_view_is_searched_alone_and_without_one_all_are_joined(tmp_path, rng, dtype):
    X = rng.normal(size=(50, 3, D)).astype(dtype)
    info = {"shape": (3, D), "views": ("a", "b", "c"), "dtype": dtype}
    bank, archive = clips(30, "bank", parts=1), clips(20, "archive", parts=1)
    add(tmp_path / "bank", bank, X[:30], **info)
    add(tmp_path / "archive", archive, X[30:], **info)
    run(tmp_path / "bank", tmp_path / "archive", tmp_path / "b", embedding="x@b")
    check(results(tmp_path / "b"), expected(bank, X[:30, 1], archive, X[30:, 1], 1))
    run(tmp_path / "bank", tmp_path / "archive", tmp_path / "joined", embedding="x")
    check(results(tmp_path / "joined"), expected(bank, X[:30].reshape(30, -1), archive, X[30:].reshape(20, -1), 1))
    with pytest.raises(RequestError, match="x has no view 'd'; its views: a, b, c"):
        run(tmp_path / "bank", tmp_path / "archive", tmp_path / "none", embedding="x@d")


def test_float16_and_float32_stores_of_one_embedder_can_be_compared(tmp_path, rng):
    X = rng.normal(size=(50, D)).astype(np.float16)
    bank, archive = clips(30, "bank", parts=1), clips(20, "archive", parts=1)
    add(tmp_path / "bank", bank, X[:30].astype(np.float32))
    add(tmp_path / "archive", archive, X[30:], dtype="float16")
    run(tmp_path / "bank", tmp_path / "archive", tmp_path / "out")
    check(results(tmp_path / "out"), expected(bank, X[:30], archive, X[30:], 1))


@pytest.mark.parametrize("other", [{"fingerprint": "e" * 64}, {"shape": (2, 3), "views": ("a", "b")}])
def test_embeddings_of_two_embedders_are_refused(stores, tmp_path, other):
    shape = other.get("shape", (D,))
    add(tmp_path / "other", clips(5, "other"), np.ones((5, *shape), np.float32), **other)
    with pytest.raises(RequestError, match="build both stores with the same embedder"):
        run(stores / "bank", tmp_path / "other", tmp_path / "out")


def test_groups_without_a_bank_of_more_than_k_rows_have_no_score(tmp_path, rng):
    bank = [*clips(6, "bank", parts=1), replace(clips(1, "two")[0], section="07")]
    archive = [
        *clips(4, "a", parts=1),
        replace(clips(1, "b")[0], section="07"),
        replace(clips(1, "c")[0], machine="new"),
    ]
    X = rng.normal(size=(13, D)).astype(np.float32)
    add(tmp_path / "bank", bank, X[:7])
    add(tmp_path / "archive", archive, X[7:])
    archive_run = run(tmp_path / "bank", tmp_path / "archive", tmp_path / "out", k=2)
    rows = results(tmp_path / "out")
    assert [row["score"] is None for row in rows] == [False] * 4 + [True] * 2
    assert [row["percentile"] is None and row["distance_2"] is None for row in rows] == [False] * 4 + [True] * 2
    top = Top(3)
    for unit in archive_run.units:
        top.take(tmp_path / "out" / unit.file)
    assert (top.clips, top.unscored) == (6, {"fan 07": 1, "new 00": 1})


def test_percentiles_are_positions_among_a_sample_of_the_leave_one_out_scores(stores, tmp_path, monkeypatch):
    """A sample makes percentiles coarser only, and they do not depend on the order of the store."""
    monkeypatch.setattr(archive_banks, "CALIBRATION", 30)
    X = np.load(stores / "X.npy")
    order = np.random.default_rng(5).permutation(300)
    bank = clips(300, "bank")
    add(tmp_path / "bank", [bank[i] for i in order], X[:300][order], hashes="h", per_shard=70)
    run(stores / "bank", stores / "archive", tmp_path / "a", per=())
    run(tmp_path / "bank", stores / "archive", tmp_path / "b", per=())
    assert content(tmp_path / "a") == content(tmp_path / "b")
    exact = expected(bank, X[:300], clips(210, "archive"), X[300:], 1, per=())
    difference = [row["percentile"] - exact[row["clip"]][1] for row in results(tmp_path / "a")]
    assert 0.001 < np.abs(difference).max() < 0.3


def test_the_top_is_that_of_all_rows_with_ties_by_key(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(archive_module, "UNIT_ROWS", 30)
    X = rng.normal(size=(160, D)).astype(np.float32)
    X[100:] = X[rng.integers(100, 115, 60)]
    add(tmp_path / "bank", clips(40, "bank", parts=1), X[:40])
    archive = clips(120, "archive", parts=1)
    add(tmp_path / "archive", [archive[i] for i in rng.permutation(120)], X[40:], per_shard=30)
    archive_run = run(tmp_path / "bank", tmp_path / "archive", tmp_path / "out")
    rows = sorted(results(tmp_path / "out"), key=lambda row: (-row["percentile"], row["clip"]))
    for n in (0, 1, 7, 60, 500):
        top = Top(n)
        for unit in reversed(archive_run.units):
            top.take(tmp_path / "out" / unit.file)
        assert top.rows == rows[:n]
    assert len({row["percentile"] for row in rows}) < len(rows), "no ties to order"


def test_keys_that_are_not_utf_8_are_told_apart(tmp_path, rng):
    bad = [f"f/{name}.wav" for name in ("a", "\udcff", "\udcfe", "ü", "\udcff\udcfe")]
    every = [replace(clip, path=path) for clip, path in zip(clips(5, "x", parts=1), bad, strict=True)]
    store = add(tmp_path / "store", every, rng.normal(size=(5, D)).astype(np.float32))
    run(store, store, tmp_path / "out")
    rows = results(tmp_path / "out")
    assert [row["clip"] for row in rows] == ["f/a.wav", r"f/\xff.wav", r"f/\xfe.wav", "f/ü.wav", r"f/\xff\xfe.wav"]
    assert all(row["clip"] != row["neighbour_1"] for row in rows)


def test_dropped_rows_are_neither_bank_nor_query(tmp_path, rng):
    every = clips(30, "all", parts=1)
    X = rng.normal(size=(30, D)).astype(np.float32)
    store = add(tmp_path / "store", every, X, per_shard=10)
    gone = {every[3].path, *(clip.path for clip in every[10:20])}
    with StoreWriter(store) as writer:
        writer.remove("x", gone)
    run(store, store, tmp_path / "out")
    left = [i for i, clip in enumerate(every) if clip.path not in gone]
    live = [every[i] for i in left]
    check(results(tmp_path / "out"), expected(live, X[left], live, X[left], 1))


def test_too_little_memory_is_a_clear_error(stores, tmp_path):
    least = least_memory(stores / "bank", stores / "archive")
    for memory, words in ((0, "its largest unit takes"), (least // 1.1, r"need .* MB, but .* MB of --memory are left")):
        with pytest.raises(ResourceError, match=words):
            run(stores / "bank", stores / "archive", tmp_path, memory=int(memory))
    assert not results(tmp_path)


def test_units_of_long_rows_have_fewer_rows(stores, monkeypatch):
    """Otherwise a unit of a transformer's embeddings would not fit into the default memory."""
    job = ArchiveJob(str(stores / "bank"), str(stores / "archive"))
    assert [unit.rows for unit in ArchiveRun(job, Resources()).units] == [210]
    monkeypatch.setattr(archive_module, "UNIT_VALUES", 75 * D)
    assert [unit.rows for unit in ArchiveRun(job, Resources()).units] == [80, 80, 50]


def test_a_store_damaged_during_a_run_is_an_error_that_names_the_shard(stores, tmp_path, rng):
    archive = add(tmp_path / "archive", clips(90, "a"), rng.normal(size=(90, D)).astype(np.float32))
    job = ArchiveRun(ArchiveJob(str(stores / "bank"), str(archive)), Resources())
    shard = sorted((archive / "shards").iterdir())[1]
    image = bytearray(shard.read_bytes())
    image[len(image) // 2] ^= 1
    shard.write_bytes(image)
    with pytest.raises(StoreError, match=shard.name):
        job.score(job.units, tmp_path)
    assert not list(tmp_path.glob("part-*"))


def test_a_run_stays_within_its_memory(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(archive_module, "UNIT_ROWS", 100)
    monkeypatch.setattr(archive_banks, "CALIBRATION", 100)
    monkeypatch.setattr(archive_banks, "PIECE_ROWS", 128)
    X = rng.normal(size=(1600, 256)).astype(np.float32)
    store = add(tmp_path / "store", clips(1600, "large", parts=1), X, per_shard=100, shape=(256,))
    run(store, store, tmp_path / "compiled")
    budget = int(least_memory(store, store) * 1.15)  # so that there are pieces, and batches of more than one unit
    tracemalloc.start()
    archive_run = run(store, store, tmp_path / "out", memory=budget)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not archive_run.banks().resident
    assert budget / 2 < peak < budget
    assert content(tmp_path / "out") == content(tmp_path / "compiled")

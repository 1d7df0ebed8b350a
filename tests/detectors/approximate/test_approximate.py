"""Approximate indexes: exact with enough probes, measured otherwise, and checked when loaded from disk."""

import hashlib
import json
import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from detectors.approximate.cache import load, load_or_build, read_record, save, save_estimate
from detectors.approximate.copies import Copies
from detectors.approximate.index import ApproximateIndex
from detectors.approximate.kinds import EF_CONSTRUCTION, KINDS
from detectors.approximate.recall import recall_estimate, wilson
from detectors.search.neighbours import Bank, nearest
from featstore.errors import StoreError

faiss = pytest.importorskip("faiss")

EVERYWHERE = 10**4
"""More lists than any index here has, and a longer queue than any bank here."""


@pytest.fixture(params=sorted(KINDS))
def kind(request):
    return request.param


def clustered(rng, n, d=12):
    return (4 * rng.normal(size=(20, d))[rng.integers(20, size=n)] + rng.normal(size=(n, d))).astype(np.float32)


def assert_same(result, expected):
    for array, other in zip(result, expected, strict=True):
        assert array.dtype == other.dtype
        np.testing.assert_array_equal(array, other)


@pytest.mark.parametrize("d", [12, 13])
def test_searching_all_lists_is_exact(rng, kind, d):
    rows = clustered(rng, 1500, d)
    rows[700:900] = rows[rng.integers(50, size=200)]  # copies, so ties
    bank, queries = Bank.of(rows), np.concatenate([clustered(rng, 40, d), rows[690:720]])
    index = ApproximateIndex.build(bank, kind)
    result = index.nearest(queries, 5, probes=EVERYWHERE, rerank=200)
    assert_same(result, nearest(queries, bank, 5))


def test_own_rows_are_left_out_and_copies_stay(rng, kind):
    rows = np.repeat(clustered(rng, 400), 3, axis=0)[rng.permutation(1200)]
    bank, own = Bank.of(rows), np.arange(0, 1200, 7)
    own[::4] = -1
    result = ApproximateIndex.build(bank, kind).nearest(rows[: len(own)], 4, exclude=own, probes=EVERYWHERE, rerank=90)
    assert_same(result, nearest(rows[: len(own)], bank, 4, exclude=own))


def test_more_copies_than_proposed_rows_are_found_by_id(rng, kind):
    rows = clustered(rng, 900)
    rows[rng.permutation(900)[:400]] = rows[0]
    bank = Bank.of(rows)
    assert_same(ApproximateIndex.build(bank, kind).nearest(rows[:1], 30), nearest(rows[:1], bank, 30))


@pytest.mark.parametrize("zeros", [1, 600])
def test_zero_vectors_are_far_from_all_but_each_other(rng, kind, zeros):
    rows = clustered(rng, 600)
    rows[:zeros] = 0
    bank, queries = Bank.of(rows), np.concatenate([np.zeros((2, 12)), clustered(rng, 5)])
    index = ApproximateIndex.build(bank, kind)
    assert_same(index.nearest(queries, 2, probes=EVERYWHERE, rerank=90), nearest(queries, bank, 2))


def test_too_few_found_means_exact_search(rng):
    """One list of an IVF index holds fewer rows than requested, and faiss pads with -1."""
    bank = Bank.of(clustered(rng, 2000))
    index, queries = ApproximateIndex.build(bank, "ivf"), clustered(rng, 30)
    assert (index.search(bank.rows[:30], 400, 1)[1] < 0).any()
    assert_same(index.nearest(queries, 192, probes=1), nearest(queries, bank, 192))


def test_less_effort_finds_less_but_never_nearer(rng):
    bank, queries = Bank.of(rng.normal(size=(6000, 12))), rng.normal(size=(300, 12))
    index, exact = ApproximateIndex.build(bank, "ivf"), nearest(queries, bank, 3)
    recalls = []
    for probes in (1, 8, EVERYWHERE):
        distance, row = index.nearest(queries, 3, probes=probes)
        assert (distance >= exact[0]).all()
        recalls.append((row == exact[1]).mean())
    assert recalls[0] < 0.6 < recalls[1] < recalls[2] == 1


def test_without_reranking_distances_are_those_of_the_index(rng):
    bank, queries = Bank.of(clustered(rng, 3000)), clustered(rng, 50)
    index, exact = ApproximateIndex.build(bank, "ivfpq"), nearest(queries, bank, 3)[0]
    off = [np.abs(index.nearest(queries, 3, probes=EVERYWHERE, rerank=n)[0] - exact).mean() for n in (0, 4, 100)]
    assert off[0] > 2 * off[1] > off[2] == 0


def test_the_same_seed_gives_the_same_index(rng, kind):
    bank = Bank.of(clustered(rng, 3000))
    first, again = (faiss.serialize_index(ApproximateIndex.build(bank, kind, seed=3).index) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_hnsw_links_with_a_longer_queue_than_the_default_of_faiss(rng):
    index = ApproximateIndex.build(Bank.of(clustered(rng, 500)), "hnsw").index
    assert index.hnsw.efConstruction == EF_CONSTRUCTION > faiss.IndexHNSWFlat(12, 32).hnsw.efConstruction


def test_splitting_the_queries_does_not_matter(rng, kind):
    bank, queries = Bank.of(clustered(rng, 3000)), clustered(rng, 1100)
    index = ApproximateIndex.build(bank, kind)
    parts = [index.nearest(part, 3) for part in np.split(queries, [1, 30, 31, 700])]
    assert_same(index.nearest(queries, 3), [np.concatenate(column) for column in zip(*parts, strict=True)])


def test_the_seed_counts(rng):
    bank = Bank.of(clustered(rng, 3000))
    first, other = (faiss.serialize_index(ApproximateIndex.build(bank, "ivf", seed=seed).index) for seed in (0, 1))
    assert not np.array_equal(first, other)


def test_threads_are_limited_and_restored(rng, monkeypatch):
    bank = Bank.of(clustered(rng, 500))
    index, seen = ApproximateIndex.build(bank, "ivf", threads=1), []
    search = ApproximateIndex.search
    monkeypatch.setattr(
        ApproximateIndex, "search", lambda *given: seen.append(faiss.omp_get_max_threads()) or search(*given)
    )
    before = faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(2)
        index.nearest(bank.rows[:9], 1)
        assert (seen, faiss.omp_get_max_threads()) == ([1], 2)
    finally:
        faiss.omp_set_num_threads(before)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (
            lambda bank: ApproximateIndex.build(bank, "annoy"),
            "unknown index 'annoy'; choose from flat, ivf, ivfpq, hnsw",
        ),
        (lambda bank: ApproximateIndex.build(bank, "ivf").nearest(np.ones((1, 3)), 1), "queries have 3 dimensions"),
        (lambda bank: ApproximateIndex.build(bank, "ivf").nearest(np.full((1, 12), np.nan), 1), "queries: row 0 has"),
        (
            lambda bank: ApproximateIndex.build(bank, "ivf").nearest(np.ones((1, 12)), 301),
            "k=301: the bank has only 300",
        ),
        (lambda bank: ApproximateIndex.build(bank, "ivf").nearest(np.ones((1, 12)), 0), "expected k >= 1"),
        (lambda bank: ApproximateIndex.build(bank, "ivf").nearest(np.ones((1, 12)), 1, probes=0), "at least 1 probe"),
        (
            lambda bank: ApproximateIndex.build(bank, "ivf").nearest(np.ones((1, 12)), 1, rerank=-1),
            "rerank of at least",
        ),
        (lambda bank: recall_estimate(ApproximateIndex.build(bank, "ivf"), np.ones((0, 12)), 1), "expected queries"),
    ],
)
def test_bad_input_is_refused(rng, call, match):
    with pytest.raises(ValueError, match=match):
        call(Bank.of(clustered(rng, 300)))


def test_no_queries(rng):
    distance, row = ApproximateIndex.build(Bank.of(clustered(rng, 300)), "ivf").nearest(np.zeros((0, 12)), 2)
    assert distance.shape == row.shape == (0, 2)


def test_copies_of_rows():
    copies = Copies.of(np.array([[1.0, 2], [0.0, 3], [1, 2], [5, 5], [-0.0, 3], [1, 2]]))
    np.testing.assert_array_equal(copies.first, [0, 1, 3])
    np.testing.assert_array_equal(copies.rows_of(np.array([2, 0, 1]), 2)[0], [3, 0, 2, 1, 4])
    np.testing.assert_array_equal(copies.rows_of(np.array([2, 0, 1]), 2)[1], [0, 1, 1, 2, 2])


def test_different_rows_with_equal_labels_are_distinguished(monkeypatch):
    constant = SimpleNamespace(integers=lambda *_, **__: np.uint64(0))
    monkeypatch.setattr(np.random, "default_rng", lambda seed: constant)
    rows = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])  # multiplied by 1, their labels are equal
    np.testing.assert_array_equal(np.sort(Copies.of(rows).first), [0, 1])


# Recall and score error


@pytest.mark.parametrize("own", [False, True])
def test_estimate_equals_brute_force(rng, own):
    bank = Bank.of(rng.normal(size=(3000, 12)))
    queries, exclude = (bank.rows[:150], np.arange(150)) if own else (rng.normal(size=(150, 12)), None)
    index = ApproximateIndex.build(bank, "ivf")
    estimate = recall_estimate(index, queries, 3, exclude=exclude, probes=2, sample=150)
    unit = [X / np.linalg.norm(X, axis=1, keepdims=True) for X in (queries, bank.rows)]
    distance = 1 - unit[0] @ unit[1].T
    if own:
        distance[exclude, exclude] = np.inf
    brute = np.argsort(distance, axis=1)[:, :3]
    rows = index.nearest(queries, 3, exclude=exclude, probes=2)[1]
    assert estimate.recall == pytest.approx(
        np.mean([len({*a} & {*b}) / 3 for a, b in zip(brute.tolist(), rows.tolist(), strict=True)])
    )
    scores = [np.take_along_axis(distance, ids, axis=1).mean(axis=1) for ids in (brute, rows)]
    error = scores[1] - scores[0]
    expected = [error.mean(), np.quantile(error, 0.95), error.max(), scores[0].std()]
    got = [estimate.error_mean, estimate.error_p95, estimate.error_max, estimate.spread]
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert 0 < estimate.recall_low < estimate.recall < estimate.recall_high < 1
    assert estimate.error_mean < estimate.error_mean_high < estimate.error_max


def test_a_sample_without_a_miss_has_a_lower_limit_below_one():
    low, high = wilson(1.0, 200)
    assert (round(low, 3), high) == (0.981, 1.0)


def test_the_interval_holds_the_true_recall(rng):
    """In at least 95 of 100 samples, since recalls of single queries vary less than 0s and 1s."""
    share = rng.integers(0, 4, size=2000) / 3
    held = 0
    for _ in range(100):
        low, high = wilson(float(rng.choice(share, 60).mean()), 60)
        held += low <= share.mean() <= high
    assert held >= 95


# On disk


@pytest.fixture
def bank(rng):
    return Bank.of(clustered(rng, 1000))


def test_a_saved_index_is_loaded(tmp_path, bank, kind):
    path = tmp_path / "new" / "fan.index"
    built, note = load_or_build(path, bank, kind)
    assert note == "fan.index: built"
    loaded, note = load_or_build(path, bank, kind)
    assert note == ""
    assert_same(loaded.nearest(bank.rows[:50], 3, probes=1), built.nearest(bank.rows[:50], 3, probes=1))
    np.testing.assert_array_equal(*(faiss.serialize_index(index.index) for index in (loaded, built)))


def test_a_bank_of_zero_rows_is_saved_too(tmp_path):
    bank = Bank.of(np.zeros((4, 3)))
    load_or_build(tmp_path / "a", bank, "ivf")
    loaded, note = load_or_build(tmp_path / "a", bank, "ivf")
    assert note == ""
    assert_same(loaded.nearest(np.ones((1, 3)), 2), nearest(np.ones((1, 3)), bank, 2))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda bank: (Bank.of(bank.rows[::-1].copy()), "ivf", 0), "made with bank"),
        (lambda bank: (bank, "flat", 0), "made with kind 'ivf', expected 'flat'"),
        (lambda bank: (bank, "ivf", 1), "made with seed 0, expected 1"),
    ],
)
def test_an_index_of_another_bank_kind_or_seed_is_rebuilt(tmp_path, bank, change, what):
    load_or_build(tmp_path / "a", bank, "ivf")
    other, kind, seed = change(bank)
    index, note = load_or_build(tmp_path / "a", other, kind, seed=seed)
    assert what in note
    assert note.endswith("; rebuilt")
    assert_same(index.nearest(other.rows[:9], 1), nearest(other.rows[:9], other, 1))
    assert load_or_build(tmp_path / "a", other, kind, seed=seed)[1] == ""


def edited(path, **changes):
    path = path.with_name(f"{path.name}.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def link(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def forge(path):
    """A record that matches bytes that faiss cannot read."""
    path.write_bytes(b"IwFl" + bytes(40))
    edited(path, bytes=44, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def forge_kind(path):
    """A record that matches a valid index of another kind."""
    other = ApproximateIndex.build(Bank.of(np.eye(7)), "flat")
    save(other, path.with_name("other"))
    record = read_record(path.with_name("other"))
    path.write_bytes(path.with_name("other").read_bytes())
    edited(path, bytes=record["bytes"], sha256=record["sha256"])


DAMAGE = {
    "flipped": (flip, "is damaged: its size or SHA-256"),
    "cut": (lambda path: os.truncate(path, 100), "is damaged: its size or SHA-256"),
    "empty": (lambda path: os.truncate(path, 0), "is damaged: its size or SHA-256"),
    "huge": (lambda path: os.truncate(path, 10**12), "bytes; the limit is"),
    "gone": (lambda path: path.unlink(), "No such file"),
    "link": (link, "symbolic link"),
    "pipe": (lambda path: (path.unlink(), os.mkfifo(path)), "is not a regular file"),
    "unreadable": (forge, "cannot be read by faiss"),
    "of another kind": (forge_kind, "holds IndexFlat"),
    "record cut": (lambda path: os.truncate(f"{path}.json", 20), "json is damaged"),
    "record a list": (lambda path: path.with_name("a.json").write_text("[]"), "expected a JSON object"),
    "record too deep": (lambda path: path.with_name("a.json").write_text("[" * 60000), "json is damaged"),
    "record of another training": (lambda path: edited(path, training=0), "made with training 0"),
    "record of another faiss": (lambda path: edited(path, faiss="0.1"), "made with faiss '0.1'"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_detected_before_reading_and_repaired(tmp_path, bank, damage):
    path = tmp_path / "a"
    load_or_build(path, bank, "ivf")
    harm, match = DAMAGE[damage]
    harm(path)
    with pytest.raises((StoreError, FileNotFoundError), match=match):
        load(path, bank, "ivf")
    index, note = load_or_build(path, bank, "ivf")
    assert note
    assert_same(index.nearest(bank.rows[:9], 1), nearest(bank.rows[:9], bank, 1))
    assert load(path, bank, "ivf").spec == index.spec
    assert not list(tmp_path.glob("*.tmp"))


def test_swapped_files_are_found(tmp_path, bank):
    other = Bank.of(bank.rows[::-1].copy())
    for name, rows in (("a", bank), ("b", other)):
        load_or_build(tmp_path / name, rows, "ivf")
    (tmp_path / "a").replace(tmp_path / "c")
    (tmp_path / "b").replace(tmp_path / "a")
    with pytest.raises(StoreError, match="is damaged"):
        load(tmp_path / "a", bank, "ivf")
    (tmp_path / "b.json").replace(tmp_path / "a.json")
    with pytest.raises(StoreError, match="made with bank"):
        load(tmp_path / "a", bank, "ivf")


def test_an_estimate_is_saved_in_the_record(tmp_path, bank):
    path = tmp_path / "a"
    index, _ = load_or_build(path, bank, "hnsw")
    estimate = recall_estimate(index, bank.rows, 3, exclude=np.arange(1000), sample=50)
    save_estimate(path, estimate)
    assert replace(estimate, **read_record(path)["estimate"]) == estimate
    assert load_or_build(path, bank, "hnsw")[1] == ""


@pytest.mark.gpu
def test_gpu_finds_what_the_processor_finds(rng):
    if not getattr(faiss, "get_num_gpus", int)():
        pytest.skip("no GPU in faiss")
    bank, queries = Bank.of(clustered(rng, 5000)), clustered(rng, 100)
    index = ApproximateIndex.build(bank, "ivf")
    assert index._on_gpu is not None
    assert_same(index.nearest(queries, 5, probes=EVERYWHERE), nearest(queries, bank, 5))

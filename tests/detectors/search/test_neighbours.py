"""Every back end and block size gives the result of sorting all float64 distances."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from detectors.search import faiss_backend, neighbours, shortlist
from detectors.search.neighbours import Bank, nearest
from detectors.search.shortlist import directions, rounding

needs_faiss = pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="faiss is not installed")
BACKENDS = ["numpy", "torch", pytest.param("faiss", marks=needs_faiss)]


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


def by_sorting(queries, bank, k, exclude=None):
    """All distances in float64, sorted by (distance, id)."""
    left, right = (X / np.linalg.norm(X, axis=1, keepdims=True) for X in (queries.astype(float), bank.astype(float)))
    distance = np.stack([0.5 * np.square(right - row).sum(axis=1) for row in left])
    if exclude is not None:
        rows = np.flatnonzero(exclude >= 0)
        distance[rows, exclude[rows]] = np.inf
    index = np.argsort(distance, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distance, index, axis=1), index


@pytest.mark.parametrize(
    ("n", "m", "d", "k"),
    [(1, 3, 2, 1), (10, 5, 4, 10), (1025, 3, 16, 1), (3000, 1100, 24, 1), (2100, 40, 8, 17), (1500, 9, 64, 300)],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_sorting(rng, backend, n, m, d, k, dtype):
    bank, queries = rng.normal(size=(n, d)).astype(dtype), rng.normal(size=(m, d)).astype(dtype)
    distance, index = nearest(queries, bank, k, backend=backend)
    expected_distance, expected_index = by_sorting(queries, bank, k)
    assert (distance.dtype, index.dtype) == (np.float64, np.int64)
    np.testing.assert_array_equal(index, expected_index)
    np.testing.assert_allclose(distance, expected_distance, atol=1e-14)


def test_leaves_out_the_excluded_row(rng, backend):
    bank = rng.normal(size=(1200, 8))
    own = np.where(np.arange(50) % 5, np.arange(50), -1)
    distance, index = nearest(bank[:50], bank, 3, exclude=own, backend=backend)
    expected = by_sorting(bank[:50], bank, 3, exclude=own)
    np.testing.assert_array_equal(index, expected[1])
    assert not (index == own[:, None]).any()
    np.testing.assert_array_equal(index[::5, 0], np.arange(0, 50, 5))
    assert (distance[::5, 0] == 0).all()


@pytest.mark.parametrize("copies", [2, 40, 700])
def test_copies_are_ordered_by_id(rng, backend, copies):
    bank = np.repeat(rng.normal(size=(4, 6)), copies, axis=0)[rng.permutation(4 * copies)]
    own = np.arange(8)
    distance, index = nearest(bank[own], bank, 5, exclude=own, backend=backend)
    np.testing.assert_array_equal(index, by_sorting(bank[own], bank, 5, exclude=own)[1])
    assert (distance[:, 0] == 0).all()


@pytest.mark.parametrize("spread", [1e-9, 1e-7, 1e-4])
def test_near_copies_are_told_apart(rng, backend, spread):
    """Near and below float32 resolution, only float64 distances give the right order."""
    bank = 1.0 + spread * rng.normal(size=(2000, 12))
    queries = 1.0 + spread * rng.normal(size=(30, 12))
    _, index = nearest(queries, bank, 4, backend=backend)
    np.testing.assert_array_equal(index, by_sorting(queries, bank, 4)[1])


@pytest.mark.parametrize("pieces", [1, 2, 7, 90])
@pytest.mark.parametrize("k", [1, 6])
def test_blocks_equal_whole(rng, backend, pieces, k):
    bank, queries = rng.integers(-2, 3, size=(900, 4)) + 0.25, rng.normal(size=(33, 4))  # with many copies
    whole = nearest(queries, bank, k, exclude=np.arange(33), backend=backend)
    blocks = nearest(queries, iter(np.array_split(bank, pieces)), k, exclude=np.arange(33), backend=backend)
    np.testing.assert_array_equal(blocks[1], whole[1])
    np.testing.assert_array_equal(blocks[0], whole[0])


def test_array_is_cut_into_blocks(rng, monkeypatch):
    bank, queries = rng.normal(size=(500, 5)), rng.normal(size=(20, 5))
    whole = nearest(queries, bank, 3)
    monkeypatch.setattr(neighbours, "BLOCK", 64)
    np.testing.assert_array_equal(nearest(queries, bank, 3)[1], whole[1])
    np.testing.assert_array_equal(nearest(queries, Bank.of(bank), 3)[1], whole[1])


def test_threads_do_not_matter(rng, backend, monkeypatch):
    bank, queries = rng.normal(size=(1500, 8)), rng.normal(size=(1030, 8))
    whole = nearest(queries, bank, 2, backend=backend)
    monkeypatch.setattr(neighbours, "THREADS_FROM", 0)
    monkeypatch.setattr(neighbours, "_threads", lambda: 3)
    np.testing.assert_array_equal(nearest(queries, bank, 2, backend=backend)[1], whole[1])


def test_zero_vectors_are_far_from_all_but_each_other(rng, backend):
    bank = np.concatenate([rng.normal(size=(5, 3)), np.zeros((2, 3))])
    queries = np.stack([np.zeros(3), bank[3], -bank[0]])
    distance, index = nearest(queries, bank, 7, backend=backend)
    np.testing.assert_array_equal(index[0], [5, 6, 0, 1, 2, 3, 4])
    np.testing.assert_array_equal(distance[0], [0, 0, 2, 2, 2, 2, 2])
    assert index[1, 0] == 3
    np.testing.assert_array_equal(index[1, -2:], [5, 6])
    np.testing.assert_array_equal(index[2, -3:], [0, 5, 6])  # the opposite vector ties with the zero vectors
    only = nearest(queries, np.zeros((3, 3)), 2, backend=backend)
    np.testing.assert_array_equal(only[0], [[0, 0], [2, 2], [2, 2]])


def test_huge_and_tiny_vectors_keep_their_direction(rng, backend):
    bank = rng.normal(size=(40, 6))
    scaled = bank * 10.0 ** rng.integers(-150, 150, size=(40, 1))
    np.testing.assert_array_equal(nearest(bank, scaled, 3, backend=backend)[1], nearest(bank, bank, 3)[1])


def test_distances_stay_in_range(rng):
    bank = rng.normal(size=(300, 7)).astype(np.float32)
    distance, _ = nearest(np.concatenate([bank, -bank]), bank, 300)
    assert distance.min() == 0
    assert distance.max() <= 2


def test_no_queries_and_lists_of_numbers():
    distance, index = nearest(np.zeros((0, 2)), np.ones((3, 2)), 2)
    assert distance.shape == index.shape == (0, 2)
    assert nearest(np.array([[1, 0]]), np.array([[0, 1], [1, 1]]), 1)[1].item() == 1


@pytest.mark.parametrize(
    ("queries", "bank", "k", "match"),
    [
        (np.ones((2, 3)), np.ones((0, 3)), 1, "the bank is empty"),
        (np.ones((2, 3)), iter([np.ones((0, 3))]), 1, "the bank is empty"),
        (np.ones((2, 3)), np.ones((4, 3)), 5, "k=5: the bank has only 4 rows to find"),
        (np.ones((2, 3)), [np.ones((2, 3)), np.ones((2, 3))], 5, "k=5: the bank has only 4 rows to find"),
        (np.ones((2, 3)), np.ones((4, 3)), 0, "k >= 1"),
        (np.ones((2, 3)), np.ones((4, 2)), 1, "queries have 3 dimensions, the bank has 2"),
        (np.full((2, 3), np.nan), np.ones((4, 3)), 1, "queries: row 0 has a value that is NaN"),
        (np.ones((2, 3)), np.array([[1.0, 2, 3], [np.inf, 0, 0]]), 1, "bank: row 1 has a value that is NaN or inf"),
        (np.ones(3), np.ones((4, 3)), 1, "queries: expected a matrix"),
        (np.ones((2, 3)), np.ones((4, 3, 2)), 1, "bank: expected a matrix"),
    ],
)
def test_refuses_what_it_cannot_search(queries, bank, k, match):
    with pytest.raises(ValueError, match=match):
        nearest(queries, bank, k)


def test_refuses_too_few_rows_beside_the_excluded_one_and_unknown_names():
    with pytest.raises(ValueError, match="k=4: the bank has only 3 rows to find"):
        nearest(np.eye(4), np.eye(4), 4, exclude=np.arange(4))
    with pytest.raises(ValueError, match="one excluded row per query"):
        nearest(np.eye(4), np.eye(4), 1, exclude=np.arange(3))
    with pytest.raises(ValueError, match="unknown backend 'annoy'; choose from auto, numpy, torch, faiss"):
        nearest(np.eye(4), np.eye(4), 1, backend="annoy")


def test_inputs_stay_untouched(rng, backend):
    bank, queries = rng.normal(size=(30, 3)), rng.normal(size=(9, 3))
    bank.flags.writeable = queries.flags.writeable = False
    nearest(queries, bank, 2, backend=backend)


@pytest.mark.parametrize("d", [2, 128, 768])
def test_products_are_off_by_less_than_the_bound(rng, d):
    X = rng.normal(size=(400, d)) + rng.choice([0, 10], size=(400, 1))
    exact = X / np.linalg.norm(X, axis=1, keepdims=True)
    error = np.abs(directions(X) @ directions(X).T - exact @ exact.T).max()
    assert error < rounding(d)


def test_coarse_products_still_give_exact_neighbours(rng):
    """torch can be set to multiply in bfloat16; the band is then wider."""
    torch = pytest.importorskip("torch")
    bank, queries = rng.normal(size=(1500, 64)), rng.normal(size=(200, 64))
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        index = nearest(queries, bank, 3, backend="torch")[1]
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_array_equal(index, by_sorting(queries, bank, 3)[1])


def test_torch_threads_are_restored(rng):
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    nearest(rng.normal(size=(5, 3)), rng.normal(size=(9, 3)), 1, backend="torch")
    assert torch.get_num_threads() == before


def test_device_search_lists_the_largest(rng, monkeypatch):
    torch_backend = pytest.importorskip("detectors.search.torch_backend")
    monkeypatch.setattr(torch_backend, "COLUMNS", 64)
    bank, queries = directions(rng.normal(size=(500, 16))), directions(rng.normal(size=(20, 16)))
    values, rows = torch_backend.DeviceProducts(bank, device="cpu").largest(queries, 9)
    products = queries @ bank.T
    np.testing.assert_allclose(values, -np.sort(-products, axis=1)[:, :9], atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(products, rows, axis=1), values, atol=1e-6)


@pytest.mark.gpu
def test_gpu_equals_cpu(rng):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    bank, queries = rng.normal(size=(70_000, 64)), rng.normal(size=(300, 64))
    expected = nearest(queries, bank, 5, backend="numpy")
    for backend in ("torch", *(("faiss",) if faiss_backend.available() else ())):
        np.testing.assert_array_equal(nearest(queries, bank, 5, backend=backend)[1], expected[1])


def test_auto_goes_by_size(monkeypatch):
    assert neighbours._chosen("auto", 1e6) == "numpy"
    assert neighbours._chosen("auto", 1e12) == "torch"
    assert neighbours._chosen("faiss", 1e6) == "faiss"


def test_small_searches_do_not_load_torch():
    code = "import numpy as np, sys; from detectors.search.neighbours import nearest; nearest(np.eye(9), np.eye(9), 1)"
    code += "; print('torch' in sys.modules, 'faiss' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("flags", "kernel"),
    [
        ("fpu avx2 fma avx512f avx512dq avx512bw avx512vl", "SkylakeX"),
        ("fpu avx2 fma avx512f", "Haswell"),
        ("fpu sse2", ""),
        (None, ""),
    ],
)
def test_kernel_by_processor_flags(tmp_path, flags, kernel):
    cpuinfo = tmp_path / "cpuinfo"
    if flags is not None:
        cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    assert faiss_backend.kernel_of_this_cpu(cpuinfo) == kernel


@needs_faiss
def test_faiss_runs_with_the_right_kernel_and_threshold():
    if not faiss_backend.kernel_of_this_cpu():
        pytest.skip("the kernel for this processor is unknown")
    code = (
        "import os, numpy as np; from detectors.search import faiss_backend as b;"
        "b.InnerProducts(np.eye(8, dtype='f4'));"
        "print(os.environ['OPENBLAS_CORETYPE'], b.load().cvar.distance_compute_blas_threshold)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "OPENBLAS_CORETYPE"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == [faiss_backend.kernel_of_this_cpu(), "64"]


def test_groups_leave_enough_maxima():
    assert shortlist._group_size(1024, 1) == 16
    assert shortlist._group_size(1024, 17) == 4
    assert shortlist._group_size(10, 3) == 1

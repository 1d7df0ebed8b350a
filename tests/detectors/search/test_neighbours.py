"""Every route gives the result of sorting all float64 distances, and all routes the same bits."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from plain_neighbours import KINDS, check_nearest, data, distances

from detectors.geometry import squared_lengths, unit
from detectors.search import kernels, neighbours, plain
from detectors.search.neighbours import Bank, nearest
from detectors.search.quantised import CODE_DIMENSIONS, TiledBank

METRICS = ["cosine", "euclidean"]


def take(route, monkeypatch):
    """Search by one route only; "codes" and "floats" are the compiled loops with either kind of products."""
    monkeypatch.setattr(neighbours, "_route", lambda queries, bank: "plain" if route == "plain" else "tiled")
    if route != "plain":
        coded = route == "codes"
        of = TiledBank.of.__func__
        monkeypatch.setattr(
            "detectors.search.streamed.bank_of",
            lambda rows, metric: of(TiledBank, rows, coded=coded and rows.shape[1] in CODE_DIMENSIONS, metric=metric),
        )


@pytest.fixture(params=["plain", "codes", "floats"])
def route(request, monkeypatch):
    take(request.param, monkeypatch)
    return request.param


def half_squares(queries, bank):
    return 0.5 * np.square(queries.astype(float)[:, None] - bank.astype(float)[None]).sum(axis=2)


EVERY = {"cosine": distances, "euclidean": half_squares}


def by_sorting(queries, bank, k, exclude=None, metric="cosine"):
    """All distances in float64, sorted by (distance, row)."""
    distance = EVERY[metric](queries, bank)
    if exclude is not None:
        rows = np.flatnonzero(exclude >= 0)
        distance[rows, exclude[rows]] = np.inf
    index = np.argsort(distance, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distance, index, axis=1), index


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("n", "m", "d", "k"),
    [(1, 3, 2, 1), (10, 5, 4, 10), (1025, 3, 16, 1), (3000, 600, 24, 1), (2100, 40, 8, 17), (1500, 9, 64, 300)],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_sorting(rng, route, n, m, d, k, dtype, metric):
    bank, queries = rng.normal(size=(n, d)).astype(dtype), rng.normal(size=(m, d)).astype(dtype)
    distance, index = nearest(queries, bank, k, metric=metric)
    expected_distance, expected_index = by_sorting(queries, bank, k, metric=metric)
    assert (distance.dtype, index.dtype) == (np.float64, np.int64)
    np.testing.assert_array_equal(index, expected_index)
    np.testing.assert_allclose(distance, expected_distance, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_sorting_for_data_that_is_hard(rng, route, kind, dtype):
    bank = data(kind, 1300, 12, rng).astype(dtype)
    queries = np.concatenate([bank[:20], -bank[:20], data("gaussian", 20, 12, rng)]).astype(dtype)
    check_nearest(queries, bank, *nearest(queries, bank, 4))


@pytest.mark.parametrize("d", [*range(1, 20), 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 191, 192, 200, 768, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_routes_give_the_same_bits(rng, monkeypatch, d, dtype):
    bank = (rng.normal(size=(300, d)) * 10.0 ** rng.integers(-9, 9, size=(300, 1))).astype(dtype)
    bank[5:9], bank[20:30] = 0, bank[40]
    queries = np.concatenate([bank[:10], rng.normal(size=(20, d)).astype(dtype)])
    for metric in METRICS:
        results = []
        for route in ("plain", "codes", "floats"):
            take(route, monkeypatch)
            results.append(nearest(queries, bank, 30, metric=metric))
        for distance, row in results[1:]:
            assert distance.tobytes() == results[0][0].tobytes()
            np.testing.assert_array_equal(row, results[0][1])


@pytest.mark.parametrize("kind", ["gaussian", "zeros", "huge", "tiny"])
@pytest.mark.parametrize("d", [1, 3, 63, 64, 65, 100, 128, 321])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled_and_plain_unit_rows_are_the_same_bits(rng, kind, d, dtype):
    rows = data(kind, 90, d, rng).astype(dtype)
    if dtype == np.float64:
        rows[:30] *= 10.0 ** rng.integers(-250, 250, size=(30, 1))
    units, inverse = np.empty(rows.shape), np.empty(90)
    kernels.unit_rows(rows, units, inverse)
    assert ((inverse == 0) == ~rows.any(axis=1)).all()
    assert unit(rows).tobytes() == units.tobytes()
    assert unit(rows[7:8]).tobytes() == units[7:8].tobytes()


def test_squared_lengths_are_those_of_numpy_up_to_rounding(rng):
    for d in (1, 2, 63, 64, 65, 130, 1000):
        X = rng.normal(size=(50, d))
        np.testing.assert_allclose(squared_lengths(X), np.square(X).sum(axis=1), rtol=1e-13)


def test_a_row_at_length_one_does_not_depend_on_its_neighbours(rng):
    X = np.concatenate([rng.normal(size=(40, 9)), np.zeros((1, 9)), np.full((1, 9), 1e200), np.full((1, 9), 1e-200)])
    np.testing.assert_array_equal(unit(X), np.concatenate([unit(row[None]) for row in X]))


@pytest.mark.parametrize("metric", METRICS)
def test_leaves_out_the_excluded_row(rng, route, metric):
    bank = rng.normal(size=(1200, 8))
    own = np.where(np.arange(50) % 5, np.arange(50), -1)
    distance, index = nearest(bank[:50], bank, 3, exclude=own, metric=metric)
    expected = by_sorting(bank[:50], bank, 3, exclude=own, metric=metric)
    np.testing.assert_array_equal(index, expected[1])
    assert not (index == own[:, None]).any()
    np.testing.assert_array_equal(index[::5, 0], np.arange(0, 50, 5))
    assert (distance[::5, 0] == 0).all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("copies", [2, 40, 700])
def test_copies_are_ordered_by_row(rng, route, copies, metric):
    bank = np.repeat(rng.normal(size=(4, 6)), copies, axis=0)[rng.permutation(4 * copies)]
    own = np.arange(8)
    distance, index = nearest(bank[own], bank, 5, exclude=own, metric=metric)
    np.testing.assert_array_equal(index, by_sorting(bank[own], bank, 5, exclude=own, metric=metric)[1])
    assert (distance[:, 0] == 0).all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("spread", [1e-9, 1e-7, 1e-4])
def test_near_copies_are_told_apart(rng, route, spread, metric):
    """Near and below float32 resolution, only float64 distances give the right order."""
    bank = 1.0 + spread * rng.normal(size=(2000, 12))
    queries = 1.0 + spread * rng.normal(size=(30, 12))
    _, index = nearest(queries, bank, 4, metric=metric)
    np.testing.assert_array_equal(index, by_sorting(queries, bank, 4, metric=metric)[1])


@pytest.mark.parametrize("metric", METRICS)
def test_queries_may_come_one_by_one_or_together(rng, route, metric, monkeypatch):
    monkeypatch.setattr(plain, "CHUNK", 5000)
    bank, queries = Bank.of(rng.normal(size=(900, 70)), metric), rng.normal(size=(33, 70))
    whole = nearest(queries, bank, 6, exclude=np.arange(33))
    for i in range(33):
        distance, row = nearest(queries[i : i + 1], bank, 6, exclude=np.array([i]))
        np.testing.assert_array_equal(row[0], whole[1][i])
        np.testing.assert_array_equal(distance[0], whole[0][i])


@pytest.mark.parametrize("scale", [1.0, 1e30, 1e-30, 1e130, 1e-130])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_euclidean_distances_of_any_size(rng, route, scale, dtype):
    scale = scale if dtype == np.float64 else np.clip(scale, 1e-30, 1e30)
    bank, queries = (scale * rng.normal(size=(n, 40)).astype(dtype) for n in (1500, 20))
    distance, index = nearest(queries, bank, 3, metric="euclidean")
    expected = by_sorting(queries / scale, bank / scale, 3, metric="euclidean")
    np.testing.assert_array_equal(index, expected[1])
    np.testing.assert_allclose(distance, expected[0] * scale**2, rtol=1e-5)


def test_euclidean_queries_far_from_the_bank(rng, monkeypatch):
    monkeypatch.setattr(neighbours, "LITTLE", 0)
    bank = rng.normal(size=(1500, 8))
    queries = rng.normal(size=(3, 8)) * np.array([[1.0], [1e12], [1e100]])
    distance, index = nearest(queries, bank, 3, metric="euclidean")
    np.testing.assert_array_equal(index[:2], by_sorting(queries, bank, 3, metric="euclidean")[1][:2])
    np.testing.assert_allclose(distance[2], 0.5 * np.square(queries[2]).sum())


def test_euclidean_distances_have_no_cap_and_no_special_zero(route):
    bank = np.array([[0.0, 0], [0, 6], [100, 0]])
    distance, index = nearest(np.array([[0.0, 0], [3, 0]]), bank, 3, metric="euclidean")
    np.testing.assert_array_equal(index, [[0, 1, 2], [0, 1, 2]])
    np.testing.assert_array_equal(distance, [[0, 18, 5000], [4.5, 22.5, 97**2 / 2]])


def test_threads_do_not_matter(rng, route, monkeypatch):
    bank, queries = rng.normal(size=(1500, 8)), rng.normal(size=(1030, 8))
    whole = nearest(queries, bank, 2)
    monkeypatch.setattr(neighbours, "_threads", lambda queries, bank: 3)
    np.testing.assert_array_equal(nearest(queries, bank, 2)[1], whole[1])


def test_zero_vectors_are_far_from_all_but_each_other(rng, route):
    bank = np.concatenate([rng.normal(size=(5, 3)), np.zeros((2, 3))])
    queries = np.stack([np.zeros(3), bank[3], -bank[0]])
    distance, index = nearest(queries, bank, 7)
    np.testing.assert_array_equal(index[0], [5, 6, 0, 1, 2, 3, 4])
    np.testing.assert_array_equal(distance[0], [0, 0, 2, 2, 2, 2, 2])
    assert index[1, 0] == 3
    np.testing.assert_array_equal(index[1, -2:], [5, 6])
    np.testing.assert_array_equal(index[2, -3:], [0, 5, 6])  # the opposite vector ties with the zero vectors
    only = nearest(queries, np.zeros((3, 3)), 2)
    np.testing.assert_array_equal(only[0], [[0, 0], [2, 2], [2, 2]])


def test_huge_and_tiny_vectors_keep_their_direction(rng, route):
    bank = rng.normal(size=(40, 6))
    scaled = bank * 10.0 ** rng.integers(-150, 150, size=(40, 1))
    np.testing.assert_array_equal(nearest(bank, scaled, 3)[1], nearest(bank, bank, 3)[1])


def test_distances_stay_in_range(rng, route):
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
        (np.ones((2, 3)), np.ones((4, 3)), 5, "k=5: the bank has only 4 rows to find"),
        (np.ones((2, 3)), np.ones((4, 3)), 0, "k >= 1"),
        (np.ones((2, 3)), np.ones((4, 2)), 1, "queries have 3 dimensions, the bank has 2"),
        (np.full((2, 3), np.nan), np.ones((4, 3)), 1, "queries: row 0 has a value that is NaN"),
        (np.ones((2, 3)), np.array([[1.0, 2, 3], [np.inf, 0, 0]]), 1, "bank: row 1 has a value that is NaN or inf"),
        (np.ones(3), np.ones((4, 3)), 1, "queries: expected a matrix"),
        (np.ones((2, 3)), np.ones((4, 3, 2)), 1, "bank: expected a matrix"),
        (np.array([["a"]]), np.ones((4, 1)), 1, "queries: expected a matrix of numbers"),
        (np.ones((2, 2), complex), np.ones((4, 2)), 1, "queries: expected a matrix of numbers"),
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
    with pytest.raises(ValueError, match="unknown metric 'cityblock'; choose from cosine, euclidean"):
        nearest(np.eye(4), np.eye(4), 1, metric="cityblock")
    for queries, bank, what in ((1e160 * np.eye(2), np.eye(2), "queries"), (np.eye(2), 1e160 * np.eye(2), "bank")):
        with pytest.raises(ValueError, match=f"{what}: the largest value is 1e.160; Euclidean distances need"):
            nearest(queries, bank, 1, metric="euclidean")


@pytest.mark.parametrize("metric", METRICS)
def test_inputs_stay_untouched(rng, route, metric):
    bank, queries = rng.normal(size=(30, 3)), rng.normal(size=(9, 3))
    bank.flags.writeable = queries.flags.writeable = False
    nearest(queries, bank, 2, metric=metric)


def test_a_pickled_bank_holds_its_rows_only(rng):
    bank = Bank.of(rng.normal(size=(50, 4)), "euclidean")
    expected = nearest(bank.rows, bank, 3)
    assert "plain" in bank.__dict__
    again = pickle.loads(pickle.dumps(bank))
    assert "plain" not in again.__dict__
    np.testing.assert_array_equal(nearest(bank.rows, again, 3), expected)


def test_torch_threads_are_restored(rng, route):
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    nearest(rng.normal(size=(5, 3)), rng.normal(size=(9, 3)), 1)
    assert torch.get_num_threads() == before


@pytest.mark.gpu
def test_gpu_equals_cpu(rng, monkeypatch):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    queries = rng.normal(size=(300, 64))
    for metric in METRICS:
        bank = Bank.of(rng.normal(size=(70_000, 64)), metric)
        monkeypatch.setattr(neighbours, "DEVICE_FROM", np.inf)
        expected = nearest(queries, bank, 5)
        monkeypatch.setattr(neighbours, "DEVICE_FROM", 0)
        distance, row = nearest(queries, bank, 5)
        assert "device" in bank.__dict__
        np.testing.assert_array_equal(row, expected[1])
        np.testing.assert_array_equal(distance, expected[0])


def test_the_route_goes_by_the_work(rng, monkeypatch):
    import torch  # noqa: F401

    def routes(m, n, d):
        bank = Bank(np.broadcast_to(np.float32(1), (n, d)), "cosine")
        return neighbours._route(np.broadcast_to(np.float32(1), (m, d)), bank)

    monkeypatch.setattr("detectors.search.products.has_gpu", lambda: False)
    assert [routes(1, 1000, 128), routes(1, 10**6, 128)] == ["plain", "tiled"]
    assert [routes(10**4, 1000, 128), routes(10**4, 10**6, 128)] == ["tiled", "tiled"]
    monkeypatch.setattr("detectors.search.products.has_gpu", lambda: True)
    assert [routes(10**4, 1000, 128), routes(10**4, 10**6, 128)] == ["tiled", "device"]


def test_searches_with_little_work_load_nothing():
    code = (
        "import numpy as np, sys; from detectors.knn import KNN; X = np.random.default_rng(0).normal(size=(500, 64));"
        "KNN(k=2).fit(X).anomaly_score(X + 1); print({'torch', 'numba', 'faiss'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def _worst_products(rows_at_disadvantage):
    """np.matmul with the largest error that float32 sums of any order may have, against the rows that are nearest."""

    def matmul(left, right, out):
        left, right = left.astype(np.float64), right.astype(np.float64)
        error = left.shape[1] * 2.0**-24 * (np.abs(left) @ np.abs(right))
        sign = np.full(error.shape, -1.0)
        np.put_along_axis(sign, rows_at_disadvantage, 1.0, axis=1)
        out[:] = left @ right + sign * error

    return matmul


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("d", [24, 200])
def test_products_with_the_largest_rounding_error_hide_no_near_row(rng, monkeypatch, d, k):
    """Each query has near rows whose distances differ by less than the error, which float64 distances tell apart."""
    take("plain", monkeypatch)
    queries = rng.normal(size=(20, d))
    apart = rng.normal(size=(20, d))
    copies = [queries + (1 + 1e-7 * i) * apart for i in range(k + 1)]
    bank = np.concatenate([*copies, rng.normal(size=(300, d))])
    expected = by_sorting(queries, bank, k, metric="euclidean")
    monkeypatch.setattr(np, "matmul", _worst_products(expected[1]))
    distance, row = nearest(queries, bank, k, metric="euclidean")
    np.testing.assert_array_equal(row, expected[1])
    np.testing.assert_allclose(distance, expected[0], rtol=1e-12)

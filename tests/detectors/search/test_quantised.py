"""8-bit codes: the bound by which rows are skipped holds for every pair of every kind of data."""

import importlib.util

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from plain_neighbours import KINDS, data

from detectors.geometry import unit
from detectors.search import kernels, products
from detectors.search.quantised import CODE_DIMENSIONS, TiledBank, bytes_per_row
from detectors.search.streamed import TopK


def bounds(queries: np.ndarray, bank: TiledBank) -> np.ndarray:
    """Lower bound of the distance of each pair (m, n), in the arithmetic of the search."""
    encoded = bank.encode(queries)
    multiply, dtype = bank.product()
    scale, error, length, half = encoded.terms[:4]
    bound = np.full((len(queries), bank.n), np.nan)
    for tile in bank.tiles:
        offsets, tile_scale, tile_length, tile_error = tile.codes
        products = torch.empty((len(queries), tile.weights.shape[1]), dtype=dtype)
        multiply(encoded.factors, tile.weights, products)
        values = products.numpy().astype(np.float32) * (scale * tile_scale).astype(np.float32)[:, None] + offsets
        slack = error * tile_length + (length + error) * tile_error + kernels.UNDERFLOW
        slack += kernels.ROUNDING * 0.5 * (length + error + tile_length + tile_error) ** 2
        ids = tile.rows[2]
        bound[:, ids] = (half - slack)[:, None] - values[:, : len(ids)].astype(np.float64)
    return bound


def measured(queries: np.ndarray, bank: TiledBank) -> np.ndarray:
    """All distances (m, n), by a top k as long as the bank."""
    top = TopK.empty(len(queries), bank.n)
    top.update(queries, bank)
    distance = np.empty((len(queries), bank.n))
    np.put_along_axis(distance, top.id, top.distance, axis=1)
    return distance


def check_bounds(queries: np.ndarray, rows: np.ndarray, coded: bool) -> np.ndarray:
    bank = TiledBank.of(rows, coded=coded)
    distance, bound = measured(queries, bank), bounds(queries, bank)
    nonzero = queries.any(axis=1)
    assert (bound <= distance)[nonzero].all()
    return (distance - bound)[nonzero]


@pytest.mark.parametrize("coded", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "d"), [(1, 2), (70, 3), (1500, 24), (40, 1000)])
def test_no_distance_is_below_its_bound(rng, kind, n, d, coded):
    rows = data(kind, n, d, rng)
    for queries in (rows[:40], -rows[:40], data("gaussian", 20, d, rng)):
        check_bounds(queries, rows, coded)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [2, 12])
def test_no_distance_is_below_that_of_the_lengths(rng, kind, d):
    rows = data(kind, 3000, d, rng)
    bank = TiledBank.of(rows, coded=True)
    queries = np.concatenate([rows[::300], -rows[::300]])
    distance, length = measured(queries, bank), bank.encode(queries).length
    for query, own in enumerate(length):
        nearest = [distance[query, tile.rows[2]].min() for tile in bank.tiles]
        assert (0.5 * bank.gaps(own, own) ** 2 <= nearest).all()


@pytest.mark.parametrize("kind", ["gaussian", "clustered", "heavy"])
@pytest.mark.parametrize("d", [24, 200, 1000])
def test_no_distance_is_below_its_bound_with_the_largest_rounding_error_of_products(rng, kind, d):
    """A float32 sum of d terms may be wrong by d / 2**24 of their absolute sum; by how much depends on the machine."""
    rows, queries = data(kind, 300, d, rng), data("gaussian", 20, d, rng)
    bank = TiledBank.of(rows, coded=False)

    def smallest(left, right, out):
        left, right = left.double(), right.double()
        out[:] = left @ right - d * 2.0**-24 * (left.abs() @ right.abs())

    object.__setattr__(bank, "product", lambda: (smallest, torch.float32))
    bound = bounds(queries, bank)
    assert (bound <= 0.5 * np.square(unit(queries)[:, None] - unit(rows)).sum(axis=2)).all()


VALUES = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.data(), st.integers(1, 5), st.booleans())
@settings(max_examples=100, deadline=None)
def test_no_distance_is_below_its_bound_for_any_values(drawn, d, coded):
    coded = coded and d in CODE_DIMENSIONS
    rows, queries = (drawn.draw(arrays(np.float32, (n, d), elements=VALUES)) for n in (6, 4))
    check_bounds(queries, rows, coded)


@pytest.mark.parametrize(("kind", "widest"), [("gaussian", 0.03), ("clustered", 0.03), ("alike", 4e-6)])
def test_the_bound_is_narrow(rng, kind, widest):
    """With a bound that is too wide, all distances would be computed."""
    rows = data(kind, 3000, 64, rng)
    assert check_bounds(rows[::100], rows, coded=True).max() < widest


def test_products_of_the_largest_codes_are_exact():
    rows = np.array([[1] * 4096, [-1] * 4096], dtype=np.int8) * np.int8(127)
    out = torch.empty((2, 2), dtype=torch.int32)
    if not products.int8_is_faster():
        pytest.skip("codes are not used on this processor")
    products.int8_product(torch.from_numpy(rows), torch.from_numpy(rows).T, out)
    np.testing.assert_array_equal(out.numpy(), rows.astype(np.int64) @ rows.astype(np.int64).T)


@pytest.mark.parametrize("coded", [True, False])
def test_tiles_hold_every_row_once_as_it_was_given(rng, coded):
    rows = data("gaussian", 2500, 7, rng)
    ids = rng.permutation(9000)[:2500]
    bank = TiledBank.of(rows, ids, coded=coded)
    kept = np.concatenate([tile.rows[2] for tile in bank.tiles])
    assert sorted(kept) == sorted(ids)
    order = np.argsort(ids)
    np.testing.assert_array_equal(np.concatenate([tile.rows[0] for tile in bank.tiles])[np.argsort(kept)], rows[order])
    assert (bank.n, bank.d, len(bank.tiles)) == (2500, 7, 3)


@pytest.mark.parametrize("d", [2, 16, 768])
def test_a_bank_takes_the_memory_it_says(rng, d):
    bank = TiledBank.of(data("gaussian", 4096, d, rng), coded=True)
    taken = sum(tile.weights.numel() + tile.codes[0].nbytes + sum(x.nbytes for x in tile.rows) for tile in bank.tiles)
    assert taken <= 4096 * bytes_per_row(d)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (np.full((2, 3), np.nan, np.float32), "row 0 has a value that is NaN"),
        (np.array([[1.0], [np.inf]]), "row 1 has a value that is NaN or infinite"),
        (np.zeros(3, np.float32), r"a matrix of numbers \(n, d\), got float32 of shape \(3,\)"),
        (np.array([["a"]]), "a matrix of numbers"),
        (np.zeros((2, 2), complex), "a matrix of numbers"),
    ],
)
def test_what_is_no_finite_matrix_is_refused(rows, words):
    with pytest.raises(ValueError, match=words):
        TiledBank.of(rows, coded=False)


@pytest.mark.parametrize("ids", [np.arange(3), np.array([0, -1])])
def test_ids_are_one_per_row_and_not_negative(ids):
    with pytest.raises(ValueError, match="one id of at least 0 for each of 2 rows"):
        TiledBank.of(np.ones((2, 2), np.float32), ids, coded=False)


@pytest.mark.parametrize("d", [1, CODE_DIMENSIONS.stop])
def test_dimensions_for_which_codes_are_not_exact_are_refused(d):
    with pytest.raises(ValueError, match=f"codes need 2 to 133143 dimensions, got {d}"):
        TiledBank.of(np.ones((2, d), np.float32), coded=True)


def test_rows_are_left_as_they_were(rng):
    rows = data("gaussian", 100, 5, rng)
    rows.flags.writeable = False
    before = rows.copy()
    TiledBank.of(rows, coded=True).encode(rows)
    np.testing.assert_array_equal(rows, before)


def test_the_loops_are_compiled_where_no_folder_can_keep_them(monkeypatch):
    from numba.core.caching import CompileResultCacheImpl

    monkeypatch.setattr(CompileResultCacheImpl, "_locator_classes", [])
    spec = importlib.util.spec_from_file_location("kernels_without_cache", kernels.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.first_not_finite(np.array([[1, 2], [np.inf, 0]], np.float32)) == 1

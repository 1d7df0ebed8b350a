"""The streamed top k equals sorting all float64 distances, bit for bit in all_rows configuration."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from plain_neighbours import KINDS, check_nearest, data

from detectors.search.quantised import CODE_DIMENSIONS, TiledBank
from detectors.search.streamed import NO_ROW, TopK, bank_of


def searched(queries, *banks, k=1, exclude=None, threads=1) -> TopK:
    top = TopK.empty(len(queries), k)
    for bank in banks:
        top.update(queries, bank, exclude=exclude, threads=threads)
    return top


@pytest.fixture(params=[True, False], ids=["coded", "plain"])
def coded(request) -> bool:
    return request.param


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("n", "m", "d", "k"), [(60, 300, 1, 3), (1300, 90, 3, 4), (2100, 70, 33, 1), (30, 9, 1500, 30)]
)
def test_equals_sorting(rng, coded, kind, n, m, d, k):
    coded = coded and d in CODE_DIMENSIONS
    bank = data(kind, n, d, rng)
    queries = np.concatenate([bank[: m // 3], -bank[: m // 3], data("gaussian", m - 2 * (m // 3), d, rng)])
    top = searched(queries, TiledBank.of(bank, coded=coded), k=k)
    check_nearest(queries, bank, top.distance, top.id)


VALUES = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, 1.0, -1.0, 3e38, 1e-45])


@given(st.data(), st.integers(1, 4), st.integers(1, 7), st.booleans())
@settings(max_examples=150, deadline=None)
def test_equals_sorting_for_any_values(drawn, d, k, coded):
    coded = coded and d in CODE_DIMENSIONS
    bank, queries = (drawn.draw(arrays(np.float32, (n, d), elements=VALUES)) for n in (7, 4))
    top = searched(queries, TiledBank.of(bank, coded=coded), k=k)
    check_nearest(queries, bank, top.distance, top.id)


@pytest.mark.parametrize("k", [1, 2, 64, 1099, 1100])
def test_k_from_one_to_all_rows(rng, coded, k):
    bank = np.repeat(data("gaussian", 550, 5, rng), 2, axis=0)
    top = searched(bank[:20], TiledBank.of(bank, coded=coded), k=k)
    check_nearest(bank[:20], bank, top.distance, top.id)


@pytest.mark.parametrize("n", [1, 3, 5, 6, 7, 100])
@pytest.mark.parametrize("small", [1e-3, 1e-4, 1e-5])
def test_a_bank_without_spread_is_ordered_by_id(rng, coded, n, small):
    """Its rows differ from their mean only by rounding, which is below the resolution of float32 products."""
    row = np.where(np.arange(12) == 6, 1, small * rng.random(12))
    bank = np.repeat(row[None], n, axis=0).astype(np.float32)
    top = searched(bank[:1], TiledBank.of(bank, np.arange(n)[::-1], coded=coded), k=min(n, 2))
    assert top.id.tolist() == [[0, 1][:n]]
    assert (top.distance == 0).all()


def test_the_excluded_row_is_not_found_and_its_copies_are(rng, coded):
    bank = np.tile(data("clustered", 400, 6, rng), (3, 1))
    own = np.where(np.arange(400) % 4, np.arange(400), -1)
    top = searched(bank[:400], TiledBank.of(bank, coded=coded), k=3, exclude=own)
    check_nearest(bank[:400], bank, top.distance, top.id, exclude=own)
    assert not (top.id == own[:, None]).any()
    assert (top.distance[:, :2] == 0).all()


def test_places_without_a_row_stay_empty(rng, coded):
    bank = TiledBank.of(data("gaussian", 3, 4, rng), coded=coded)
    top = searched(data("gaussian", 2, 4, rng), bank, k=4, exclude=np.array([1, -1]))
    assert (top.id == NO_ROW).sum(axis=1).tolist() == [2, 1]
    assert (np.isinf(top.distance) == (top.id == NO_ROW)).all()


@pytest.mark.parametrize("kind", ["gaussian", "alike", "constant", "zeros", "huge", "tiny"])
def test_blocks_their_order_threads_and_codes_change_no_bit(rng, kind):
    bank, queries = data(kind, 2600, 12, rng), data(kind, 600, 12, rng)
    exclude = rng.integers(-1, 2600, 600)
    whole = searched(queries, bank_of(bank), k=5, exclude=exclude)
    for pieces, threads in ((1, 3), (2, 1), (9, 2), (60, 1)):
        order = rng.permutation(2600)
        parts = [np.sort(part) if pieces % 2 else part for part in np.array_split(order, pieces)]
        coded = [bool(i % 2) for i in range(pieces)]
        blocks = [TiledBank.of(bank[part], part, coded=flag) for part, flag in zip(parts, coded, strict=True)]
        top = searched(queries, *blocks, k=5, exclude=exclude, threads=threads)
        np.testing.assert_array_equal(top.id, whole.id)
        assert top.distance.tobytes() == whole.distance.tobytes()


def test_queries_may_come_one_by_one_or_together(rng, coded):
    bank, queries = TiledBank.of(data("heavy", 1500, 9, rng), coded=coded), data("heavy", 530, 9, rng)
    whole = searched(queries, bank, k=2)
    for step in (1, 255, 257):
        for start in range(0, 530, step if step > 1 else 97):
            part = searched(queries[start : start + step], bank, k=2)
            np.testing.assert_array_equal(part.id, whole.id[start : start + step])
            np.testing.assert_array_equal(part.distance, whole.distance[start : start + step])


def test_distance_is_symmetric_and_zero_between_copies_of_any_length(rng, coded):
    X = data("gaussian", 200, 37, rng)
    all_rows = searched(X, TiledBank.of(X, coded=coded), k=200)
    square = np.empty((200, 200))
    np.put_along_axis(square, all_rows.id, all_rows.distance, axis=1)
    np.testing.assert_array_equal(square, square.T)
    twice = searched(X * np.float32(4), TiledBank.of(X, coded=coded))
    assert (twice.distance == 0).all()
    np.testing.assert_array_equal(twice.id[:, 0], np.arange(200))


def test_near_copies_are_told_apart(rng, coded):
    """Differences at the resolution of float32, which codes and float32 products cannot represent."""
    bank = (1 + 2.0**-20 * rng.integers(-8, 8, size=(3000, 40))).astype(np.float32)
    queries = (1 + 2.0**-20 * rng.integers(-8, 8, size=(50, 40))).astype(np.float32)
    top = searched(queries, TiledBank.of(bank, coded=coded), k=4)
    check_nearest(queries, bank, top.distance, top.id)


def test_an_empty_bank_and_no_queries_change_nothing(rng, coded):
    top = searched(data("gaussian", 3, 4, rng), TiledBank.of(np.zeros((0, 4), np.float32), coded=coded))
    assert (top.id == NO_ROW).all()
    bank = TiledBank.of(data("gaussian", 3, 4, rng), coded=coded)
    assert searched(np.zeros((0, 4), np.float32), bank).id.shape == (0, 1)


def test_wrong_shapes_are_refused(rng):
    bank, queries = bank_of(np.ones((3, 4), np.float32)), np.ones((2, 4), np.float32)
    with pytest.raises(ValueError, match="k=0: expected at least 1 neighbour"):
        TopK.empty(2, 0)
    with pytest.raises(ValueError, match="expected 2 queries of 4 dimensions"):
        searched(np.ones((2, 5), np.float32), bank)
    with pytest.raises(ValueError, match="and 2 excluded ids, got shapes"):
        searched(queries, bank, exclude=np.zeros(3))
    with pytest.raises(ValueError, match="queries: row 1 has a value that is NaN"):
        searched(np.array([[1, 2, 3, 4], [1, np.nan, 3, 4]], np.float32), bank)


def test_queries_are_left_as_they_were(rng, coded):
    queries = data("gaussian", 50, 6, rng)
    queries.flags.writeable = False
    before = queries.copy()
    searched(queries, TiledBank.of(queries, coded=coded))
    np.testing.assert_array_equal(queries, before)


def test_torch_threads_are_restored_after_a_search(rng):
    import torch

    before = torch.get_num_threads()
    searched(np.ones((2, 4), np.float32), bank_of(np.ones((3, 4), np.float32)))
    assert torch.get_num_threads() == before


def test_tiles_whose_lengths_differ_too_much_are_skipped(rng, monkeypatch):
    """Rows near one direction and rows all around it: the search for neighbours of the former skips the latter."""
    near = rng.standard_normal((3000, 16)) * 1e-3 + np.eye(16)[0]
    rows = np.concatenate([near, rng.standard_normal((3000, 16))]).astype(np.float32)
    bank = TiledBank.of(rows, coded=False)
    pieces = [TiledBank.of(rows[at], at, coded=True) for at in np.split(np.arange(6000), 12)]
    expected = searched(rows[:100], *pieces, exclude=np.arange(100))
    multiplied = []
    multiply, dtype = bank.product()
    counting = (lambda *factors: multiplied.append(1) or multiply(*factors), dtype)
    monkeypatch.setattr(TiledBank, "product", lambda self: counting)
    top = searched(rows[:100], bank, exclude=np.arange(100))
    assert 0 < len(multiplied) < len(bank.tiles)
    np.testing.assert_array_equal(top.id, expected.id)


def test_codes_are_left_where_they_do_not_separate_the_rows(rng, monkeypatch):
    """In two narrow clusters that are far apart, all distances within a cluster are smaller than a code is precise."""
    monkeypatch.setattr("detectors.search.streamed.int8_is_faster", lambda: True)
    gaussian = data("gaussian", 5000, 32, rng)
    narrow = (gaussian[::500][rng.integers(0, 2, 5000)] + 1e-4 * gaussian).astype(np.float32)
    assert not bank_of(narrow).coded
    assert bank_of(gaussian).coded
    assert bank_of(narrow, coded=True).coded
    assert not bank_of(gaussian[:, :1]).coded

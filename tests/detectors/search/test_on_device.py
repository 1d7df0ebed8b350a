"""A search with products on a device gives the result of the CPU, bit for bit."""

import numpy as np
import pytest
import torch
from plain_neighbours import KINDS, check_nearest, data

from detectors.search import on_device
from detectors.search.on_device import DeviceBank
from detectors.search.quantised import TiledBank
from detectors.search.streamed import TopK

NO_EXCLUDED = np.full(70, -1)


def device_top_k(bank, queries, k, exclude, threads=1) -> TopK:
    top = TopK.empty(len(queries), k)
    bank.update(top, queries, exclude, threads)
    return top


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "d", "k"), [(6, 1, 2), (900, 5, 3), (2500, 40, 1)])
def test_equals_the_processor(rng, monkeypatch, kind, n, d, k):
    monkeypatch.setattr(on_device, "COLUMNS", 700)
    monkeypatch.setattr(on_device, "QUERIES", 50)
    rows = data(kind, n, d, rng)
    queries = np.concatenate([rows[:3], data("gaussian", 67, d, rng)])
    exclude = np.concatenate([np.arange(3), np.full(67, -1)])
    top = device_top_k(DeviceBank(rows, device="cpu"), queries, k, exclude, threads=2)
    expected = TopK.empty(70, k)
    expected.update(queries, TiledBank.of(rows, coded=False), exclude=exclude)
    np.testing.assert_array_equal(top.id, expected.id)
    np.testing.assert_array_equal(top.distance, expected.distance)


def test_queries_with_incomplete_lists_are_searched_again(rng, monkeypatch):
    """With more equal rows than places on a list, the rows with the lowest ids may be missing."""
    rows = data("copies", 3000, 8, rng)
    searches = []
    update = TopK.update
    monkeypatch.setattr(TopK, "update", lambda self, *args, **more: searches.append(1) or update(self, *args, **more))
    top = device_top_k(DeviceBank(rows, device="cpu"), rows[:70], 2, NO_EXCLUDED)
    assert searches
    check_nearest(rows[:70], rows, top.distance, top.id)


def test_complete_lists_need_no_second_search(rng, monkeypatch):
    rows = data("gaussian", 3000, 64, rng)
    monkeypatch.setattr(TopK, "update", None)
    queries = data("gaussian", 70, 64, rng)
    top = device_top_k(DeviceBank(rows, device="cpu"), queries, 3, NO_EXCLUDED)
    check_nearest(queries, rows, top.distance, top.id)


def test_rounded_factors_widen_the_bound(rng):
    """Factors of eleven bits, as in TF32, give the same rows, because the bound is wider."""
    rows, queries = data("clustered", 3000, 64, rng), data("gaussian", 70, 64, rng)
    bank = DeviceBank(rows, device="cpu")
    bank.tf32 = True
    bank.error += bank._tf32_error(bank.length)
    bank.weights = (bank.weights * 2**-3).to(torch.float16).float() * 2**3  # also eleven bits
    top = device_top_k(bank, queries, 2, NO_EXCLUDED)
    check_nearest(queries, rows, top.distance, top.id)


@pytest.mark.gpu
def test_a_gpu_finds_what_the_processor_finds(rng):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    for kind in KINDS:
        rows, queries = data(kind, 20_000, 48, rng), data("gaussian", 70, 48, rng)
        top, expected = device_top_k(DeviceBank(rows), queries, 4, NO_EXCLUDED), TopK.empty(70, 4)
        expected.update(queries, TiledBank.of(rows, coded=False))
        np.testing.assert_array_equal(top.id, expected.id)
        np.testing.assert_array_equal(top.distance, expected.distance)

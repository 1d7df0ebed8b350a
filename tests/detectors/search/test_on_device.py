"""Lists made with products on a device are those of the processor, to the bit."""

import numpy as np
import pytest
import torch
from plain_neighbours import KINDS, check_nearest, data

from detectors.search import on_device
from detectors.search.on_device import DeviceBank
from detectors.search.quantised import TiledBank
from detectors.search.streamed import TopK

NO_EXCLUDED = np.full(70, -1)


def listed(bank, queries, k, exclude, threads=1) -> TopK:
    found = TopK.empty(len(queries), k)
    bank.update(found, queries, exclude, threads)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "d", "k"), [(6, 1, 2), (900, 5, 3), (2500, 40, 1)])
def test_equals_the_processor(rng, monkeypatch, kind, n, d, k):
    monkeypatch.setattr(on_device, "COLUMNS", 700)
    monkeypatch.setattr(on_device, "QUERIES", 50)
    rows = data(kind, n, d, rng)
    queries = np.concatenate([rows[:3], data("gaussian", 67, d, rng)])
    exclude = np.concatenate([np.arange(3), np.full(67, -1)])
    found = listed(DeviceBank(rows, device="cpu"), queries, k, exclude, threads=2)
    expected = TopK.empty(70, k)
    expected.update(queries, TiledBank.of(rows, coded=False), exclude=exclude)
    np.testing.assert_array_equal(found.id, expected.id)
    np.testing.assert_array_equal(found.distance, expected.distance)


def test_lists_that_end_too_early_are_searched_again(rng, monkeypatch):
    """More equal rows than a list has places: those of the lowest ids need not be on it."""
    rows = data("copies", 3000, 8, rng)
    again = []
    update = TopK.update
    monkeypatch.setattr(TopK, "update", lambda self, *args, **more: again.append(1) or update(self, *args, **more))
    found = listed(DeviceBank(rows, device="cpu"), rows[:70], 2, NO_EXCLUDED)
    assert again
    check_nearest(rows[:70], rows, found.distance, found.id)


def test_lists_are_trusted_where_rows_lie_apart(rng, monkeypatch):
    rows = data("gaussian", 3000, 64, rng)
    monkeypatch.setattr(TopK, "update", None)
    queries = data("gaussian", 70, 64, rng)
    found = listed(DeviceBank(rows, device="cpu"), queries, 3, NO_EXCLUDED)
    check_nearest(queries, rows, found.distance, found.id)


def test_what_is_cut_off_factors_is_allowed_for(rng):
    """As TF32 does: factors of eleven bits find the same rows, since the bound is wider."""
    rows, queries = data("clustered", 3000, 64, rng), data("gaussian", 70, 64, rng)
    bank = DeviceBank(rows, device="cpu")
    bank.tf32 = True
    bank.error += bank._tf32_error(bank.length)
    bank.weights = (bank.weights * 2**-3).to(torch.float16).float() * 2**3  # also eleven bits
    found = listed(bank, queries, 2, NO_EXCLUDED)
    check_nearest(queries, rows, found.distance, found.id)


@pytest.mark.gpu
def test_a_gpu_finds_what_the_processor_finds(rng):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    for kind in KINDS:
        rows, queries = data(kind, 20_000, 48, rng), data("gaussian", 70, 48, rng)
        found, expected = listed(DeviceBank(rows), queries, 4, NO_EXCLUDED), TopK.empty(70, 4)
        expected.update(queries, TiledBank.of(rows, coded=False))
        np.testing.assert_array_equal(found.id, expected.id)
        np.testing.assert_array_equal(found.distance, expected.distance)

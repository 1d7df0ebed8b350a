"""The limit of a network that is built: counted by hand, and without effect on its weights."""

import pytest
import torch
from torch import nn

from embedders.build_limit import BuildLimit, TooLargeError


def test_values_and_tensors_are_counted():
    with BuildLimit(values=8, tensors=2):  # 3 * 2 weights and 2 biases
        nn.Linear(3, 2)
    for limit in (BuildLimit(values=7, tensors=2), BuildLimit(values=8, tensors=1)):
        with pytest.raises(TooLargeError, match=r"more than \d values or \d tensors"), limit:
            nn.Linear(3, 2)


@pytest.mark.parametrize("make", [torch.empty, torch.zeros, torch.ones, torch.randn, lambda n: torch.full((n, n), 1.0)])
def test_memory_is_not_taken(make):
    with pytest.raises(TooLargeError), BuildLimit():
        make(10**15)


def test_an_identity_has_the_square_of_its_rows():
    with pytest.raises(TooLargeError), BuildLimit():
        torch.eye(10**6)
    with BuildLimit(values=6):
        assert torch.eye(2, 3).shape == (2, 3)


def test_weights_are_those_without_a_limit():
    torch.manual_seed(0)
    plain = nn.Linear(5, 4).weight
    torch.manual_seed(0)
    with BuildLimit():
        limited = nn.Linear(5, 4).weight
    torch.testing.assert_close(limited, plain, rtol=0, atol=0)


def test_a_limit_counts_anew_each_time():
    limit = BuildLimit(values=8, tensors=2)
    for _ in range(2):
        with limit:
            nn.Linear(3, 2)

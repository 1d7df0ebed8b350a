"""Tokens to views: values by hand, symmetries, and attention that equals plain statistics at first."""

import pytest
import torch

from embedders.pretrained.frozen import windows
from embedders.pretrained.pooling import POOLINGS, AttentiveStatistics

TOKENS = torch.tensor([[[1.0], [10.0]], [[3.0], [30.0]]])[None]  # 1 clip, 2 times, 2 bands, 1 value


def test_by_hand():
    pooled = {name: pooling.pool(TOKENS)[0, :, 0].tolist() for name, pooling in POOLINGS.items()}
    assert pooled["mean"] == [11.0]
    assert pooled["bands"] == [2.0, 20.0]
    assert POOLINGS["flat"].pool(TOKENS)[0, 0].tolist() == [2.0, 20.0]
    assert pooled["stats"] == pytest.approx([11.0, (100 + 1 + 64 + 361) ** 0.5 / 2])


@pytest.mark.parametrize("name", POOLINGS)
def test_views_are_named_and_time_has_no_order(name):
    tokens = torch.randn(2, 3, 7, 4, 5)  # clips, layers, times, bands, values
    pooled = POOLINGS[name].pool(tokens)
    views = POOLINGS[name].views(4)
    assert pooled.shape == (2, 3, len(views), POOLINGS[name].width(4, 5))
    assert len(set(views)) == len(views)
    torch.testing.assert_close(POOLINGS[name].pool(tokens.flip(2)), pooled)


def test_flat_has_all_values_of_the_lowest_band_first():
    tokens = torch.randn(2, 7, 4, 5)
    assert torch.equal(POOLINGS["flat"].pool(tokens)[:, 0], POOLINGS["bands"].pool(tokens).flatten(1))


def test_equal_attention_gives_plain_statistics():
    pool = AttentiveStatistics(4, hidden=3)
    torch.nn.init.zeros_(pool.attention[2].weight)
    torch.nn.init.zeros_(pool.attention[2].bias)
    tokens = torch.randn(2, 9, 4)
    expected = torch.cat([tokens.mean(1), tokens.std(1, correction=0)], dim=1)
    torch.testing.assert_close(pool(tokens), expected)


def test_attention_can_select_a_token():
    pool = AttentiveStatistics(1, hidden=1)
    with torch.no_grad():
        for parameter in pool.parameters():
            parameter.zero_()
        pool.attention[0].weight[0, 0] = 1.0
        pool.attention[2].weight[0, 0] = 100.0
    tokens = torch.tensor([[[0.0], [0.0], [5.0]]])
    assert pool(tokens)[0, 0].item() == pytest.approx(5.0)


def test_gradients_of_constant_tokens_are_finite():
    tokens = torch.ones(1, 5, 4, requires_grad=True)
    AttentiveStatistics(4)(tokens).sum().backward()
    assert torch.isfinite(tokens.grad).all()


@pytest.mark.parametrize(("n", "longest", "starts"), [(10, 10, [0]), (11, 10, [0, 1]), (25, 10, [0, 8, 15])])
def test_windows_cover_everything(n, longest, starts):
    parts = windows(torch.arange(float(n))[None], longest)
    assert [int(part[0, 0]) for part in parts] == starts
    assert {len(part[0]) for part in parts} == {min(n, longest)}
    assert set(torch.cat(parts, dim=1)[0].tolist()) == set(range(n))

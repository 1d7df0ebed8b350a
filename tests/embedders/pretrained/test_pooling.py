"""Tokens to views: values by hand, symmetries, and attention that equals plain statistics at first."""

from functools import partial

import pytest
import torch
from small_models import save_beats

from embedders import create
from embedders.pretrained.frozen import windows
from embedders.pretrained.pooling import POOLINGS, AttentiveStatistics, pooling_of, pooling_text
from embedders.statistics.emphasis import gem, rdp

TOKENS = torch.tensor([[[1.0], [10.0]], [[3.0], [30.0]]])[None]  # 1 clip, 2 times, 2 bands, 1 value


def test_by_hand():
    pooled = {name: pooling.pool(TOKENS)[0, :, 0].tolist() for name, pooling in POOLINGS.items()}
    assert pooled["mean"] == [11.0]
    assert pooled["bands"] == [2.0, 20.0]
    assert POOLINGS["flat"].pool(TOKENS)[0, 0].tolist() == [2.0, 20.0]
    assert pooled["rdp"] == [2.0, 20.0], "two frames are as far from their mean"
    assert pooled["gem"] == pytest.approx([14 ** (1 / 3), 14 ** (1 / 3) * 10])
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


def test_rdp_and_gem_pool_every_band_apart():
    tokens = torch.randn(2, 3, 7, 4, 5)
    for name, pool in (("rdp:gamma=2", partial(rdp, gamma=2)), ("gem:p=5", partial(gem, p=5))):
        pooled = pooling_of(name).pool(tokens)
        for band in range(4):
            torch.testing.assert_close(pooled[..., band, :], pool(tokens[..., band, :]))


def test_texts_of_one_pooling_are_one_text():
    assert {pooling_text(text) for text in ("rdp", "rdp:gamma=4", "rdp:gamma=4.0")} == {"rdp:gamma=4.0"}
    assert [pooling_text(text) for text in ("mean", "bands", "stats")] == ["mean", "bands", "stats"]
    assert pooling_text("gem:p=2.5") == "gem:p=2.5"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rpd", r"unknown pool 'rpd'; choose from mean, bands, flat, stats, rdp, gem; did you mean rdp\?"),
        ("mean:gamma=1", "pool 'mean:gamma=1': mean has no options, got gamma; write pool=mean"),
        ("rdp:p=3", "unknown parameter of pool rdp: 'p'; choose from gamma"),
        ("rdp:gamma=four", "pool 'rdp:gamma=four': gamma=four: expected float"),
        ("rdp:gamma=-1", "pool 'rdp:gamma=-1': expected gamma of at least 0, and finite"),
        ("rdp:gamma=inf", "expected gamma of at least 0, and finite"),
        ("gem:p=0.5", "expected p of at least 1, and finite"),
        ("gem:p=nan", "expected p of at least 1, and finite"),
        ("gem:", "expected key=value after the colon"),
    ],
)
def test_texts_that_do_not_fit_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        pooling_of(text)


def test_an_encoder_takes_the_pooling_with_its_option(tmp_path, rng):
    path = save_beats(tmp_path / "tiny.pt")
    spec = f"beats:checkpoint={path},pool="
    encoders = {text: create(spec + text) for text in ("bands", "rdp", "rdp:gamma=4", "rdp:gamma=0,layers=1;3")}
    assert encoders["rdp"].views == encoders["bands"].views == tuple(f"b{i}" for i in range(8))
    assert encoders["rdp"].config["pool"] == "rdp:gamma=4.0"
    assert (
        encoders["rdp"].fingerprint == encoders["rdp:gamma=4"].fingerprint != create(spec + "rdp:gamma=3").fingerprint
    )
    assert encoders["rdp:gamma=0,layers=1;3"].views[:9:8] == ("l1.b0", "l3.b0")
    waves = rng.normal(size=(1, 16000)).astype("float32")
    flat, plain = encoders["rdp:gamma=0,layers=1;3"].embed(waves), create(spec + "bands,layers=1;3").embed(waves)
    torch.testing.assert_close(torch.from_numpy(flat), torch.from_numpy(plain))


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
    for name in ("rdp", "gem"):
        for value in (0.0, 1.0, -1.0):
            tokens = torch.full((1, 5, 1, 4), value, requires_grad=True)
            pooling_of(name).pool(tokens).sum().backward()
            assert torch.isfinite(tokens.grad).all()


@pytest.mark.parametrize(("n", "longest", "starts"), [(10, 10, [0]), (11, 10, [0, 1]), (25, 10, [0, 8, 15])])
def test_windows_cover_everything(n, longest, starts):
    parts = windows(torch.arange(float(n))[None], longest)
    assert [int(part[0, 0]) for part in parts] == starts
    assert {len(part[0]) for part in parts} == {min(n, longest)}
    assert set(torch.cat(parts, dim=1)[0].tolist()) == set(range(n))

"""Attentive neural process: tiles by hand, what a target sees, the second pass, sizes."""

import pytest
import torch
from small_networks import save_network, small_model

from embedders import create
from embedders.networks.frames import SPREAD_DB, patches, scaled
from embedders.networks.reconstruction.anp import ANPConfig, ANPNet

SMALL = {"n_mels": 4, "frames": 6, "step": 6, "tile_mels": 2, "tile_frames": 3, "width": 8, "heads": 2, "folds": 2}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return ANPNet(ANPConfig(**SMALL)).eval()


def test_size():
    network = ANPNet(ANPConfig())
    width, values, places = 128, 64, 12
    query = places * width + width + width * width + width
    attention = 4 * (width * width + width)
    encode = (values + places) * width + width + width * width + width
    layer = attention + 2 * (2 * width * width) + 3 * width + 4 * width
    decode = 3 * width * width + width + width * 2 * values + 2 * values
    by_hand = query + encode + layer + attention + decode
    assert sum(parameter.numel() for parameter in network.parameters()) == by_hand == 308_864


def test_tiles_by_hand(network):
    S = torch.arange(24.0).view(1, 4, 6)  # (batch, mel, frame)
    tiles = network.cut(S)
    assert tiles.shape == (1, 4, 6)
    expected = [S[0, r : r + 2, c : c + 3].flatten() for r in (0, 2) for c in (0, 3)]
    torch.testing.assert_close(tiles[0], scaled(torch.stack(expected)))
    torch.testing.assert_close(network.join(tiles), scaled(S).transpose(1, 2))


def test_targets_see_the_context_and_not_each_other(network):
    tiles, order = torch.randn(1, 4, 6), torch.tensor([[2, 0, 3, 1]])
    mean, nll = network.predict(tiles, order)
    assert mean.shape == nll.shape == (1, 2, 6)
    moved = tiles.clone()
    moved[:, [2, 0]] += 1
    other, other_nll = network.predict(moved, order)
    torch.testing.assert_close(other, mean)
    assert (other_nll - nll).abs().min() > 0
    for tile in (3, 1):
        moved = tiles.clone()
        moved[:, tile] += 1
        assert (network.predict(moved, order)[0] - mean).abs().max() > 1e-3
    swapped, _ = network.predict(tiles, torch.tensor([[2, 0, 1, 3]]))
    torch.testing.assert_close(swapped, mean)  # a context has no order


def test_every_tile_is_a_target_of_one_fold(network):
    orders = network.orders(3)
    assert [order.shape for order in orders] == [(3, 4)] * 2
    assert sorted(int(tile) for order in orders for tile in order[0, :2]) == [0, 1, 2, 3]
    assert all(sorted(order[2].tolist()) == [0, 1, 2, 3] for order in orders)


def test_the_worst_tiles_are_predicted_again_without_each_other(network):
    S = -40 + 20 * torch.randn(1, 4, 12)
    tiles = network.cut(S)
    with torch.no_grad():
        residual = network(S)
        first, errors = torch.empty_like(tiles), torch.empty(2, 4)
        for order in network.orders(2):
            mean, nll = network.predict(tiles, order)
            for row in range(2):
                first[row, order[row, :2]] = mean[row]
                errors[row, order[row, :2]] = nll[row].mean(1)
        for row in range(2):
            order = errors[row].argsort(descending=True)[None]
            first[row, order[0, :2]] = network.predict(tiles[row : row + 1], order)[0][0]
    expected = SPREAD_DB * network.join(first - tiles).reshape(1, 12, 4)
    torch.testing.assert_close(residual, expected)


def test_held_out_loss_has_no_chance_and_training_has(network):
    S = -40 + 20 * torch.randn(2, 4, 12)
    assert network.surprise(S) == network.surprise(S)
    network.train()
    assert len({float(network.surprise(S).detach()) for _ in range(8)}) > 1
    torch.manual_seed(1)
    loss = network.surprise(S)
    torch.manual_seed(1)
    assert network.surprise(S) == loss


@pytest.mark.parametrize("seconds", [0.2, 1, 3])
def test_every_block_has_a_residual_per_frame(seconds):
    _, config, model = small_model("anp")
    features = model.network.front(0.1 * torch.randn(2, round(seconds * 16000)))
    n = patches(features[0], config.frames, config.step, last=True).shape[1]
    assert model.network(*features).shape == (2, n * config.frames, config.n_mels)


def test_embedding_twice_is_equal(tmp_path):
    embedder = create(f"anp={save_network('anp', tmp_path)}")
    waves = torch.randn(2, 20000).numpy()
    assert (embedder.embed(waves) == embedder.embed(waves)).all()
    assert embedder.views == ("residual", "squared", "weighted")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tile_mels": 3}, "expected tiles that divide a block"),
        ({"tile_frames": 0}, "expected tiles that divide a block"),
        ({"folds": 3}, "at least 2 folds that divide the 64 tiles"),
        ({"folds": 1}, "at least 2 folds"),
        ({"heads": 3}, "heads that divide the width"),
    ],
)
def test_wrong_configs_say_why(changes, message):
    with pytest.raises(ValueError, match=message):
        ANPConfig(**changes)

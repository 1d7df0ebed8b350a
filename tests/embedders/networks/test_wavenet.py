"""SW-WaveNet: size and a layer by hand, how far a layer sees, one extractor per channel."""

import math

import pytest
import torch
from small_networks import small_model

from embedders.networks.classifiers.wavenet import GatedLayer, SWWaveNetConfig, SWWaveNetwork, WaveNet


def n_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_size_by_hand():
    first = 2 * 128 + 128 * 64 + 64
    layer = (3 * 64 * 128 + 128) + (64 * 128 + 128)
    last = 2 * 64 + (64 * 64 + 64) + 2 * 64 + (128 * 64 + 64)
    tgram = 280_406
    assert n_parameters(SWWaveNetwork(SWWaveNetConfig())) == tgram + 2 * (first + 10 * layer + last) == 983_254


def test_a_layer_by_hand():
    layer = GatedLayer(1, dilation=2)
    for parameter in layer.parameters():
        parameter.data.zero_()
    layer.dilated.weight.data[0, 0] = torch.tensor([1.0, 0.0, 2.0])  # content: two frames before, twice two after
    layer.dilated.bias.data[1] = 1.0  # gate
    layer.outputs.weight.data[:, 0, 0] = torch.tensor([3.0, 5.0])
    x = torch.tensor([[[0.1, 0.2, 0.3, 0.4, 0.5]]])
    product = torch.tanh(torch.tensor([0.6, 0.8, 0.1 + 1.0, 0.2, 0.3])) / (1 + math.exp(-1))
    following, skip = layer(x)
    torch.testing.assert_close(following[0, 0], x[0, 0] + 3 * product)
    torch.testing.assert_close(skip[0, 0], 5 * product)


def test_a_frame_reaches_the_dilations_of_all_layers():
    torch.manual_seed(0)
    net = WaveNet(SWWaveNetConfig(width=4, layers=3, stacks=2), bands=2, dim=2).eval()
    x = torch.randn(1, 2, 61)
    moved = x.clone()
    moved[:, :, 30] += 1

    def output(x):
        x, total = net.first(x), 0
        for layer in net.layers:
            x, skip = layer(x)
            total = total + skip
        return total

    reached = (output(moved) - output(x)).abs().amax(dim=(0, 1)).nonzero().flatten()
    assert (int(reached.min()), int(reached.max())) == (30 - 2 * 7, 30 + 2 * 7)


@pytest.mark.parametrize("seconds", [1, 3])
def test_each_channel_has_an_extractor_of_its_own(seconds):
    _, _, model = small_model("sw_wavenet")
    torch.manual_seed(0)
    waves, other = torch.randn(2, 2, seconds * 16000)
    S = model.network.front(waves)[1]
    z, changed = model.network(waves, S), model.network(other, S)
    assert z.shape == (2, 2, 64)
    torch.testing.assert_close(changed[:, 0], z[:, 0], rtol=0, atol=0)  # the log-mel is the same
    assert (changed[:, 1] - z[:, 1]).abs().max() > 1e-3


def test_as_many_branches_as_channels():
    config = SWWaveNetConfig(channels=("logmel", "tgram", "tfgram"), dim=96)
    assert (config.branches, config.branch_dim) == (3, 32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "width=0, layers=5, stacks=2: expected at least 1 of each"),
        ({"layers": 17}, "at most 16 layers"),
        ({"dim": 65}, "dim=65: expected a multiple of 2, the number of branches"),
    ],
)
def test_wrong_configs_say_why(changes, message):
    with pytest.raises(ValueError, match=message):
        SWWaveNetConfig(**changes)

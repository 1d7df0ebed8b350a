"""FTE-Net: sizes and excitations by hand, places of chunks, what it shares with two_branch, any length."""

import pytest
import torch
from small_networks import small_model

from embedders.networks.classifiers.fte_net import (
    FREQUENCY,
    TIME,
    AxisExcitation,
    ChunkEncoder,
    FTEBranch,
    FTENetConfig,
    FTENetwork,
)
from embedders.networks.classifiers.spectrum import Excitation, SpectrumBranch, TwoBranchConfig
from embedders.networks.classifiers.two_branch import SpectrogramBranch


def n_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_size_by_hand():
    config = FTENetConfig()
    chunks = 8 * (16 * 4) + 8 * (4 * 16)
    first_layers = 16 * 49  # of two_branch; both have a batch norm of 16 channels
    weights = 0
    for height, frames in ((65, 40), (33, 20), (17, 10), (9, 5)):  # halves of 129 and 79 chunks
        weights += 2 * 2 * (height * max(4, height // 4) + frames * max(4, frames // 4))
    plain = n_parameters(SpectrogramBranch(TwoBranchConfig(), 1024))
    assert n_parameters(FTEBranch(config, 1024)) == plain - first_layers + chunks + weights
    shared = n_parameters(SpectrumBranch(config))
    assert n_parameters(FTENetwork(config)) == shared + n_parameters(FTEBranch(config, 1024)) == 2_449_282


@pytest.mark.parametrize(("bins", "frames"), [(513, 313), (512, 312), (100, 3), (33, 17), (16, 1)])
def test_both_kinds_of_chunks_stand_at_the_same_places(bins, frames):
    config = FTENetConfig(chunk_bins=16, chunk_frames=8)
    S = torch.randn(2, 1, bins, frames)
    encoder = ChunkEncoder(config)
    assert encoder.frequency(S).shape == encoder.time(S).shape == (2, 8, bins // 4 + 1, frames // 2 + 1)


def test_chunks_are_long_in_one_axis_each():
    encoder = ChunkEncoder(FTENetConfig())
    impulse = torch.zeros(1, 1, 64, 64)
    impulse[0, 0, 32, 32] = 1
    extent = {}
    for name in ("frequency", "time"):
        reached = getattr(encoder, name)(impulse).abs().sum(dim=(0, 1)).nonzero()
        extent[name] = tuple((reached.amax(dim=0) - reached.amin(dim=0) + 1).tolist())
    assert extent == {"frequency": (4, 1), "time": (1, 4)}


def test_an_axis_is_weighted_by_hand():
    x = torch.arange(8.0).view(1, 2, 2, 2)  # averages along frequency 2.5 and 4.5, along time 3 and 4
    for axis, means in ((FREQUENCY, [2.5, 4.5]), (TIME, [3.0, 4.0])):
        layer = AxisExcitation(2, axis, ratio=2)
        layer.squeeze.weight.data = torch.tensor([[0.1, 0.2]])
        layer.excite.weight.data = torch.tensor([[1.0], [-1.0]])
        squeezed = 0.1 * means[0] + 0.2 * means[1]
        weight = torch.sigmoid(torch.tensor([squeezed, -squeezed]))
        shape = [1, 1, 1, 1]
        shape[axis] = 2
        torch.testing.assert_close(layer(x), x * weight.view(shape))


@pytest.mark.parametrize(("size", "units"), [(3, 4), (5, 4), (17, 4), (40, 10)])
def test_an_excitation_has_at_least_four_hidden_units(size, units):
    assert AxisExcitation(size, TIME).squeeze.out_features == units


def test_other_lengths_are_interpolated():
    layer = AxisExcitation(2, TIME, ratio=2)
    layer.squeeze.weight.data = torch.tensor([[1.0, 0.0]])
    layer.excite.weight.data = torch.tensor([[0.0], [2.0]])
    x = torch.tensor([1.0, 3.0, 5.0, 7.0]).view(1, 1, 1, 4)  # two places: 2 and 6
    early, late = 0.5, float(torch.sigmoid(torch.tensor(2.0 * 2)))
    weight = torch.tensor([early, 0.75 * early + 0.25 * late, 0.25 * early + 0.75 * late, late])
    torch.testing.assert_close(layer(x), x * weight)


def test_excitation_along_channels_is_an_option():
    def plain_ones(**changes):
        return sum(type(m) is Excitation for m in FTENetwork(FTENetConfig(**changes)).modules())

    assert plain_ones() == 0
    assert plain_ones(excitation=True) == 3 + 8  # after each convolution of the spectrum, in each residual block


@pytest.mark.parametrize("samples", [1024, 16000, 40000])
def test_shapes_at_several_lengths(samples):
    _, _, model = small_model("fte_net")
    z = model.network(*model.network.front(torch.randn(2, samples)))
    assert z.shape == (2, 2, 128)
    assert torch.isfinite(z).all()


def test_no_bias_anywhere_but_in_normalisation():
    layers = [m for m in FTENetwork(FTENetConfig()).modules() if hasattr(m, "bias")]
    assert all(m.bias is None or isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in layers)


@pytest.mark.parametrize("changes", [{"chunk_bins": 12}, {"chunk_frames": 0}, {"chunk_frames": -8}])
def test_wrong_configs_say_why(changes):
    with pytest.raises(ValueError, match=rf"{next(iter(changes))}=-?\d+: expected a multiple of 8"):
        FTENetConfig(**changes)

"""Two-branch networks: sizes by hand, features by numpy, any length, squeeze-and-excitation."""

import numpy as np
import pytest
import torch
from small_networks import small_model

from embedders.networks.classifiers.spectrum import Excitation, SpectrumBranch, TwoBranchConfig
from embedders.networks.classifiers.two_branch import MultiResConfig, SpectrogramBranch
from embedders.networks.classifiers.two_branch import TwoBranchNet as Net


def n_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_size_of_the_spectrum_branch_by_hand():
    convolutions = 256 * 128 + 64 * 128 * 128 + 16 * 128 * 128
    places = 10  # 80,000 bins / 64 / 32 / 4, padded by half a kernel: 1251, 40, 11
    assert (
        n_parameters(SpectrumBranch(TwoBranchConfig()))
        == convolutions + 128 * (places + 1) * 128 + 4 * 128**2 + 4 * 256
    )


def test_size_of_the_spectrogram_branch_by_hand():
    stem, blocks, width = 16 * 49 + 32, 0, 16
    for out in (16, 32, 64, 128):
        blocks += 2 * width + 9 * width * out + 2 * out + 9 * out**2 + width * out  # the one that halves
        blocks += 2 * (2 * out + 9 * out**2)
        width = out
    flat = 128 * 9  # 513 bins: 257, 129, 65, 33, 17, 9
    assert n_parameters(SpectrogramBranch(TwoBranchConfig(), 1024)) == 2 * 513 + stem + blocks + 2 * flat + flat * 128


def test_no_bias_anywhere_but_in_normalisation():
    layers = [m for m in Net(TwoBranchConfig(excitation=True)).modules() if hasattr(m, "bias")]
    assert all(m.bias is None or isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in layers)


def test_features_are_magnitudes():
    net = Net(TwoBranchConfig(seconds=1.0))
    waves = torch.randn(2, 16000)
    spectrum, S = net.front(waves)
    np.testing.assert_allclose(spectrum, np.abs(np.fft.rfft(waves.numpy()))[:, :8000], rtol=1e-3, atol=1e-3)
    assert S.shape == (2, 513, 32)
    torch.testing.assert_close(S.mean(dim=2), torch.zeros(2, 513), atol=1e-4, rtol=0)
    assert Net(MultiResConfig(seconds=1.0)).front(waves)[1].shape == (2, 129 - 3, 126)  # from 187.5 Hz, bin 3


@pytest.mark.parametrize("seconds", [1, 2, 4])
def test_a_tone_stays_at_its_bin_at_any_length(seconds):
    t = torch.arange(seconds * 16000) / 16000
    spectrum, _ = Net(TwoBranchConfig(seconds=2.0)).front(torch.sin(2 * torch.pi * 1000 * t)[None])
    assert spectrum.shape == (1, 16000)
    assert abs(int(spectrum.argmax()) - 2000) <= 1


@pytest.mark.parametrize(("name", "branches"), [("two_branch", 2), ("multires", 3)])
def test_shapes_at_two_lengths(name, branches):
    _, _, model = small_model(name)
    for samples in (16000, 40000):
        assert model.network(*model.network.front(torch.randn(2, samples))).shape == (2, branches, 128)


def test_excitation_by_hand():
    layer = Excitation(2, ratio=2)
    layer.squeeze.weight.data = torch.tensor([[1.0, 1.0]])
    layer.excite.weight.data = torch.tensor([[1.0], [-1.0]])
    x = torch.tensor([[[1.0, 3.0], [0.0, 2.0]]])  # means 2 and 1
    gate = torch.sigmoid(torch.tensor([3.0, -3.0]))
    torch.testing.assert_close(layer(x), x * gate[None, :, None])


def test_wrong_configs_say_why():
    with pytest.raises(ValueError, match="expected windows of at least 64 samples"):
        TwoBranchConfig(windows=())
    with pytest.raises(ValueError, match=r"expected seconds of at least one window \(1024 samples\)"):
        TwoBranchConfig(seconds=0.01)

"""STgram networks: published sizes, clips of any length, heads and configs."""

import numpy as np
import pytest
import torch
from small_networks import save_network, small_model
from torch.nn import functional as F

from embedders import create
from embedders.networks.classifiers.gated_channels import TAgram
from embedders.networks.classifiers.mobilefacenet import MobileFaceNet, StretchedKernel
from embedders.networks.classifiers.stgram import STgramConfig, STgramNet
from embedders.networks.classifiers.wave_channels import TFgram, Tgram

UNUSED_CLASSIFIER = 128 * 41 + 41
"""Parameters of a linear layer for 41 classes in the published networks; it is never used and ours has none."""

ARCFACE = 128 * 41


def n_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_published_sizes_of_parts():
    config = STgramConfig()
    assert config.frames == 313
    assert n_parameters(Tgram(config)) == 280_406
    assert n_parameters(TFgram(config)) == 198_720
    assert n_parameters(TAgram(config)) == 0
    for table, expected in (("2021", 1_064_681), ("slim", 875_625)):
        assert n_parameters(MobileFaceNet(2, bottlenecks=table, mels=128, frames=313)) + UNUSED_CLASSIFIER == expected
    assert n_parameters(STgramNet(STgramConfig(head="perturbation")).head) == 16_960
    assert n_parameters(STgramNet(STgramConfig(head="projector")).head) == 128 * 128 + 256


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"bottlenecks": "2021"}, 1_350_335),
        ({}, 1_161_279),
        ({"channels": ("tgram", "logmel", "tagram"), "n_fft": 2048}, 1_161_855),
        ({"channels": ("logmel", "tgram", "tfgram"), "n_fft": 2048, "head": "perturbation"}, 1_377_535),
    ],
)
def test_published_sizes_of_whole_networks(changes, expected):
    assert n_parameters(STgramNet(STgramConfig(**changes))) + UNUSED_CLASSIFIER + ARCFACE == expected


def test_stretched_kernel_is_a_depthwise_convolution_and_keeps_a_constant_sound():
    kernel = StretchedKernel(3, 2, 5).eval()
    x = torch.randn(4, 3, 2, 5)
    plain = F.conv2d(x, kernel.weight[:, None], groups=3).flatten(1)
    torch.testing.assert_close(kernel(x), kernel.norm(plain))
    constant = torch.ones(1, 3, 2, 1)
    short, long = kernel(constant.expand(1, 3, 2, 5)), kernel(constant.expand(1, 3, 2, 10))
    torch.testing.assert_close(long, short, rtol=1e-5, atol=1e-5)


def test_perturbation_head_gives_unit_vectors():
    _, _, model = small_model("stgram", head="perturbation")
    z = model.network(*model.network.front(torch.randn(3, 32000)))
    torch.testing.assert_close(z.norm(dim=2), torch.ones(3, 1))


def test_posterior_is_of_sections(tmp_path):
    path = save_network("stgram", tmp_path)
    embedder = create(f"stgram:checkpoint={path},output=posterior")
    vectors = embedder.embed(np.random.default_rng(0).normal(size=(4, 32000)).astype(np.float32))
    assert vectors.shape == (4, 3)
    np.testing.assert_allclose(np.exp(vectors).sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": ("logmel", "x")}, "channels=logmel;x: expected distinct names from logmel"),
        ({"bottlenecks": "x"}, "unknown bottlenecks 'x'; choose from 2021, slim"),
        ({"head": "x"}, "unknown head 'x'"),
        ({"center": False}, "use center=true"),
        ({"encoder": "wav2vec2=x"}, "the channel `encoder` and the setting encoder .* need each other"),
        ({"channels": ("logmel", "encoder")}, "give both or neither"),
    ],
)
def test_wrong_configs_say_why(changes, message):
    with pytest.raises(ValueError, match=message):
        STgramConfig(**changes)

"""MobileNetV2: published sizes, patches by hand, any length."""

import pytest
import torch
from small_networks import save_network, small_model

from embedders import create
from embedders.networks.classifiers.mobilenetv2 import MobileNetV2Config, MobileNetV2Net, channels, trunk
from embedders.networks.frames import patches, scaled


def n_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_published_sizes():
    """Parameter counts of common implementations: full width with 1,000 classes, half width without a classifier."""
    assert n_parameters(trunk(1.0)) + 1280 * 1000 + 1000 == 3_504_872
    assert n_parameters(MobileNetV2Net(MobileNetV2Config())) == 687_680
    assert MobileNetV2Config().dim == MobileNetV2Config(factor=0.1).dim == 1280
    assert MobileNetV2Config(factor=1.5).dim == 1920


def test_widths_are_multiples_of_eight_that_lose_at_most_a_tenth():
    assert [channels(width, 0.5) for width in (16, 24, 32, 64, 96, 160, 320)] == [8, 16, 16, 32, 48, 80, 160]
    assert channels(24, 0.8) == 24  # 19.2 rounds to 16, which is less than 17.28
    assert all(channels(32, f / 100) % 8 == 0 and channels(32, f / 100) >= 0.9 * 32 * f / 100 for f in range(1, 200))


def test_the_map_has_a_32nd_of_the_image_size():
    assert trunk(0.1)(torch.zeros(2, 3, 128, 64)).shape == (2, 1280, 4, 2)


def test_patches_overlap_and_short_clips_are_repeated():
    S = torch.arange(22.0).view(1, 2, 11)
    parts = patches(S, 4, 3)[0]
    torch.testing.assert_close(parts, torch.stack([S[0, :, i : i + 4] for i in (0, 3, 6)]))
    short = patches(S[:, :, :3], 4, 3)
    assert short.tolist() == [[[[0, 1, 2, 0], [11, 12, 13, 11]]]]


@pytest.mark.parametrize("seconds", [1, 3])
def test_an_embedding_is_the_mean_over_patches(seconds):
    _, config, model = small_model("mobilenetv2")
    features = model.network.front(0.1 * torch.randn(2, seconds * 16000))
    z = model.network(*features)
    assert z.shape == (2, 1, 1280)
    S = scaled(features[0])
    images = [S[:, :, i : i + config.patch] for i in range(0, S.shape[2] - config.patch + 1, config.step)]
    plain = torch.stack([model.network.trunk(p[:, None].repeat(1, 3, 1, 1)).mean((2, 3)) for p in images])
    torch.testing.assert_close(z[:, 0], plain.mean(0), rtol=1e-4, atol=1e-5)


def test_published_patches_of_ten_seconds():
    config = MobileNetV2Config()
    for seconds, n_patches in ((10, 32), (2.016, 1)):
        (S,) = MobileNetV2Net(config).front(torch.zeros(1, round(seconds * 16000)))
        assert patches(S, config.patch, config.step).shape == (1, n_patches, 128, 64)


def test_posterior_is_of_sections(tmp_path):
    embedder = create(f"mobilenetv2:checkpoint={save_network('mobilenetv2', tmp_path)},output=posterior")
    assert embedder.shape == (3,)


@pytest.mark.parametrize("changes", [{"patch": 0}, {"step": 0}, {"factor": 0.0}, {"factor": 5.0}])
def test_wrong_configs_say_why(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        MobileNetV2Config(**changes)

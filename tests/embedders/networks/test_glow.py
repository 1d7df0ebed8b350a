"""Glow: log determinants against autograd, the inverse by hand, the margin, sizes."""

import pytest
import torch
from small_networks import small_model
from torch.distributions import Normal

from embedders.networks.density.glow import Flow, GlowConfig, GlowNet
from embedders.networks.frames import patches, scaled


def shaken(module, by=0.3):
    """Random parameters in place of those at the start, where couplings are the identity."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += by * torch.randn_like(parameter)
    return module


def test_size():
    network = GlowNet(GlowConfig())
    by_hand = 0
    for channels in (4, 16, 64):
        half = channels // 2
        enter = (9 * half * 64 + 64) + (16 * 64 + 64)
        leave = (64 * 64 + 64) + (9 * 64 * channels + channels)
        by_hand += 4 * (2 * channels + channels**2 + enter + leave)
    assert sum(parameter.numel() for parameter in network.parameters()) == by_hand == 372_528


def test_log_determinants_are_those_of_the_jacobian():
    network = shaken(GlowNet(GlowConfig(n_mels=4, patch=4, levels=2, flows=2, width=5, code=3))).double()
    code = torch.randn(1, 3, dtype=torch.float64)
    x = torch.randn(16, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda v: network.latent(v.view(1, 1, 4, 4), code)[0][0], x)
    _, log_determinant = network.latent(x.view(1, 1, 4, 4), code)
    torch.testing.assert_close(log_determinant[0], torch.linalg.slogdet(jacobian).logabsdet, rtol=1e-4, atol=1e-4)
    assert log_determinant.abs().max() > 0.5


def test_a_flow_is_inverted_by_its_own_parts():
    flow = shaken(Flow(8, 5, 3))
    x, code = torch.randn(2, 8, 3, 4), torch.randn(2, 3)
    with torch.no_grad():
        y, _ = flow(x, code)
        kept, changed = y.chunk(2, dim=1)
        log_scale, shift = flow.coupling(kept, code)
        mixed = torch.cat([kept, (changed - shift) * (-log_scale).exp()], dim=1)
        turned = torch.einsum("ij,njhw->nihw", flow.rotation.inverse(), mixed)
        again = turned * (-flow.log_scale.exp().log())[:, None, None].exp() - flow.shift[:, None, None]
    torch.testing.assert_close(again, x, rtol=1e-3, atol=1e-4)
    assert (y - x).abs().max() > 0.5


def test_scales_of_couplings_are_bounded():
    flow = shaken(Flow(8, 5, 3))
    with torch.no_grad():
        log_scale, _ = flow.coupling(1e6 * torch.randn(2, 4, 3, 4), torch.randn(2, 3))
    assert float(log_scale.abs().max()) <= 2


def test_a_new_flow_is_a_unit_gaussian():
    config = GlowConfig(n_mels=8, patch=8, step=4, levels=2, width=5)
    network = GlowNet(config)
    S = -40 + 20 * torch.randn(2, 8, 20)
    x = patches(scaled(S), 8, 4).flatten(1)
    expected = -Normal(0, 1).log_prob(x).mean(1, keepdim=True)
    with torch.no_grad():
        torch.testing.assert_close(network(S, torch.randn(2, 16)), expected, rtol=1e-5, atol=1e-5)


def test_the_code_changes_the_likelihood():
    network = shaken(GlowNet(GlowConfig(n_mels=8, patch=8, levels=1, flows=1, width=5, code=3)))
    S = -40 + 20 * torch.randn(1, 8, 8)
    assert (network(S, torch.ones(1, 3)) - network(S, -torch.ones(1, 3))).abs() > 1e-3


def test_a_wrong_section_is_penalised_up_to_the_margin():
    network = GlowNet(GlowConfig(margin=0.5))
    own, wrong = torch.tensor([[1.0], [1.0], [1.0]]), torch.tensor([[1.2], [1.6], [0.0]])
    torch.testing.assert_close(network.repel(own, wrong), torch.tensor([0.3, 0.0, 1.5]))


@pytest.mark.parametrize("seconds", [1, 3])
def test_a_clip_is_the_mean_over_its_patches(seconds):
    _, config, model = small_model("glow")
    shaken(model.network, 0.05)
    features = model.network.front(0.1 * torch.randn(2, seconds * 16000))
    with torch.no_grad():
        vectors = model.vectors(features, "embedding")
        assert vectors.shape == (2, 3)
        parts = patches(features[0], config.patch, config.step, last=True)[0]
        alone = [model.vectors((part[None],), "embedding")[0] for part in parts]
    torch.testing.assert_close(vectors[0], torch.stack(alone).mean(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch": 12}, r"multiples of 2 \*\* levels"),
        ({"levels": 0}, "at least 1 level"),
        ({"flows": 0}, "flows=0"),
        ({"margin": -1.0}, "margin=-1: expected 0 or more"),
    ],
)
def test_wrong_configs_say_why(changes, message):
    with pytest.raises(ValueError, match=message):
        GlowConfig(**changes)

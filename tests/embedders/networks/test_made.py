"""Group MADE: masks, a likelihood by hand, densities that integrate to 1, views."""

import math

import pytest
import torch
from small_networks import small_model
from torch.nn import functional as F

from embedders.networks.density.made import MADEConfig, MADENet
from embedders.networks.frames import LEAST_STD


def normal(x, mean, spread):
    std = LEAST_STD + math.log1p(math.exp(spread))
    return 0.5 * ((x - mean) / std) ** 2 + math.log(std) + 0.5 * math.log(2 * math.pi)


def toy(**changes):
    """Two values in two groups: one mel, two frames."""
    return MADENet(MADEConfig(**{"n_mels": 1, "bands": 1, "context": 2, "width": 3, "depth": 1} | changes))


def test_size():
    network = MADENet(MADEConfig())
    by_hand = (640 * 512 + 512) + (512 * 512 + 512) + (512 * 1280 + 1280)
    assert sum(parameter.numel() for parameter in network.parameters()) == by_hand == 1_247_488


def test_outputs_depend_on_earlier_groups_only():
    torch.manual_seed(0)
    config = MADEConfig(n_mels=4, bands=2, context=3, width=40, depth=2, mixtures=2)
    network = MADENet(config)
    depends = torch.zeros(12, 12, dtype=torch.bool)
    for x in torch.randn(20, 12):
        jacobian = torch.autograd.functional.jacobian(network.layers, x)
        depends |= jacobian.view(12, network.outputs, 12).abs().sum(dim=1) > 0
    group = torch.arange(12) // 2
    assert depends.tolist() == (group[:, None] > group).tolist()


def test_every_hidden_unit_sees_something_and_is_seen():
    layers = MADENet(MADEConfig(n_mels=4, bands=2, context=3, width=7, depth=3)).layers
    masks = [layer.mask for layer in layers if hasattr(layer, "mask")]
    assert all(mask.any(dim=1).all() for mask in masks[:-1])
    assert all(mask.any(dim=0).all() for mask in masks[1:])


def test_the_likelihood_of_two_values_by_hand():
    network = toy()
    x0, x1 = 0.7, -0.4
    first, last = network.layers[0], network.layers[2]
    with torch.no_grad():
        first.weight[:] = torch.tensor([[1.0, 99.0], [-2.0, 99.0], [0.5, 99.0]])  # 99: masked
        first.bias[:] = torch.tensor([0.1, 1.0, -1.0])
        last.weight[:] = torch.tensor([[99.0] * 3, [99.0] * 3, [1.0, 2.0, 3.0], [-0.5, 1.0, 1.0]])
        last.bias[:] = torch.tensor([0.2, -0.3, 0.4, 0.6])
        nll = network.nll(torch.tensor([[x0, x1]]))[0].tolist()
    hidden = x0 + 0.1  # the others are below 0
    expected = [normal(x0, 0.2, -0.3), normal(x1, hidden + 0.4, -0.5 * hidden + 0.6)]
    assert nll == pytest.approx(expected, rel=1e-5)


def test_a_mixture_by_hand():
    network = toy(mixtures=2)
    with torch.no_grad():
        network.layers[2].bias[:5] = torch.tensor([0.5, -1.0, 0.3, 0.1, 0.7])  # means, spreads, weight of the second
        nll = float(network.nll(torch.tensor([[0.2, 0.0]]))[0, 0])
    share = math.exp(0.7) / (1 + math.exp(0.7))
    p = (1 - share) * math.exp(-normal(0.2, 0.5, 0.3)) + share * math.exp(-normal(0.2, -1.0, 0.1))
    assert nll == pytest.approx(-math.log(p), rel=1e-5)


@pytest.mark.parametrize("mixtures", [1, 3])
@pytest.mark.parametrize("value", [0, 1])
def test_densities_integrate_to_one(mixtures, value):
    torch.manual_seed(1)
    network = toy(mixtures=mixtures)
    grid = torch.linspace(-30, 30, 60001)
    x = torch.full((len(grid), 2), 0.3)  # the other value stays
    x[:, value] = grid
    with torch.no_grad():
        density = (-network.nll(x)[:, value]).exp().double()
    assert float(torch.trapezoid(density, grid.double())) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("seconds", [1, 3])
def test_views_are_means_over_frames(seconds):
    _, config, model = small_model("made")
    features = model.network.front(0.1 * torch.randn(2, seconds * 16000))
    nll = model.network(*features)
    positions = seconds * 16000 // 512 + 1 - 4
    assert nll.shape == (2, positions * 5, config.n_mels)
    views = model.vectors(features, "embedding")
    torch.testing.assert_close(views[:, 0].mean(1), nll.mean((1, 2)))
    torch.testing.assert_close(model.objective(features, None, None), nll.mean())
    ordered = nll.mean(2).sort(dim=1, descending=True).values
    weight = 0.99 ** torch.arange(ordered.shape[1])
    torch.testing.assert_close(views[:, 1].mean(1), (ordered * weight).sum(1) / weight.sum(), rtol=1e-4, atol=1e-5)


def test_a_loud_frame_is_unlikely_in_its_band():
    model = small_model("made")[2]
    (S,) = model.network.front(0.1 * torch.randn(1, 16000))
    louder = S.clone()
    louder[:, 3, 10] += 60
    change = (model.vectors((louder,), "embedding") - model.vectors((S,), "embedding"))[0, 0]
    assert int(change.argmax()) == 3
    assert change[3] > 0


def test_the_smallest_deviation_is_bounded():
    network = toy()
    with torch.no_grad():
        network.layers[2].bias[:] = torch.tensor([0.0, -1e4, 0.0, -1e4])
        nll = network.nll(torch.zeros(1, 2))
    assert float(nll[0, 0]) == pytest.approx(math.log(LEAST_STD) + 0.5 * math.log(2 * math.pi), rel=1e-5)
    assert F.softplus(torch.tensor(-1e4)) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bands": 5}, "bands that divide n_mels=128"),
        ({"mixtures": 0}, "mixtures=0: expected at least 1"),
        ({"context": 1, "bands": 128}, "expected two groups or more; reduce bands"),
    ],
)
def test_wrong_configs_say_why(changes, message):
    with pytest.raises(ValueError, match=message):
        MADEConfig(**changes)

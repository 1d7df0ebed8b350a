"""Adapters are zero at first, are all that is trained, and learn."""

import numpy as np
import pytest
import torch
from small_models import beats_checkpoint, save_encoder

from embedders import create
from embedders.pretrained.beats import build_network
from embedders.pretrained.beats_network import BEATsNetwork
from embedders.pretrained.lora import LowRank, add_lora, is_pointwise
from embedders.pretrained.pooling import AttentiveStatistics
from embedders.pretrained.weight_files import Checkpoint


def adapters(network: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The weights of all adapters."""
    return [
        parameter for module in network.modules() if isinstance(module, LowRank) for parameter in module.parameters()
    ]


@pytest.fixture
def network() -> BEATsNetwork:
    checkpoint = beats_checkpoint()
    return build_network(Checkpoint(checkpoint["model"], {"cfg": checkpoint["cfg"]}))


@pytest.fixture(scope="module")
def waves() -> torch.Tensor:
    """Eight clips of two kinds: a hum of 300 Hz or of 1 kHz in noise."""
    random = torch.Generator().manual_seed(0)
    t = torch.arange(6000) / 16000
    hums = [torch.sin(2 * torch.pi * (300, 1000)[i % 2] * t) for i in range(8)]
    return torch.stack(hums) * 0.02 + 0.05 * torch.randn(8, 6000, generator=random)


def test_an_adapter_by_hand():
    low = LowRank(torch.zeros(2, 3), rank=1, alpha=4.0)
    with torch.no_grad():
        low.up.copy_(torch.tensor([[1.0], [2.0]]))
        low.down.copy_(torch.tensor([[1.0, 0.0, 5.0]]))
    assert low(torch.ones(2, 3)).tolist() == [[5.0, 1.0, 21.0], [9.0, 1.0, 41.0]]


def test_a_pointwise_convolution_is_adapted_as_a_linear_layer():
    """Groups and larger kernels are not; the rank is at most the smaller side, and the scale is that of this rank."""
    torch.manual_seed(0)
    convolutions = [torch.nn.Conv2d(3, 2, 1), torch.nn.Conv2d(2, 4, 3), torch.nn.Conv2d(4, 4, 1, groups=4)]
    network = torch.nn.Sequential(*convolutions)
    x, weight = torch.randn(2, 3, 5, 5), convolutions[0].weight.detach().clone()
    assert [is_pointwise(module) for module in network] == [True, False, False]
    assert add_lora(network, ["0"], rank=64) == ["0"]
    low = network.get_submodule("0.parametrizations.weight.0")
    assert (low.down.shape, low.up.shape, low.scale) == ((2, 3), (2, 2), 1.0)
    with torch.no_grad():
        low.up.normal_()
        added = weight[:, :, 0, 0] + low.up @ low.down
        expected = torch.einsum("oi,bihw->bohw", added, x) + convolutions[0].bias[:, None, None]
        torch.testing.assert_close(network[0](x), expected)
    assert network[0].weight.shape == (2, 3, 1, 1)
    with pytest.raises(ValueError, match=r"no linear layer is called 1; choose from 0"):
        add_lora(network, ["1"])


def test_outputs_are_equal_at_first_and_only_adapters_are_trained(network, waves):
    with torch.no_grad():
        before = network(waves)[-1]
        names = add_lora(network, rank=2)
        torch.testing.assert_close(network(waves)[-1], before)
    assert names == [f"encoder.layers.{i}.self_attn.{kind}_proj" for i in range(3) for kind in "vq"]
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    assert sum(p.numel() for p in trained) == 6 * 2 * (16 + 16)
    assert {id(p) for p in trained} == {id(p) for p in adapters(network)}


def fit(network: BEATsNetwork, waves: torch.Tensor, steps: int = 40) -> list[float]:
    """Losses of classifying the two hums, with attentive statistics and a linear head."""
    torch.manual_seed(0)
    head = torch.nn.Sequential(AttentiveStatistics(16, hidden=8), torch.nn.Linear(32, 2))
    for parameter in head.parameters():
        parameter.requires_grad_(False)  # the head stays random, so that only the adapters learn
    optimizer = torch.optim.AdamW(adapters(network), lr=0.03)
    losses = []
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(head(network(waves)[-1]), torch.arange(8) % 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_adapters_learn_and_other_weights_do_not_change(network, waves):
    add_lora(network, rank=4)
    frozen = {name: p.clone() for name, p in network.named_parameters() if not p.requires_grad}
    losses = fit(network, waves)
    assert losses[-1] < 0.6 * losses[0]
    assert all(torch.equal(p, frozen[name]) for name, p in network.named_parameters() if name in frozen)


def test_works_where_attention_reads_weights_without_calling(tmp_path):
    """WavLM passes the weights of its projections to a function."""
    encoder = create(f"wavlm={save_encoder(tmp_path, 'wavlm')}")
    noise = np.random.default_rng(0).normal(size=(2, 4000)).astype(np.float32)
    before = encoder.embed(noise)
    add_lora(encoder.model.network, rank=2)
    np.testing.assert_allclose(encoder.embed(noise), before, atol=1e-6)
    with torch.no_grad():
        for parameter in adapters(encoder.model.network):
            parameter.add_(1.0)
    assert np.abs(encoder.embed(noise) - before).max() > 1e-3


def test_mistakes_are_named(network):
    with pytest.raises(ValueError, match=r"no linear layer is called query; choose from fc1, fc2, grep_linear"):
        add_lora(network, ("query",))
    with pytest.raises(ValueError, match="rank must be at least 1"):
        add_lora(network, rank=0)
    add_lora(network, rank=1)
    with pytest.raises(ValueError, match="already has adapters"):
        add_lora(network, rank=1)

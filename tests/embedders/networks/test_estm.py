"""ESTM: size by hand, what each branch reads; and all networks with branches of their own learn."""

import pytest
import torch
from small_networks import small_model
from training_plant import quick_setup, write_plant

from embedders import create
from embedders.networks.classifiers.estm import ESTMConfig, ESTMNetwork
from embedders.networks.classifiers.selective_scan import Mamba
from embedders.training.train import train


def n_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_size_by_hand():
    width, inner, rank, state = 64, 128, 4, 16
    conv, select, step = 4 * inner + inner, inner * (rank + 2 * state), rank * inner + inner
    layer = width + width * 2 * inner + conv + select + step + inner * state + inner + inner * width
    ends = width + width + 2 * width * 64 + 64  # bias of the input, norm, output
    inputs = 2 * 128 * width + 2 * 64 * width  # two channels of 128 bands, or of 64 segments
    tgram, tsgram, norm = 280_406, 4, 2 * 256
    assert n_parameters(ESTMNetwork(ESTMConfig())) == tgram + tsgram + norm + inputs + 2 * (2 * layer + ends) == 453_082


@pytest.mark.parametrize("seconds", [1, 3])
def test_shapes_at_two_lengths(seconds):
    _, _, model = small_model("estm")
    assert model.network(*model.network.front(torch.randn(2, seconds * 16000))).shape == (2, 2, 64)


def branches(S):
    _, _, model = small_model("estm", channels=("logmel", "tsgram"))
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, Mamba):  # at the start of a training the states contribute little
                layer.select.weight *= 10
                layer.output.weight *= 10
                layer.step.bias += 3
        return model.network(torch.empty(0), S).unbind(dim=1)


def test_bands_are_read_as_means_over_segments():
    torch.manual_seed(0)
    S = 20 * torch.randn(2, 32, 48) - 40  # 16 segments of 3 frames
    over_time, over_bands = branches(S)
    slower_time, slower_bands = branches(S.repeat_interleave(2, dim=2))
    torch.testing.assert_close(slower_bands, over_bands, rtol=1e-4, atol=1e-5)
    assert (slower_time - over_time).abs().max() > 1e-3


def test_both_branches_depend_on_the_order_of_what_they_scan():
    torch.manual_seed(0)
    S = 20 * torch.randn(2, 32, 48) - 40
    for branch, axis in ((0, 2), (1, 1)):
        assert (branches(S.flip(axis))[branch] - branches(S)[branch]).abs().max() > 1e-3


@pytest.mark.parametrize("key", ["width", "state", "layers", "segments"])
def test_wrong_configs_say_why(key):
    with pytest.raises(ValueError, match=f"{key}=0.*expected at least 1 of each"):
        ESTMConfig(**{key: 0})


@pytest.mark.parametrize("name", ["sw_wavenet", "fte_net", "estm"])
def test_learns_machines_and_sections(tmp_path, name):
    chosen = quick_setup(name, "labels=section", "epochs=4")
    trained = train(tmp_path, write_plant(tmp_path), chosen, tmp_path / "a.safetensors")
    history = trained.facts["history"]
    assert history[-1]["loss"] < 0.6 * history[0]["loss"]
    assert create(f"{name}:checkpoint={tmp_path / 'a.safetensors'},output=posterior").shape == (4,)

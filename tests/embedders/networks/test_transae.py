"""TransAE: published size, input and prediction, the ID constraint by hand."""

import math

import pytest
import torch
from small_networks import CLASSES, LOSS, small_model
from torch.nn import functional as F

from embedders import create
from embedders.networks.frames import SPREAD_DB
from embedders.networks.reconstruction.transae import Constrained, TransAEConfig, TransAENet


def n_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_published_size():
    network = TransAENet(TransAEConfig())
    assert round(n_parameters(network) / 1e6, 3) == 0.894
    layer = 4 * (128 * 128 + 128) + (128 * 512 + 512) + (512 * 128 + 128) + 4 * 128
    place = 513 * 128 + 128 + 128 * 128 + 128 + 4 * 4
    assert n_parameters(network) == 4 * layer + place + (128 * 8 + 8) + (8 * 128 + 128) + (128 * 128 + 128)
    ids = 41
    assert n_parameters(Constrained(network, 128, ("",) * ids, {}).classifier) == 8 * 8 + 8 + 2 * 8 + 8 * ids + ids


@pytest.mark.parametrize("seconds", [1, 3])
def test_one_residual_for_every_frame_with_neighbours_on_both_sides(seconds):
    _, _, model = small_model("transae")
    S, phase = model.network.front(torch.randn(2, seconds * 16000))
    frames = seconds * 16000 // 512 + 1
    assert S.shape == (2, 32, frames)
    assert phase.shape == (2, 513, frames)
    assert model.network(S, phase).shape == (2, frames - 4, 32)


def test_does_not_see_the_middle_frame_but_all_others():
    _, _, model = small_model("transae")
    S, phase = torch.randn(1, 32, 5) - 40, torch.randn(1, 513, 5)
    plain = model.network(S, phase)
    moved = S.clone()
    moved[:, :, 2] += 7
    torch.testing.assert_close(model.network(moved, phase), plain - 7)
    for frame in (0, 1, 3, 4):
        for x in (S, phase):
            x[:, :, frame] += 1
            assert (model.network(S, phase) - plain).abs().max() > 1e-3
            x[:, :, frame] -= 1


def test_the_phase_has_the_frames_of_the_log_mel():
    _, config, model = small_model("transae")
    n = torch.arange(16000)
    tone = torch.cos(2 * math.pi * 32 * n / config.n_fft + 0.5)  # bin 32, and a whole number of turns per hop
    _, phase = model.network.front(tone[None])
    inner = phase[0, 32, 2:-2]
    at_window_start = torch.full_like(inner, 0.5)  # half a window of padding is 16 turns
    torch.testing.assert_close(inner, at_window_start, rtol=0, atol=1e-3)


def test_objective_is_error_plus_weighted_cross_entropy():
    _, _, model = small_model("transae", id_weight=0.5)
    features = model.network.front(0.1 * torch.randn(3, 16000))
    target = torch.tensor([[1.0, 0, 0], [0, 0.3, 0.7], [0, 0, 1]])
    code = model.network.encode(*features)
    log_p = F.log_softmax(model.logits(code), dim=1).view(3, -1, 3)
    surprise = -(target[:, None] * log_p).sum(dim=2).mean()
    error = (model.network(*features) / SPREAD_DB).square().mean()
    torch.testing.assert_close(model.objective(features, target, target.argmax(1)), error + 0.5 * surprise)
    assert surprise > 0.5
    free = Constrained(small_model("transae", id_weight=0.0)[2].network, 32, CLASSES, LOSS).eval()
    alone = (free.network(*features) / SPREAD_DB).square().mean()
    torch.testing.assert_close(free.objective(features, target, target.argmax(1)), alone)


def test_bottlenecks_are_pooled_by_mean_plus_maximum():
    _, _, model = small_model("transae")
    code = torch.randn(4, 4, 8)
    torch.testing.assert_close(model.logits(code), model.classifier(code.mean(1) + code.max(1).values))


def test_checkpoints_hold_the_classifier(tmp_path):
    from small_networks import save_network

    embedder = create(f"transae={save_network('transae', tmp_path)}")
    assert embedder.model.classifier[3].out_features == len(CLASSES)
    assert embedder.shape == (3, 32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 3}, "heads that divide n_mels=128"),
        ({"depth": 0}, "depth=0"),
        ({"context": 4}, "expected an odd context"),
        ({"id_weight": -1.0}, "id_weight=-1"),
    ],
)
def test_wrong_configs_say_why(changes, message):
    with pytest.raises(ValueError, match=message):
        TransAEConfig(**changes)

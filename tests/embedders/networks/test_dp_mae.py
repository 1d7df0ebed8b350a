"""DP-MAE: size, patches, what each path sees, both terms of its loss by hand, and long recordings in parts."""

import pytest
import torch
from small_networks import small_model
from training_plant import quick_setup, write_plant

from embedders.networks.frames import scaled
from embedders.networks.reconstruction.dp_mae import DPMAEConfig, DPMAENet, dual_loss
from embedders.networks.reconstruction.patch_transformer import grid
from embedders.training.train import train

pytestmark = pytest.mark.usefixtures("unsynced")


def n_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def network(**changes):
    return small_model("dp_mae", **changes)[2].network


@pytest.mark.parametrize(("encoders", "stated"), [(1, 2_096_512), (2, 3_925_696)])
def test_size_by_hand(encoders, stated):
    def layers(dim, depth):
        return depth * (4 * (dim * dim + dim) + 2 * 4 * dim * dim + 5 * dim + 4 * dim) + 2 * dim

    area, dim, inner = 256, 192, 96
    encoder = area * dim + dim + layers(dim, 4)
    decoder = dim * inner + inner + inner + layers(inner, 2) + inner * area + area
    size = n_parameters(DPMAENet(DPMAEConfig(shared=encoders == 1)))
    assert size == encoders * encoder + decoder == stated


@pytest.mark.parametrize("seconds", [1, 3])
def test_two_lengths(seconds):
    model = network()
    (S,) = model.front(0.1 * torch.randn(2, seconds * 16000))
    frames = seconds * 16000 // 512 + 1
    assert S.shape == (2, 32, frames)
    assert model.tokens(S).shape == (2, 2 * -(-frames // 16), 256)
    assert model(S).shape == (2, 1, 16)
    assert torch.isfinite(model.own_loss(S))


def test_the_last_patches_end_with_the_clip_and_are_not_pre_trained():
    model, S = network(), torch.randn(1, 32, 50)
    plain, x = model.tokens(S, last=False), model.tokens(S)
    torch.testing.assert_close(x[:, :6], plain)
    assert plain.shape[1] == 6
    for row in range(2):
        torch.testing.assert_close(x[0, 6 + row], scaled(S)[0, 16 * row : 16 * row + 16, -16:].flatten())
    moved = S.clone()
    moved[:, :, 48:] += 20
    losses = [model.own_loss(s, torch.Generator().manual_seed(0)) for s in (S, moved)]
    assert losses[0] == losses[1]


def test_a_clip_of_the_training_length_is_encoded_at_once():
    model = network(seconds=2.0)  # 63 frames, four columns of patches of which the last ones overlap
    assert model.config.columns == 4
    S = torch.randn(1, 32, 63)
    tokens = model.encoders[0](model.tokens(S), grid(4, 2, 16))
    torch.testing.assert_close(model(S), tokens.mean(dim=1, keepdim=True))


def test_patches_are_blocks_of_the_log_mel_in_the_order_of_their_places():
    model, S = network(), torch.randn(1, 32, 50)
    x, places = model.tokens(S), grid(3, 2, 8)
    for column in range(3):
        for row in range(2):
            block = scaled(S)[0, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
            assert torch.equal(x[0, 2 * column + row], block.flatten())
            expected = [torch.tensor([float(n), n * 0.01]) for n in (column, row)]
            by_hand = torch.cat([torch.cat([angle.sin(), angle.cos()]) for angle in expected])
            torch.testing.assert_close(places[2 * column + row], by_hand)


def test_a_path_sees_its_own_patches_only_and_depends_on_all_of_them():
    model, x = network(), torch.randn(1, 6, 256)
    seen = torch.tensor([[4, 0, 3]])
    plain = model.path(0, x, seen)
    for patch in range(6):
        moved = x.clone()
        moved[0, patch] += torch.randn(256)
        assert torch.equal(model.path(0, moved, seen), plain) == (patch not in seen[0])
    torch.testing.assert_close(model.path(0, x, torch.tensor([[0, 3, 4]])), plain)  # their order is not seen
    assert torch.equal(model.path(1, x, seen), plain)  # one encoder for both paths
    two = network(shared=False)
    assert not torch.equal(two.path(0, x, seen), two.path(1, x, seen))


def test_both_terms_by_hand():
    x = torch.tensor([[[1.0], [2.0], [3.0]]])
    first, second = torch.tensor([[[1.5], [9.0], [5.0]]]), torch.tensor([[[0.0], [2.5], [7.0]]])
    first.requires_grad_(), second.requires_grad_()
    error, distance = dual_loss(first, second, x, torch.tensor([[True, False, True]]))
    assert float(error.detach()) == pytest.approx((0.5**2 + 0.5**2 + 2**2) / 3)
    assert float(distance.detach()) == pytest.approx(2 * (1.5**2 + 6.5**2 + 2**2) / 3)
    (gradient,) = torch.autograd.grad(distance, first)
    torch.testing.assert_close(gradient, 2 * (first - second).detach() / 3)  # once: the other target has no gradient


def test_the_loss_splits_by_its_generator_and_weighs_the_distance():
    model, S = network(distill=0.25), torch.randn(2, 32, 64) * 20 - 40
    values = [float(model.own_loss(S, torch.Generator().manual_seed(seed)).detach()) for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]
    x = model.tokens(S)
    order = torch.rand(2, 8, generator=torch.Generator().manual_seed(0)).argsort(1)
    outputs = [model.path(i, x, order[:, 4 * i : 4 * i + 4]) for i in range(2)]
    unseen = torch.ones(2, 8, dtype=torch.bool).scatter(1, order[:, :4], False)
    error, distance = dual_loss(*outputs, x, unseen)
    assert values[0] == pytest.approx(float((error + 0.25 * distance).detach()))


def test_long_recordings_are_encoded_in_parts():
    model = network(seconds=1.0)  # 32 frames, two columns of patches
    S = torch.randn(1, 32, 80)
    parts = [model(S[:, :, start:stop]) for start, stop in ((0, 32), (32, 64), (64, 80))]
    torch.testing.assert_close(model(S), (2 * parts[0] + 2 * parts[1] + parts[2]) / 5)


def test_pre_training_lowers_its_own_loss_and_the_classifier_starts_from_it(tmp_path):
    clips = write_plant(tmp_path)
    before = ("pretrain.loss=own", "pretrain.epochs=6", "pretrain.learning_rate=0.003")
    setup = quick_setup("dp_mae", "loss=cross_entropy", "labels=section", "epochs=4", "warmup=2", *before)
    trained = train(tmp_path, clips, setup, tmp_path / "a.safetensors")
    own = [entry["held_out"] for entry in trained.facts["pretraining"]]
    assert own[-1] < 0.8 * own[0]
    classes = trained.facts["history"]
    assert classes[-1]["loss"] < classes[0]["loss"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_mels": 48}, "divide n_mels=128"),
        ({"patch_mels": 128}, "at least two patches"),
        ({"patch_frames": 0}, "patch_frames=0"),
        ({"heads": 5}, "dim=192, heads=5"),
        ({"decoder_dim": 2}, "decoder_dim=2"),
        ({"depth": 0}, "depth=0"),
        ({"distill": -1.0}, "distill=-1"),
        ({"seconds": 0.0}, "seconds=0"),
    ],
)
def test_wrong_configs_say_why(changes, message):
    with pytest.raises(ValueError, match=message):
        DPMAEConfig(**changes)

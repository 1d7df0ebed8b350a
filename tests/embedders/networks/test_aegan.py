"""AEGAN: published sizes, losses by hand, training in turn against two plain optimisers, and each output."""

import copy

import numpy as np
import pytest
import torch
from small_networks import save_network, small_model
from training_plant import quick_setup, write_plant

from embedders import create
from embedders.networks.reconstruction.aegan_network import AEGANConfig, AEGANNet
from embedders.training.data import Waves
from embedders.training.train import make_loop, settle, train

pytestmark = pytest.mark.usefixtures("unsynced")


def n_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_published_sizes():
    network = AEGANNet(AEGANConfig())
    pyramid = 16 * (32 + 32 * 64 + 64 * 128 + 128 * 256 + 256 * 512)
    norms = 2 * sum(32 * 2**i * (64 // 2**i) ** 2 for i in range(5))
    assert n_parameters(network.generator) == 2 * (pyramid + norms + 16 * 512 * 256) == 10_781_696
    assert n_parameters(network.discriminator) == pyramid + norms + 16 * 512 + 2 * 512 + 513 == 3_303_425


@pytest.mark.parametrize("seconds", [1, 3])
def test_shapes_follow_blocks_and_frames(seconds):
    _, config, model = small_model("aegan")
    (S,) = model.network.front(0.1 * torch.randn(2, seconds * 16000))
    blocks = (seconds * 16000 // config.hop + 1 - config.frames) // config.step + 1
    assert model.network.blocks(S).shape == (2 * blocks, 1, 32, 32)
    assert model.network(S).shape == (2, blocks * 32, 32)


def test_a_published_block_is_one_crop_of_4_064_seconds():
    network = AEGANNet(AEGANConfig())
    (S,) = network.front(torch.zeros(1, round(4.064 * 16000)))
    x = network.blocks(S)
    assert x.shape == (1, 1, 128, 128)
    assert network.generator.encode(x).shape == (1, 256, 1, 1)
    assert network.generator(x).shape == x.shape
    assert network.discriminator.embed(x).shape == (1, 512)
    assert network.discriminator(x).shape == (1,)


def test_blocks_lie_within_the_range_of_the_training_clips():
    _, _, model = small_model("aegan")
    network, S = model.network, 50 * torch.randn(2, 32, 40) - 40
    before = network.low.item()
    network.blocks(S)
    assert network.low.item() == before, "evaluation does not change the range"
    x = network.train().blocks(S)
    assert (network.low, network.high) == (S.min(), S.max())
    inside = S.unfold(2, 32, 16)
    torch.testing.assert_close(x.amin(), 2 * (inside.min() - S.min()) / (S.max() - S.min()) - 1)
    network.blocks(S / 2 - 20)
    assert (network.low, network.high) == (S.min(), S.max()), "the range only grows"


def test_the_forward_pass_is_the_residual_in_decibels():
    _, _, model = small_model("aegan")
    network = model.network
    (S,) = network.front(0.1 * torch.randn(1, 32000))
    x = network.blocks(S)
    back = (network.generator(x) * (network.high - network.low) + network.high + network.low) / 2
    plain = torch.cat([block[0] - S[0, :, 16 * i : 16 * i + 32] for i, block in enumerate(back)], dim=1).T
    torch.testing.assert_close(network(S)[0], plain, rtol=1e-4, atol=1e-4)


class Linear(torch.nn.Module):
    """Linear score of known gradient norm; the embedding is the mean of every column."""

    def __init__(self, slope):
        super().__init__()
        self.weight = torch.full((32, 32), slope / 32)

    def embed(self, x):
        return x.mean(dim=(1, 2))

    def forward(self, x):
        return (x * self.weight).sum(dim=(1, 2, 3))


def by_hand(**changes):
    """A model with a plain discriminator, features of two clips, their blocks and the reconstructions."""
    _, _, model = small_model("aegan", **changes)
    model.network.discriminator = Linear(3.0)
    features = model.network.front(0.1 * torch.randn(2, 32000))
    x = model.network.blocks(*features)
    return model, features, x, model.network.generator(x)


def test_the_discriminator_learns_a_wasserstein_distance_with_penalty():
    model, features, x, generated = by_hand(penalty=7.0)
    distance = (generated - x).mean(dim=0).mul(model.network.discriminator.weight).sum()
    loss = model.discrimination(features, None, None)
    torch.testing.assert_close(loss, distance + 7 * (3 - 1) ** 2, rtol=1e-4, atol=1e-4)


def test_the_generator_learns_error_and_statistics_of_embeddings():
    model, features, x, generated = by_hand(match_mean=0.5, match_std=2.0)
    real, z = (block.mean(dim=(1, 2)) for block in (x, generated))
    expected = (generated - x).square().mean() + 0.5 * (z.mean(0) - real.mean(0)).square().mean()
    expected = expected + 2 * (z.std(0, correction=0) - real.std(0, correction=0)).square().mean()
    torch.testing.assert_close(model.generation(features, None, None), expected)


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    root = tmp_path_factory.mktemp("plant")
    return root, write_plant(root)


def test_turns_are_those_of_two_plain_optimisers(plant):
    root, clips = plant
    job = settle(root, clips, quick_setup("aegan", "beta1=0.5"), 1)
    waves = Waves([root / clip.path for clip in clips], 16000, 8000, "0", 1)
    loop = make_loop(job, job.plans[0], waves, "cpu")
    model = copy.deepcopy(loop.state.model).train()
    loop.state.model.train()
    parts = model.network.discriminator, model.network.generator
    optimisers = [torch.optim.Adam(part.parameters(), betas=(0.5, 0.999)) for part in parts]
    for batch in (np.arange(8), np.arange(8, 16)):
        (wave,) = waves.batches([batch], None)
        loss = loop.step(torch.from_numpy(wave), batch)
        torch.manual_seed(torch.initial_seed())  # the seed of the step
        for part, optimiser, learn in zip(parts, optimisers, (model.discrimination, model.generation), strict=True):
            optimiser.param_groups[0]["lr"] = loop.state.optimizer.param_groups[0]["lr"]
            model.zero_grad()
            plain = learn(model.network.front(torch.from_numpy(wave)), None, None)
            plain.backward()
            optimiser.step()
            assert any(parameter.grad.abs().max() > 0 for parameter in part.parameters())
        assert loss == pytest.approx(plain.item(), rel=1e-5)
    waves.close()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(loop.state.model.state_dict()[name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_a_training_follows_from_its_seed_and_lowers_the_held_out_error(plant, tmp_path):
    runs = [
        train(*plant, quick_setup("aegan", "epochs=6", f"seed={seed}"), tmp_path / f"{i}.safetensors")
        for i, seed in enumerate((0, 0, 1))
    ]
    assert runs[0].fingerprint == runs[1].fingerprint != runs[2].fingerprint
    still = train(*plant, quick_setup("aegan", "epochs=1", "learning_rate=1e-30"), tmp_path / "still.safetensors")
    errors = [run.facts["history"][-1]["held_out"] for run in (runs[0], still)]
    assert errors[0] < 0.5 * errors[1]


def test_the_held_out_loss_is_that_of_the_residual_alone():
    model, features, _, _ = by_hand()
    loss = model.objective(features, None, None)
    torch.testing.assert_close(loss, model.network(*features).square().mean())


def test_outputs_are_statistics_over_blocks(tmp_path):
    path = save_network("aegan", tmp_path)
    wave = np.random.default_rng(0).normal(scale=0.1, size=(2, 32000)).astype(np.float32)
    outputs = {name: create(f"aegan:checkpoint={path},output={name}") for name in ("embedding", "residual", "latent")}
    vectors = {name: torch.from_numpy(embedder.embed(wave)) for name, embedder in outputs.items()}
    assert {name: embedder.shape for name, embedder in outputs.items()} == {
        "embedding": (2, 32),
        "residual": (3, 32),
        "latent": (3, 8),
    }
    assert outputs["embedding"].views == ("mean", "std")
    assert outputs["latent"].views == outputs["residual"].views == ("residual", "squared", "weighted")
    network = outputs["embedding"].model.network
    with torch.no_grad():
        (S,) = network.front(torch.from_numpy(wave))
        x = network.blocks(S)
        embedded = network.discriminator.embed(x).view(2, -1, 32)
        codes = [network.generator.encode(block).view(2, -1, 8) for block in (network.generator(x), x)]
        residual = network(S)
    difference = codes[0] - codes[1]
    for name, view, expected in (
        ("embedding", 0, embedded.mean(1)),
        ("embedding", 1, embedded.var(1, correction=0).sqrt()),
        ("latent", 0, difference.mean(1)),
        ("latent", 1, difference.square().mean(1)),
        ("residual", 1, residual.square().mean(1)),
    ):
        torch.testing.assert_close(vectors[name][:, view], expected, rtol=1e-4, atol=1e-5)
    assert len({embedder.fingerprint for embedder in outputs.values()}) == 3


def test_gradients_are_computed_in_float32_under_autocast():
    model, features, _, _ = by_hand()
    seen = []
    model.network.discriminator.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.discrimination(features, None, None)
    assert set(seen) == {torch.float32}
    torch.testing.assert_close(loss, model.discrimination(features, None, None), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 48}, "frames=48, n_mels=128: expected multiples of 32"),
        ({"n_mels": 80}, "n_mels=80: expected multiples of 32"),
        ({"latent": 0}, "latent=0: expected at least 1"),
        ({"match_mean": -1.0}, "match_mean=-1"),
    ],
)
def test_wrong_configs_say_why(changes, message):
    with pytest.raises(ValueError, match=message):
        AEGANConfig(**changes)

"""mn04, fine-tuned: equal to the frozen embedder before the first step, and it learns in every mode."""

import numpy as np
import pytest
import torch
from small_models import save_crepe, save_mn04
from training_plant import write_plant

from embedders import create
from embedders.networks.checkpoint import read
from embedders.networks.finetuned.finetune import MODES, FineTuneConfig, FineTuneNet
from embedders.networks.finetuned.trunk import open_trunk
from embedders.pretrained.convolutional.mn04_network import grids
from embedders.training.request import parse_setup
from embedders.training.train import train

QUICK = ("sample_rate_hz=32000", "rank=4", "dim=16", "batch=8", "holdout=0.2", "learning_rate=0.003")

pytestmark = pytest.mark.usefixtures("unsynced")


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    root = tmp_path_factory.mktemp("plant")
    return root, write_plant(root)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return save_mn04(tmp_path_factory.mktemp("mn04") / "random.pt")


@pytest.fixture(scope="module")
def waves() -> np.ndarray:
    return (0.1 * np.random.default_rng(2).normal(size=(3, 20000))).astype(np.float32)


def network_of(path, **changes) -> FineTuneNet:
    return FineTuneNet(FineTuneConfig(encoder=f"mn04={path}", sample_rate_hz=32000, rank=4, dim=8, **changes))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("pool", ["mean", "rdp:gamma=4"])
@pytest.mark.parametrize("mode", MODES)
def test_without_a_step_features_are_those_of_the_frozen_embedder(path, waves, mode, pool, training):
    """Also in training mode, since normalisation is folded."""
    frozen, network = create(f"mn04:checkpoint={path},pool={pool}"), network_of(path, mode=mode, pool=pool)
    network.train(training)
    for x in (waves, waves[:, :9000]):
        with torch.no_grad():
            pooled = network.pooled(*network.front(torch.from_numpy(x)))
        np.testing.assert_allclose(pooled, frozen.embed(x), atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_the_published_weights_too(shared_data, waves, mode):
    checkpoint = shared_data / "encoders" / "mn04_as_mAP_432.pt"
    if not checkpoint.is_file():
        pytest.skip(f"the published weights are not at {checkpoint}")
    network = network_of(checkpoint, mode=mode, pool="mean").train()
    with torch.no_grad():
        pooled = network.pooled(*network.front(torch.from_numpy(waves)))
    np.testing.assert_allclose(pooled, create(f"mn04={checkpoint}").embed(waves), atol=1e-5)


def test_a_checkpoint_without_a_step_equals_the_frozen_embedder(plant, path, waves, tmp_path):
    settings = (f"encoder=mn04={path}", *QUICK, "pool=mean", "epochs=1", "learning_rate=1e-30")
    train(*plant, parse_setup("finetune", settings), tmp_path / "a.safetensors")
    embedder = create(f"finetune:checkpoint={tmp_path / 'a.safetensors'},output=pooled")
    assert embedder.sample_rate_hz == 32000
    np.testing.assert_allclose(embedder.embed(waves), create(f"mn04={path}").embed(waves), atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_learns_and_stores_what_it_trained(plant, path, tmp_path, mode):
    settings = (f"encoder=mn04={path}", *QUICK, "pool=mean", f"mode={mode}", "epochs=3", "labels=section")
    history = train(*plant, parse_setup("finetune", settings), tmp_path / "a.safetensors").facts["history"]
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    names = {name for name in read(tmp_path / "a.safetensors")[0] if ".encoder." in name}
    convolutions = [module for module in network_of(path).encoder.modules() if isinstance(module, torch.nn.Conv2d)]
    pointwise = [module for module in convolutions if module.kernel_size == (1, 1)]
    assert not any("classifier" in name for name in names)
    if mode == "head":
        assert not names
    if mode == "lora":
        assert len(names) == 2 * len(pointwise) == 2 * 30
        assert all(name.endswith((".up", ".down")) for name in names)
    if mode == "full":
        assert len(names) == len(list(network_of(path).encoder.state_dict())) - 2 * len(pointwise)


def test_adapters_are_no_wider_than_their_layer_and_change_the_tokens(path, waves):
    network = network_of(path, pool="mean", adapt="qv").eval()
    shapes = {name: p.shape for name, p in network.encoder.named_parameters() if name.endswith(".down")}
    assert {shape[0] for shape in shapes.values()} == {4}
    x = network.front(torch.from_numpy(waves))
    with torch.no_grad():
        for name, parameter in network.encoder.named_parameters():
            if name.endswith(".up"):
                parameter.normal_(std=0.02)
        adapted = network.pooled(*x)
    assert np.abs(adapted.numpy() - create(f"mn04={path}").embed(waves)).max() > 1e-3
    wide = FineTuneNet(FineTuneConfig(encoder=f"mn04={path}", sample_rate_hz=32000, rank=64, dim=8))
    for module in wide.encoder.modules():
        if isinstance(module, torch.nn.Conv2d) and hasattr(module, "parametrizations"):
            low = module.get_submodule("parametrizations.weight.0")
            assert len(low.down) == min(64, *module.weight.shape[:2])


def test_every_trained_weight_gets_a_gradient(path, waves):
    for mode in MODES:
        network = network_of(path, mode=mode, pool="mean").train()
        network(*network.front(torch.from_numpy(waves))).square().sum().backward()
        without = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
        assert without == []


def test_rates_fall_from_layer_to_layer_by_hand(path):
    network = network_of(path, mode="full", layer_decay=0.5)
    for layer in range(len(grids())):
        inside = {
            network.rate_share(name)
            for name, _ in network.named_parameters()
            if name.startswith(f"encoder.features.{layer}.")
        }
        assert inside == {0.5 ** (17 - layer)}
    assert network.rate_share("head.project.weight") == 1.0


def test_mistakes_are_named(path, tmp_path):
    with pytest.raises(ValueError, match="reads 32000 Hz, the network 16000 Hz; set sample_rate_hz=32000"):
        FineTuneNet(FineTuneConfig(encoder=f"mn04={path}"))
    with pytest.raises(ValueError, match="adapt=qkv: mn04 has no attention"):
        network_of(path, adapt="qkv")
    with pytest.raises(ValueError, match="recompute=true: mn04 does not support it"):
        network_of(path, recompute=True)
    with pytest.raises(ValueError, match="can only be used frozen; fine-tune BEATs, mn04 or"):
        open_trunk(f"crepe={save_crepe(tmp_path / 'crepe.pt')}", 16000)

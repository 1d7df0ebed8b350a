"""Pooled outputs of fine-tuned encoders and adapters on the key projection."""

import numpy as np
import pytest
import torch
from small_models import save_beats, save_encoder
from training_plant import write_plant

from embedders import create
from embedders.networks.finetuned.finetune import FineTuneConfig, FineTuneNet
from embedders.networks.finetuned.head import Head
from embedders.training.request import parse_setup
from embedders.training.train import train

QUICK = ("rank=4", "dim=16", "batch=8", "holdout=0.2", "learning_rate=0.01", "epochs=1", "labels=section")
UNTRAINED = ("learning_rate=1e-30",)

pytestmark = pytest.mark.usefixtures("unsynced")


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    root = tmp_path_factory.mktemp("plant")
    return root, write_plant(root)


@pytest.fixture(scope="module")
def beats(tmp_path_factory):
    return f"beats={save_beats(tmp_path_factory.mktemp('models') / 'beats.pt')}"


@pytest.fixture(scope="module")
def waves() -> np.ndarray:
    return (0.1 * np.random.default_rng(3).normal(size=(3, 11000))).astype(np.float32)


def tuned(plant, path, encoder: str, *settings: str):
    """Spec of a network trained with these settings."""
    train(*plant, parse_setup("finetune", (f"encoder={encoder}", *QUICK, *settings)), path)
    return f"finetune:checkpoint={path}"


@pytest.mark.parametrize("seconds", [0.5, 0.68])
@pytest.mark.parametrize("pool", ["rdp:gamma=4", "gem:p=2", "mean", "stats", "flat"])
def test_untrained_pooled_output_is_that_of_the_frozen_encoder(beats, waves, pool, seconds):
    frozen = create(f"{beats.replace('=', ':checkpoint=')},pool={pool}")
    network = FineTuneNet(FineTuneConfig(encoder=beats, pool=pool, rank=2, dim=4)).eval()
    x = waves[:, : round(16000 * seconds)]
    with torch.no_grad():
        pooled = network.pooled(*network.front(torch.from_numpy(x)))
    assert network.head.views == frozen.views
    assert network.head.shape == frozen.shape
    np.testing.assert_allclose(pooled, frozen.embed(x), atol=1e-5)


def test_the_embedder_stores_pooled_tokens_with_their_views(plant, beats, waves, tmp_path):
    spec = tuned(plant, tmp_path / "a.safetensors", beats, "pool=rdp", *UNTRAINED)
    embedder, frozen = create(f"{spec},output=pooled"), create(f"{beats.replace('=', ':checkpoint=')},pool=rdp")
    assert (embedder.shape, embedder.views) == ((8, 16), tuple(f"b{i}" for i in range(8)))
    np.testing.assert_allclose(embedder.embed(waves), frozen.embed(waves), atol=1e-5)
    assert create(spec).shape == (16,)
    assert embedder.fingerprint != create(spec).fingerprint
    assert embedder.embed(waves[:0]).shape == (0, 8, 16)


def test_attentive_statistics_are_one_view(plant, beats, waves, tmp_path):
    """Mean and deviation under equal attention, which the untrained head of zeros gives."""
    head = Head("attentive", 16, 8, 4)
    tokens = torch.from_numpy(waves[:, :1280].reshape(3, 10, 8, 16).copy())
    with torch.no_grad():
        for parameter in head.attentive.parameters():
            parameter.zero_()
        flat = tokens.flatten(1, 2)
        expected = torch.cat([flat.mean(1), flat.var(1, correction=0).sqrt()], dim=1)
        torch.testing.assert_close(head.pooled(tokens), expected)
    spec = tuned(plant, tmp_path / "a.safetensors", beats)
    embedder = create(f"{spec},output=pooled")
    assert (embedder.shape, embedder.views) == ((32,), ())
    assert embedder.embed(waves).shape == (3, 32)


def test_training_changes_the_pooled_output_unless_the_encoder_is_fixed(plant, beats, waves, tmp_path):
    before = create(beats).embed(waves)
    for mode, changes in (("head", False), ("lora", True), ("full", True)):
        spec = tuned(plant, tmp_path / f"{mode}.safetensors", beats, "pool=mean", f"mode={mode}")
        difference = np.abs(create(f"{spec},output=pooled").embed(waves) - before).max()
        assert (difference > 1e-4) == changes


@pytest.mark.parametrize("kind", ["beats", "wav2vec2", "ast"])
def test_keys_are_adapted_too(beats, tmp_path, kind):
    if kind != "beats":
        pytest.importorskip("transformers")
    encoder = beats if kind == "beats" else f"{kind}={save_encoder(tmp_path / kind, kind)}"
    names = {}
    for adapt in ("qv", "qkv"):
        network = FineTuneNet(FineTuneConfig(encoder=encoder, adapt=adapt, rank=2, dim=4))
        names[adapt] = {name for name, p in network.encoder.named_parameters() if p.requires_grad}
    assert names["qv"] < names["qkv"]
    assert len(names["qv"]) == network.n_layers * 4
    assert len(names["qkv"]) == network.n_layers * 6
    assert all(".k_proj." in name or ".key." in name for name in names["qkv"] - names["qv"])


def test_mistakes_are_named():
    for settings, message in (
        (("adapt=qk",), "unknown adapt 'qk'; choose from qv, qkv"),
        (("pool=rdp:gama=3",), "unknown parameter of pool rdp: 'gama'"),
        (("pool=rpd",), "unknown pool 'rpd'; choose from attentive, mean.*did you mean rdp"),
        (("pool=attentive:p=3",), "pool 'attentive:p=3': attentive has no options"),
    ):
        with pytest.raises(ValueError, match=message):
            parse_setup("finetune", settings)
    with pytest.raises(ValueError, match="unknown output 'pool' of finetune; choose from embedding, posterior, pooled"):
        create("finetune:checkpoint=a,output=pool")

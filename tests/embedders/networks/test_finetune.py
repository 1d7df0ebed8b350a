"""Fine-tuned encoders: they learn, keep the base weights, store trained weights only, and match the plain formula."""

import re

import numpy as np
import pytest
import torch
from small_models import save_beats, save_encoder
from training_plant import write_plant

from embedders import create
from embedders.networks.checkpoint import load, read
from embedders.networks.finetuned.finetune import FineTuneConfig, FineTuneNet
from embedders.training.data import Waves, training_clips
from embedders.training.request import parse_setup
from embedders.training.train import make_loop, settle, train
from featstore.errors import DataError

pytest.importorskip("transformers")

QUICK = ("rank=4", "dim=16", "batch=8", "holdout=0.2", "learning_rate=0.01", "epochs=4", "labels=section")


pytestmark = pytest.mark.usefixtures("unsynced")


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    root = tmp_path_factory.mktemp("plant")
    return root, write_plant(root)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """Specs of small random encoders by kind."""
    folder = tmp_path_factory.mktemp("models")
    specs = {kind: f"{kind}={save_encoder(folder / kind, kind)}" for kind in ("wav2vec2", "hubert", "wavlm", "ast")}
    return specs | {"beats": f"beats={save_beats(folder / 'beats.pt')}"}


def setup(encoder: str, *settings: str):
    return parse_setup("finetune", (f"encoder={encoder}", *QUICK, *settings))


def new_clips() -> tuple[np.ndarray, np.ndarray]:
    """Normal clips not used in training: the four sections at a speed between the known ones, and their sections."""
    rng, t = np.random.default_rng(5), np.arange(8000) / 16000
    pitches = np.repeat([300, 600, 1200, 2400], 6)
    hums = [np.sin(2 * np.pi * (hz + rng.uniform(0, 90)) * t + rng.uniform(0, 6)) for hz in pitches]
    waves = 0.3 * np.stack(hums) + 0.03 * rng.normal(size=(24, 8000))
    return waves.astype(np.float32), np.repeat(np.arange(4), 6)


def learn(plant, encoder: str, path, *settings: str) -> tuple[list[dict[str, float]], float]:
    """History of losses, and the share of new normal clips whose section is predicted correctly."""
    waves, truth = new_clips()
    history = train(*plant, setup(encoder, "epochs=12", *settings), path).facts["history"]
    posterior = create(f"finetune:checkpoint={path},output=posterior").embed(waves)
    return history, (posterior.argmax(axis=1) == truth).mean()


UNTRAINED = ("epochs=1", "learning_rate=1e-9")


@pytest.mark.parametrize("mode", ["lora", "full"])
@pytest.mark.parametrize("kind", ["beats", "wav2vec2"])
def test_learns_what_the_head_alone_does_not(plant, encoders, tmp_path, kind, mode):
    """Losses fall below those of a head on the fixed encoder, and sections of new normal clips are predicted."""
    path = tmp_path / "a.safetensors"
    _, before = learn(plant, encoders[kind], path, *UNTRAINED)
    by_head, head_right = learn(plant, encoders[kind], path, "mode=head")
    history, right = learn(plant, encoders[kind], path, f"mode={mode}")
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert history[-1]["held_out"] < 0.8 * by_head[-1]["held_out"]
    assert right > before + 0.2
    assert right > head_right


@pytest.mark.parametrize(("kind", "mode"), [("hubert", "full"), ("wavlm", "lora"), ("ast", "lora"), ("ast", "full")])
def test_other_encoders_learn_too(plant, encoders, tmp_path, kind, mode):
    path = tmp_path / "a.safetensors"
    _, before = learn(plant, encoders[kind], path, *UNTRAINED)
    history, right = learn(plant, encoders[kind], path, f"mode={mode}")
    assert history[-1]["loss"] < 0.6 * history[0]["loss"]
    assert history[-1]["held_out"] < history[0]["held_out"]
    assert right > before + 0.1


@pytest.mark.parametrize("kind", ["beats", "wav2vec2", "wavlm", "ast"])
def test_the_base_stays_bit_equal_under_adapters(plant, encoders, tmp_path, kind):
    root, clips = plant
    job = settle(root, training_clips(clips), setup(encoders[kind], "ema=0.5", "weight_decay=0.1"), 1)
    waves = Waves([root / clip.path for clip in training_clips(clips)], 16000, 8000, "0", 1)
    loop = make_loop(job, job.plans[0], waves, "cpu")
    tensors, _ = loop.run(tmp_path / "none.resume", "key", lambda progress: None)
    waves.close()
    base = dict(create(encoders[kind]).model.network.state_dict())
    for model in loop.state.models():
        now = {
            re.sub(r"\.parametrizations\.weight\.original$", ".weight", name): x
            for name, x in model.network.encoder.state_dict().items()
            if not name.endswith((".up", ".down"))
        }
        assert set(now) == set(base)
        assert all(torch.equal(now[name], base[name]) for name in base)
    adapters = {name for name in tensors if name.startswith("network.encoder.")}
    assert len(adapters) == loop.state.model.network.n_layers * 2 * 2
    assert all(name.endswith((".down", ".up")) for name in adapters)
    assert all(tensors[name].any() for name in adapters), "`up` is 0 at the start"


def test_a_checkpoint_holds_trained_weights_only(plant, encoders, tmp_path):
    names = {}
    for mode in ("lora", "full", "head"):
        train(*plant, setup(encoders["beats"], f"mode={mode}", "epochs=1"), tmp_path / f"{mode}.safetensors")
        names[mode] = {name for name in read(tmp_path / f"{mode}.safetensors")[0] if "encoder." in name}
    assert not names["head"]
    base = create(encoders["beats"]).model.network.state_dict()
    assert names["full"] == {f"network.encoder.{name}" for name in base}
    assert len(names["lora"]) == 3 * 2 * 2


class Stop(Exception):
    pass


@pytest.mark.parametrize("mode", ["lora", "full"])
@pytest.mark.parametrize(
    ("kind", "augment"), [("beats", "mixup:p=0.5+specaugment:max_frames=20,max_mels=20"), ("wav2vec2", "mixup")]
)
def test_interrupted_equals_uninterrupted(plant, encoders, tmp_path, monkeypatch, kind, augment, mode):
    """Five steps per epoch, stopped in the second epoch."""
    chosen = setup(
        encoders[kind], f"mode={mode}", f"augment={augment}", "epochs=2", "ema=0.9", "warmup=3", "layer_decay=0.8"
    )
    expected = train(*plant, chosen, tmp_path / "a.safetensors")
    monkeypatch.setattr("embedders.training.loop.SAVE_S", 0.0)

    def stop(progress):
        if progress.done == 7:
            raise Stop

    with pytest.raises(Stop):
        train(*plant, chosen, tmp_path / "b.safetensors", report=stop)
    done = []
    again = train(*plant, chosen, tmp_path / "b.safetensors", report=lambda progress: done.append(progress.done))
    assert done[0] == 7
    assert again.fingerprint == expected.fingerprint
    assert again.facts["history"] == expected.facts["history"]


def plain_vectors(spec: str, tensors: dict[str, torch.Tensor], waves: np.ndarray) -> np.ndarray:
    """The embedding by hand: adapters added to the weights, tokens of the frozen encoder, pooling and head."""
    encoder = create(spec)
    network = encoder.model.network
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            stem = f"network.encoder.{name.removesuffix('.weight')}.parametrizations.weight.0"
            if f"{stem}.up" in tensors:
                parameter += tensors[f"{stem}.up"] @ tensors[f"{stem}.down"]
    tokens = encoder.model.tokens(torch.from_numpy(waves), (encoder.model.n_layers,))[:, 0]
    pooled = tokens.flatten(1, 2).mean(dim=1)
    head = {name.removeprefix("network.head."): x for name, x in tensors.items()}
    scale = head["norm.weight"] / (head["norm.running_var"] + 1e-5).sqrt()
    normal = (pooled - head["norm.running_mean"]) * scale + head["norm.bias"]
    return (normal @ head["project.weight"].T + head["project.bias"]).numpy()


@pytest.mark.parametrize("kind", ["beats", "wav2vec2", "wavlm", "ast"])
def test_embeds_as_the_plain_forward(plant, encoders, tmp_path, kind):
    path = tmp_path / "a.safetensors"
    train(*plant, setup(encoders[kind], "pool=mean", "epochs=2"), path)
    waves = new_clips()[0][:3]
    vectors = create(f"finetune={path}").embed(waves)
    assert vectors.shape == (3, 16)
    np.testing.assert_allclose(vectors, plain_vectors(encoders[kind], read(path)[0], waves), rtol=1e-3, atol=1e-4)


def test_other_base_weights_are_refused(plant, tmp_path):
    base = save_beats(tmp_path / "base.pt")
    path = tmp_path / "a.safetensors"
    train(*plant, setup(f"beats={base}", "epochs=1"), path)
    assert load(path, "finetune").config["encoder"] == f"beats={base}"
    save_beats(base, encoder_ffn_embed_dim=24, finetuned_model=True, predictor_class=5, predictor_dropout=0.0)
    with pytest.raises(DataError, match=r"trained with encoder weights of sha256 .*restore the former weights"):
        create(f"finetune={path}").embed(np.zeros((1, 8000), np.float32))


def test_rates_fall_from_layer_to_layer_by_hand(encoders):
    for kind, n in (("beats", 3), ("wav2vec2", 2)):
        network = FineTuneNet(FineTuneConfig(encoder=encoders[kind], mode="full", layer_decay=0.5))
        shares = {name: network.rate_share(name) for name, _ in network.named_parameters()}
        assert {share for name, share in shares.items() if name.startswith("head.")} == {1.0}
        for i in range(n):
            inside = {share for name, share in shares.items() if f"encoder.layers.{i}." in name}
            assert inside == {0.5 ** (n - i)}
        assert {share for name, share in shares.items() if "encoder." in name and ".layers." not in name} == {
            0.5 ** (n + 1)
        }


@pytest.mark.parametrize("kind", ["beats", "wav2vec2"])
@pytest.mark.parametrize("mode", ["lora", "full"])
def test_recomputed_layers_give_the_same_gradient(encoders, kind, mode):
    grads, saved = [], []
    for recompute in (False, True):
        torch.manual_seed(0)
        config = FineTuneConfig(encoder=encoders[kind], mode=mode, rank=2, dim=4, recompute=recompute)
        network = FineTuneNet(config).train()
        names = set(network.state_dict())
        features = network.front(torch.from_numpy(new_clips()[0][:4]))
        sizes: list[int] = []
        torch.manual_seed(1)
        with torch.autograd.graph.saved_tensors_hooks(lambda x, sizes=sizes: sizes.append(x.numel()) or x, lambda x: x):
            out = network(*features)
        out.square().sum().backward()
        saved.append((names, sum(sizes)))
        grads.append({name: p.grad for name, p in network.named_parameters() if p.grad is not None})
    assert any(grad.abs().max() > 0 for name, grad in grads[0].items() if "encoder." in name)
    torch.testing.assert_close(grads[0], grads[1])
    assert saved[0][0] == saved[1][0]
    assert saved[1][1] < 0.7 * saved[0][1], "numbers saved for the backward pass"


def test_longer_recordings_are_embedded_in_windows(encoders, plant, tmp_path):
    path = tmp_path / "a.safetensors"
    train(*plant, setup(encoders["ast"], "epochs=1"), path)
    embedder = create(f"finetune={path}")
    longest = embedder.model.network.longest
    waves = np.random.default_rng(0).normal(size=(2, longest + 1000)).astype(np.float32)
    mean = (embedder.embed(waves[:, :longest]) + embedder.embed(waves[:, 1000:])) / 2
    np.testing.assert_allclose(embedder.embed(waves), mean, rtol=1e-5)


@pytest.mark.parametrize("pool", ["stats", "bands"])
def test_other_poolings(encoders, pool):
    network = FineTuneNet(FineTuneConfig(encoder=encoders["beats"], pool=pool, rank=2, dim=5)).eval()
    waves = torch.from_numpy(new_clips()[0][:2])
    assert network(*network.front(waves)).shape == (2, 1, 5)
    assert network.head.project.in_features == 16 * {"stats": 2, "bands": 8}[pool]


def test_a_fixed_encoder_stays_fixed(encoders):
    network = FineTuneNet(FineTuneConfig(encoder=encoders["wav2vec2"], mode="head", dim=4)).train()
    assert network.training
    assert not network.encoder.training
    network(*network.front(torch.from_numpy(new_clips()[0][:4]))).sum().backward()
    assert all(p.grad is None for p in network.encoder.parameters())


def test_mistakes_are_named(encoders, plant, tmp_path, monkeypatch):
    for settings, message in (
        (("mode=half",), r"unknown mode 'half'; choose from lora, full, head"),
        (("pool=max",), "unknown pool 'max'; choose from attentive, mean"),
        (("layer_decay=0",), "0 < layer_decay <= 1"),
    ):
        with pytest.raises(ValueError, match=message):
            parse_setup("finetune", settings)
    for changes, message in (
        ({}, "name the encoder to train, such as"),
        ({"encoder": "logmel"}, "expected a pretrained encoder"),
        ({"encoder": encoders["beats"], "sample_rate_hz": 8000}, "set sample_rate_hz=16000"),
    ):
        with pytest.raises(ValueError, match=message):
            FineTuneNet(FineTuneConfig(**changes))
    monkeypatch.setattr("transformers.Wav2Vec2Model.supports_gradient_checkpointing", False)
    with pytest.raises(ValueError, match="Wav2Vec2Model does not support it"):
        FineTuneNet(FineTuneConfig(encoder=encoders["wav2vec2"], recompute=True))
    with pytest.raises(ValueError, match="no spectrogram among its inputs"):
        train(*plant, setup(encoders["wav2vec2"], "augment=specaugment"), tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="reads at most 10480 samples"):
        train(*plant, setup(encoders["ast"], "seconds=2"), tmp_path / "b.safetensors")

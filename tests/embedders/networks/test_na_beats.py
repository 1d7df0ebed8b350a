"""na_beats: it starts as the frozen encoder of the near channel, learns from the far one, and keeps the encoder."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from small_models import save_beats, save_encoder
from training_plant import write_plant

from embedders import create
from embedders.networks.checkpoint import Trained, load, read, save
from embedders.networks.finetuned.cross_attention import CrossAttention, layers_of
from embedders.networks.finetuned.na_beats import NABeats, NABeatsConfig, NABeatsNet
from embedders.networks.objectives.match import Match
from embedders.networks.trained import make_model, plain
from embedders.training.request import parse_setup
from embedders.training.train import train
from featstore.clip import Clip
from featstore.errors import DataError

pytestmark = pytest.mark.usefixtures("unsynced")

QUICK = ("dim=16", "heads=2", "rooms=4", "batch=8", "holdout=0.2", "learning_rate=0.01", "epochs=3")


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    root = tmp_path_factory.mktemp("plant")
    return root, write_plant(root)


@pytest.fixture(scope="module")
def beats(tmp_path_factory):
    return f"beats={save_beats(tmp_path_factory.mktemp('models') / 'beats.pt')}"


@pytest.fixture(scope="module")
def trained(plant, beats, tmp_path_factory):
    """Checkpoint after a short training, and its history."""
    path = tmp_path_factory.mktemp("trained") / "a.safetensors"
    return path, train(*plant, parse_setup("na_beats", (f"encoder={beats}", *QUICK, "epochs=12")), path)


def network_of(encoder: str, **changes) -> NABeatsNet:
    torch.manual_seed(0)
    return NABeatsNet(NABeatsConfig(encoder=encoder, **{"dim": 8, "heads": 2, "rooms": 3} | changes)).eval()


def pairs(n: int = 3, samples: int = 16000, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).normal(size=(n, 2, samples))).astype(np.float32)


def untrained(encoder: str, folder, **changes) -> str:
    """Spec of a checkpoint whose corrections are still zero."""
    config = NABeatsConfig(encoder=encoder, **{"dim": 8, "heads": 2} | changes)
    model = make_model(NABeats, config, (), {})
    save(folder / "zero.safetensors", Trained("na_beats", plain(config), model.state_dict()))
    return f"na_beats={folder / 'zero.safetensors'}"


@pytest.mark.parametrize("pool", ["mean", "bands", "rdp:gamma=2.0"])
@pytest.mark.parametrize("samples", [9000, 24000])
def test_without_training_it_is_the_frozen_encoder_of_the_near_channel(beats, tmp_path, pool, samples):
    embedder, frozen = create(untrained(beats, tmp_path, pool=pool)), create(beats.replace("=", ":checkpoint="))
    frozen = create(f"beats:checkpoint={frozen.checkpoint},pool={pool}")
    waves = pairs(samples=samples)
    assert (embedder.shape, embedder.views) == (frozen.shape, frozen.views)
    np.testing.assert_array_equal(embedder.embed(waves), frozen.embed(waves[:, 0]))


@pytest.mark.parametrize("kind", ["wav2vec2", "wavlm", "ast"])
def test_encoders_of_transformers_start_the_same_way_and_hear_the_far_channel(tmp_path, kind):
    pytest.importorskip("transformers")
    spec = f"{kind}={save_encoder(tmp_path / kind, kind)}"
    waves = pairs(samples=8000)
    start, frozen = create(untrained(spec, tmp_path)).embed(waves), create(spec).embed(waves[:, 0])
    np.testing.assert_allclose(start, frozen, rtol=1e-4, atol=1e-5)
    network = network_of(spec)
    for correction in network.corrections:
        torch.nn.init.normal_(correction.out_proj.weight)
    with torch.no_grad():
        near, other = (network(torch.from_numpy(x)) for x in (waves, waves[:, [0, 0]]))
    assert (near - other).abs().max() > 1e-3


def test_training_lowers_the_loss_of_rooms_and_clips_it_was_not_trained_on(trained):
    history = trained[1].facts["history"]
    assert history[-1]["loss"] < 0.9 * history[0]["loss"]
    assert history[-1]["held_out"] < 0.95 * history[0]["held_out"]


def test_the_far_channel_has_an_effect_after_training(trained):
    embedder, waves = create(f"na_beats={trained[0]}"), pairs()
    other = waves.copy()
    other[:, 1] = pairs(seed=1)[:, 1]
    before, after = embedder.embed(waves), embedder.embed(other)
    assert np.linalg.norm(before - after, axis=1).min() > 1e-3 * np.linalg.norm(before, axis=1).max()


def test_the_checkpoint_holds_the_corrections_alone_and_loads_again(trained, beats):
    path, result = trained
    tensors = read(path)[0]
    assert not any("encoder." in name for name in tensors)
    assert {name.split(".")[1] for name in tensors} == {"corrections", "weights_sha256"}
    assert load(path, "na_beats").fingerprint == result.fingerprint
    assert create(f"na_beats={path}").fingerprint == create(f"na_beats={path}").fingerprint
    assert create(beats).model.weights_sha256 == bytes(tensors["network.weights_sha256"].tolist()).hex()


def test_other_encoder_weights_are_refused(tmp_path):
    base = tmp_path / "base.pt"
    spec = untrained(f"beats={save_beats(base)}", tmp_path)
    save_beats(base, encoder_ffn_embed_dim=32)
    with pytest.raises(DataError, match="trained with encoder weights of sha256"):
        create(spec).embed(pairs())


class Stop(Exception):
    pass


@pytest.mark.parametrize("ema", ["ema=0", "ema=0.9"])
def test_interrupted_equals_uninterrupted(plant, beats, tmp_path, monkeypatch, ema):
    """Four steps per epoch, stopped in the second epoch; rooms, scenes and held-out loss are the same."""
    setup = parse_setup("na_beats", (f"encoder={beats}", *QUICK, "epochs=2", ema))
    expected = train(*plant, setup, tmp_path / "a.safetensors")
    monkeypatch.setattr("embedders.training.loop.SAVE_S", 0.0)

    def stop(progress):
        if progress.done == 6:
            raise Stop

    with pytest.raises(Stop):
        train(*plant, setup, tmp_path / "b.safetensors", report=stop)
    again = train(*plant, setup, tmp_path / "b.safetensors")
    assert again.fingerprint == expected.fingerprint
    assert again.facts["history"] == expected.facts["history"]


def test_the_encoder_is_frozen_and_all_corrections_learn(beats):
    model = Match(network_of(beats), 8, (), {}).train()
    assert not any(parameter.requires_grad for parameter in model.network.encoder.parameters())
    assert not model.network.encoder.training
    for correction in model.network.corrections:
        torch.nn.init.normal_(correction.out_proj.weight)
    waves = torch.from_numpy(pairs()[:, 0])
    model.objective((waves,), torch.zeros(3, 1), torch.zeros(3)).backward()
    for name, parameter in model.network.corrections.named_parameters():
        if not name.endswith("k_proj.bias"):  # the same for all keys, so attention does not change with it
            assert parameter.grad.abs().max() > 1e-9, name


def test_rendering_is_drawn_anew_in_training_and_fixed_in_evaluation(beats):
    network, waves = network_of(beats), torch.from_numpy(pairs()[:, 0])
    first, second = network.render(waves), network.render(waves)
    assert all(map(torch.equal, first, second))
    network.train()
    torch.manual_seed(3)
    third, fourth = network.render(waves), network.render(waves)
    torch.manual_seed(3)
    again = network.render(waves)
    assert all(map(torch.equal, third, again))
    assert not torch.equal(third[0], fourth[0])
    assert not torch.equal(third[1], first[1]), "other rooms than in evaluation"


class Doubling(torch.nn.Module):
    """Noisy pairs are the waves and their halves; tokens are near minus far times a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.5))

    def render(self, waves):
        return torch.stack([2 * waves, waves / 2], dim=1), waves

    def tokens(self, pair):
        return pair[:, 0] - self.weight * pair[:, 1]

    def clean_tokens(self, waves):
        return self.weight * waves

    def forward(self, waves):
        return waves.mean(dim=(1, 2))[:, None]


def test_the_objective_by_hand():
    """For a wave x the difference is (2 - w / 2 - w) x with a gradient through the noisy side alone: -x / 2."""
    model = Match(Doubling(), 1, (), {})
    waves = torch.tensor([[1.0, -2.0], [0.0, 3.0]])
    loss = model.objective((waves,), torch.zeros(2, 1), torch.zeros(2))
    loss.backward()
    assert loss.item() == pytest.approx(1.25**2 * (1 + 4 + 9) / 4)
    assert model.network.weight.grad.item() == pytest.approx(2 * 1.25 * -0.5 * 14 / 4)
    torch.testing.assert_close(model.vectors((torch.ones(3, 2, 4),), "embedding"), torch.ones(3, 1))


def test_cross_attention_by_hand():
    """One head, identity projections: softmax of normalised products, weighted sum of normalised far tokens."""
    attention = CrossAttention(2, 2, 1)
    for layer in (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj):
        torch.nn.init.eye_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    near, far = torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[5.0, 1.0], [0.0, 4.0], [2.0, 0.0]]])
    n, f = np.array([1.0, -1.0]), np.array([[1.0, -1.0], [-1.0, 1.0], [1.0, -1.0]])  # normalised, up to the eps
    weight = np.exp(f @ n / np.sqrt(2))
    np.testing.assert_allclose(attention(near, far)[0, 0].detach(), weight @ f / weight.sum(), rtol=1e-4)


def test_long_recordings_are_the_mean_over_windows(beats, tmp_path, monkeypatch):
    monkeypatch.setattr("embedders.networks.finetuned.on_encoder.LONGEST_S", 1.0)
    embedder, waves = create(untrained(beats, tmp_path)), pairs(samples=24000)
    mean = (embedder.embed(waves[..., :16000]) + embedder.embed(waves[..., 8000:])) / 2
    np.testing.assert_allclose(embedder.embed(waves), mean, rtol=1e-5)


def test_single_waves_are_refused(beats, tmp_path):
    embedder = create(untrained(beats, tmp_path))
    for shape in ((1, 16000), (1, 3, 16000), (1, 2, 100)):
        with pytest.raises(ValueError, match=r"expected waves \(batch, 2, time\) of at least 2800 samples"):
            embedder.embed(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("dim=10", r"dim=10, heads=12: expected a dim that is a multiple of heads"),
        ("rooms=0", "rooms=0.*expected"),
        ("noise_sources=9", "1 to 8 noise_sources"),
        ("snr_db=5", r"snr_db=5: expected the least and the greatest value, from -80 to 80"),
        ("leak_db=0;-5", r"leak_db=0;-5: expected the least and the greatest value"),
        ("pool=all", "unknown pool 'all'"),
        ("channel=0,1,0-1", "a network is trained on one wave per clip"),
        ("channel=0-0", "channel '0-0': expected"),
    ],
)
def test_settings_that_mean_nothing_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        parse_setup("na_beats", (setting,))


def test_the_channels_of_a_pair_train_on_the_near_one(plant, beats, tmp_path):
    mono = train(*plant, parse_setup("na_beats", (f"encoder={beats}", *QUICK, "epochs=1")), tmp_path / "a.safetensors")
    stereo = write_stereo(*plant, tmp_path / "stereo")
    setup = parse_setup("na_beats", (f"encoder={beats}", *QUICK, "epochs=1", "channel=0,1"))
    assert setup.channel == "0"
    assert train(stereo, plant[1], setup, tmp_path / "b.safetensors").fingerprint == mono.fingerprint


def write_stereo(root: Path, clips: list[Clip], out: Path) -> Path:
    """The same clips with a far channel of noise."""
    out.mkdir()
    for i, clip in enumerate(clips):
        near, rate = soundfile.read(root / clip.path, dtype="int16")
        far = np.random.default_rng(i).integers(-999, 999, len(near))
        soundfile.write(out / clip.path, np.stack([near, far], axis=1).astype(np.int16), rate)
    return out


def test_encoders_without_layers_are_refused(beats):
    with pytest.raises(ValueError, match="Linear has no list of 3 transformer layers"):
        layers_of(torch.nn.Linear(1, 1), 3)
    with pytest.raises(ValueError, match="encoder is missing"):
        NABeatsNet(NABeatsConfig())
    with pytest.raises(ValueError, match="expected a pretrained encoder"):
        NABeatsNet(NABeatsConfig(encoder="logmel"))

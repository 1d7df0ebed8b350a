"""StarGAN: the identity at the start, losses by hand, what it learns of a tone, and its checkpoint as a translator."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file
from small_networks import save_network, small_model

from embedders.networks.checkpoint import KEY, read
from embedders.networks.frames import SPREAD_DB, scaled
from embedders.networks.translation.stargan import StarGAN, Translate, targets_of
from embedders.networks.translation.stargan_network import StarGANConfig, StarGANNet
from embedders.networks.translation.translator import Translator, bin_weights, filtered_change, open_translator
from embedders.training.confirmed import CONFIRMED
from embedders.training.request import parse_setup
from embedders.training.train import settle, train
from featstore.anomalies.table import render
from featstore.clip import Clip
from featstore.errors import DataError, RejectedAudio

pytestmark = pytest.mark.usefixtures("unsynced")
RATE = 16000
TWO = ("fan|hiss", "fan|normal")


def noise(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    return (0.02 * np.random.default_rng(seed).normal(size=round(seconds * RATE))).astype(np.float32)


def translate(classes: tuple[str, ...] = TWO, **weights: float) -> Translate:
    config = StarGANConfig(n_mels=8, width=4, dim=4, code=2, **weights)
    torch.manual_seed(0)
    return Translate(StarGANNet(config), config.dim, classes, {})


def constant_gain(model: Translate, gain: float) -> None:
    """Let the generator add a gain to every mel and frame, in the units of its input."""
    torch.nn.init.constant_(model.network.generator.last.bias, float(np.arctanh(gain / model.network.generator.most)))


def test_fresh_weights_are_the_identity():
    model = translate()
    x = torch.randn(3, 8, 20)
    torch.testing.assert_close(model.translate(x, torch.tensor([0, 1, 0])), x, rtol=0, atol=0)


def test_gains_are_limited():
    model = translate(most_db=12.0)
    torch.nn.init.constant_(model.network.generator.last.bias, 100.0)
    gains = model.network.generator(torch.randn(2, 8, 20), torch.zeros(2, 2)) * SPREAD_DB
    torch.testing.assert_close(gains, torch.full_like(gains, 12.0))


@pytest.mark.parametrize(("cycle", "identity", "expected"), [(1.0, 0.0, 0.8), (0.0, 1.0, 0.4), (10.0, 5.0, 10.0)])
def test_cycle_and_identity_of_a_constant_gain_by_hand(cycle, identity, expected):
    """There and back adds 0.4 twice; to the own class adds it once."""
    model = translate(cycle=cycle, identity=identity, classify=0.0, match=0.0)
    constant_gain(model, 0.4)
    torch.nn.init.zeros_(model.network.discriminator.judge.weight)
    torch.nn.init.zeros_(model.network.discriminator.judge.bias)
    loss = model.generation((5 * torch.randn(4, 8, 20) - 40,), torch.empty(0), torch.tensor([0, 1, 1, 0]))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_critic_by_hand():
    """A judge without weights has no score and a gradient of norm 0: the penalty is its weight."""
    model = translate(penalty=7.0, classify=2.0)
    for layer in (model.network.discriminator.judge, model.classify):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    loss = model.discrimination((torch.randn(4, 8, 20),), torch.empty(0), torch.tensor([0, 1, 1, 0]))
    assert loss.item() == pytest.approx(7 + 2 * np.log(2), rel=1e-5)


def test_levels_of_classes_and_the_held_out_loss_by_hand():
    model = translate().train()
    S = torch.full((3, 8, 20), -40.0)
    S[1:] += torch.tensor([10.0, 30.0])[:, None, None]
    for _ in range(2):
        model.discrimination((S,), torch.empty(0), torch.tensor([1, 0, 0]))
    torch.testing.assert_close(model.level[:, 0], torch.tensor([[1.0], [0.0]]).expand(2, 8))
    torch.testing.assert_close(model.level[:, 1], torch.full((2, 8), 0.01))
    assert model.count.tolist() == [4, 2]
    held_out = model.eval().objective((S[:1],), torch.empty(0), torch.tensor([1]))
    assert held_out.item() == pytest.approx(20**2 / 2)  # the means differ, the deviations do not
    constant_gain(model, 0.25)
    assert model.objective((S[:1],), torch.empty(0), torch.tensor([1])).item() == pytest.approx(15**2 / 2, rel=1e-5)


def test_translations_stay_within_a_machine():
    targets = targets_of(("fan|a", "fan|b", "fan|normal", "pump|normal", "slider|a", "slider|normal"))
    expected = [[0, 1, 1, 0, 0, 0], [1, 0, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1]]
    assert targets.int().tolist() == [*expected, [0, 0, 0, 0, 1, 0]]
    model = translate(("fan|a", "fan|normal", "pump|normal"))
    assert model._drawn(torch.tensor([0, 1, 2])).tolist() == [1, 0, 2]


@pytest.mark.parametrize("seconds", [0.3, 1.0])
def test_a_constant_gain_scales_the_wave(seconds):
    config = StarGANConfig(n_mels=64)
    wave = torch.from_numpy(noise(seconds))[None]
    frames = wave.shape[1] // config.hop + 1
    nothing = filtered_change(wave, torch.zeros(1, 64, frames), config)
    torch.testing.assert_close(nothing, torch.zeros_like(wave), rtol=0, atol=0)
    change = filtered_change(wave, torch.full((1, 64, frames), 6.0), config)
    f, n = torch.fft.rfftfreq(wave.shape[1], 1 / RATE), wave.shape[1]
    inside = (f > 100) & (f < 7900)  # the outermost bins belong to no mel
    ratio = torch.fft.rfft(change, n)[0][inside].abs().sum() / torch.fft.rfft(wave, n)[0][inside].abs().sum()
    assert float(ratio) == pytest.approx(10 ** (6 / 20) - 1, rel=0.02)


def test_bins_take_the_mean_of_their_mels():
    weights = bin_weights(StarGANConfig())
    total = weights.sum(1)
    assert set(total.round().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(total, total.round())


@pytest.mark.parametrize(
    "setting", ["width=0", "most_db=0", "most_db=90", "cycle=-1", "hop=1024", "center=false", "dim=0"]
)
def test_settings_that_mean_nothing(setting):
    with pytest.raises(ValueError, match=setting.partition("=")[0]):
        parse_setup("stargan", (setting,))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> tuple[Path, list[Clip]]:
    """Noise, and confirmed faults: noise with a tone of 3 kHz."""
    root, t, clips = tmp_path_factory.mktemp("tone"), np.arange(RATE // 2) / RATE, []
    for i in range(16):
        fault = i < 6
        wave = noise(0.5, i) + fault * 0.05 * np.sin(2 * np.pi * 3000 * t + i)
        soundfile.write(root / f"{i}.wav", wave, RATE)
        labels = ("anomaly", {CONFIRMED: "tone"}) if fault else ("normal", {})
        clips.append(Clip(f"{i}.wav", "fan", "00", "test" if fault else "train", "source", *labels))
    return root, clips


def trained(recordings: tuple[Path, list[Clip]], path: Path, *settings: str) -> Path:
    small = ("n_mels=32", "width=16", "dim=16", "code=4", "blocks=1", "batch=4", "holdout=0.1")
    train(*recordings, parse_setup("stargan", (*small, "learning_rate=0.01", *settings)), path)
    return path


@pytest.fixture(scope="module")
def tone(recordings, tmp_path_factory) -> Path:
    """A checkpoint that has learnt the tone."""
    return trained(recordings, tmp_path_factory.mktemp("checkpoint") / "a.safetensors", "epochs=60")


@pytest.mark.parametrize("n_faults", [1, 2, 6])
def test_a_confirmed_fault_is_held_out_where_there_are_two(recordings, n_faults):
    root, clips = recordings
    chosen = clips[6 - n_faults :]
    held = settle(root, chosen, parse_setup("stargan", ("holdout=0.05",)), 1).held
    assert held[:n_faults].sum() == (n_faults > 1)
    assert held[n_faults:].sum() == 1


def test_a_training_is_determined_by_its_seed(recordings, tmp_path):
    names = (("a", "seed=0"), ("b", "seed=0"), ("c", "seed=1"))
    files = [trained(recordings, tmp_path / f"{name}.safetensors", "epochs=2", seed) for name, seed in names]
    prints = [open_translator(file).fingerprint for file in files]
    assert prints[0] == prints[1] != prints[2]


def band_db(wave: np.ndarray, hz: float) -> float:
    power = np.abs(np.fft.rfft(wave)) ** 2
    f = np.fft.rfftfreq(len(wave), 1 / RATE)
    return float(10 * np.log10(power[(f > 0.93 * hz) & (f < 1.07 * hz)].mean()))


@pytest.mark.parametrize("seconds", [1.0, 2.3])
def test_the_band_of_the_fault_rises_and_the_others_stay(tone, seconds):
    wave = noise(seconds, 99)
    out = Translator(tone)(wave, RATE, "fan", "tone")
    assert out.shape == wave.shape
    assert band_db(out, 3000) - band_db(wave, 3000) > 5
    for hz in (700, 1500, 6000):
        assert abs(band_db(out, hz) - band_db(wave, hz)) < 3


@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100])
def test_other_rates_are_translated_too(tone, rate_hz):
    wave = np.random.default_rng(1).normal(size=rate_hz).astype(np.float32) * 0.02
    wave.flags.writeable = False
    out = Translator(tone)(wave, rate_hz, "fan", "tone")
    assert out.shape == wave.shape
    assert np.isfinite(out).all()
    assert (out != wave).any()


def test_the_same_file_gives_the_same_anomaly(tone):
    donor = f"{tone}|{open_translator(tone).fingerprint[:12]}|fan|tone"
    wave = noise(2.0, 7)
    first, second = (
        render("translated", wave, RATE, -10, rng=np.random.default_rng(seed), donor=donor) for seed in (1, 2)
    )
    np.testing.assert_array_equal(first, second)
    again = [Translator(tone)(wave, RATE, "fan", "tone") for _ in range(2)]
    np.testing.assert_array_equal(*again)
    assert open_translator(tone) is open_translator(tone)


def test_the_checkpoint_says_what_it_can_make(tone):
    translator = open_translator(tone)
    assert translator.faults == [("fan", "tone")]
    assert StarGAN(checkpoint=str(tone)).shape == (2, 16)
    with pytest.raises(DataError, match="has no fault 'knock' of 'fan'; it has fan tone"):
        translator(noise(), RATE, "fan", "knock")


def test_a_file_that_is_no_translator_is_refused(tone, tmp_path):
    with pytest.raises(DataError, match="no such checkpoint"):
        open_translator(tmp_path / "none.safetensors")
    (tmp_path / "pickle.safetensors").write_bytes(b"cos\nsystem\n(S'ls'\ntR.")
    with pytest.raises(DataError, match="not a readable safetensors file"):
        open_translator(tmp_path / "pickle.safetensors")
    with pytest.raises(DataError, match="holds a network of tdnn, not of stargan"):
        open_translator(save_network("tdnn", tmp_path))
    with pytest.raises(DataError, match="its classes are not machine"):
        open_translator(save_network("stargan", tmp_path))
    tensors, metadata = read(tone)
    notes = json.loads(metadata[KEY])
    notes["classes"] = ["fan|tone", "fan|normal|x"]
    save_file(tensors, tmp_path / "changed.safetensors", {KEY: json.dumps(notes)})
    with pytest.raises(DataError, match="do not match its fingerprint"):
        open_translator(tmp_path / "changed.safetensors")
    with pytest.raises(RejectedAudio, match="no such checkpoint"):
        render("translated", noise(), RATE, 0, rng=np.random.default_rng(0), donor="/none|12|fan|tone")


def test_scaled_input_has_the_units_of_the_gains():
    _, config, model = small_model("stargan")
    (S,) = model.network.front(0.1 * torch.randn(1, 2 * config.sample_rate_hz))
    torch.testing.assert_close(scaled(S + SPREAD_DB) - scaled(S), torch.ones_like(S), rtol=1e-4, atol=1e-4)

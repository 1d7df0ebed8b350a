"""mn04 equals its authors' network on real weights; on random ones it is strict, batched and of any length."""

import hashlib
import itertools

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from fakes import write_clip
from small_models import mn04_checkpoint, save_mn04

from embedders import create, make_embedder
from embedders.pretrained.convolutional.mn04 import MN04Model, build_network
from embedders.pretrained.convolutional.mn04_front_end import MIN_SAMPLES, log_mel
from embedders.pretrained.convolutional.mn04_network import fold_normalisation, grids
from embedders.pretrained.weight_files import Checkpoint, read_checkpoint, write_checkpoint
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import read_recording
from featstore.cli import main
from featstore.errors import DataError
from featstore.store import FeatureStore

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return save_mn04(tmp_path_factory.mktemp("mn04") / "random.pt")


@pytest.fixture(scope="module")
def waves() -> np.ndarray:
    return (0.1 * np.random.default_rng(2).normal(size=(3, 20000))).astype(np.float32)


@pytest.fixture
def oracle(shared_data):
    """What the authors' own network gives for a wave, and the checkpoint."""
    checkpoint = shared_data / "encoders" / "mn04_as_mAP_432.pt"
    if not checkpoint.is_file():
        pytest.skip(f"the published weights are not at {checkpoint}")
    with np.load(shared_data / "encoders" / "mn04_expected.npz") as expected:
        return checkpoint, dict(expected)


def published_wave() -> np.ndarray:
    t = np.arange(320000) / 32000
    noise = np.random.default_rng(0).standard_normal(320000)
    return (0.2 * np.sin(2 * np.pi * (200 * t + 150 * t**2)) + 0.05 * noise).astype(np.float32)


def assert_equal(result, expected, name):
    np.testing.assert_allclose(np.asarray(result), expected, rtol=0, atol=TOLERANCE, err_msg=name)


def test_every_published_array(oracle):
    checkpoint, expected = oracle
    S = log_mel(torch.from_numpy(published_wave())[None])
    with torch.inference_mode():
        logits = build_network(read_checkpoint(checkpoint))(S)
    layers = (3, 6, 10, 12, 15, 16)
    embedder = create(f"mn04:checkpoint={checkpoint},pool=flat,layers={';'.join(map(str, layers))}")
    rows = embedder.embed(published_wave()[None])[0]
    result = {"spectrogram_mean": S[0].mean(-1), "spectrogram_first": S[0, :, :5], "logits": logits[0]}
    for layer, row in zip(layers, rows, strict=True):
        n_bands, dim = grids()[layer]
        result[f"layer{layer}"] = row[: n_bands * dim].reshape(n_bands, dim).T
    result["final"] = result.pop("layer16").mean(axis=1)
    assert set(result) == set(expected)
    for name, values in expected.items():
        assert_equal(result[name], values, name)
    assert_equal(create(f"mn04={checkpoint}").embed(published_wave()[None])[0], expected["final"], "mean")


def test_names_and_shapes_are_the_published_ones():
    tensors = mn04_checkpoint()
    listed = "\n".join(f"{name} {tuple(tensor.shape)}" for name, tensor in sorted(tensors.items()))
    assert len(tensors) == 312
    assert hashlib.sha256(listed.encode()).hexdigest() == NAMES_SHA256


NAMES_SHA256 = "8d86fb644905d37c7c6a561441574c00b66d4f07433218b367c085513085adba"


def test_numbers_of_random_weights_are_those_of_the_day_of_the_parity():
    """Where the published weights are absent, this pins what they were compared with."""
    network = build_network(Checkpoint(mn04_checkpoint()))
    S = torch.linspace(-1, 1, 128)[None, :, None] * torch.cos(torch.arange(40.0))[None, None]
    with torch.inference_mode():
        states, logits = network.states(S, (0, 3, 6, 10, 12, 15, 16)), network(S)
    norms = [float(x.norm()) for x in [*states, logits]]
    np.testing.assert_allclose(norms, GOLDEN_NORMS, rtol=1e-4)
    np.testing.assert_allclose(logits[0, :4], GOLDEN_LOGITS, rtol=0, atol=1e-3)


GOLDEN_NORMS = [36.2908, 88.3829, 25.2605, 122.0133, 189.9597, 122.3568, 305.6387, 128.7661]
GOLDEN_LOGITS = [-2.1648, 3.1684, 0.3677, -2.6366]


def plain_log_mel(wave: np.ndarray) -> np.ndarray:
    """The front end step by step in float64: (mel, frame)."""
    x = wave.astype(np.float64)
    x = np.array([x[i + 1] - 0.97 * x[i] for i in range(len(x) - 1)])
    x = np.concatenate([x[512:0:-1], x, x[-2:-514:-1]])
    window = np.zeros(1024)
    window[112:912] = [0.5 - 0.5 * np.cos(2 * np.pi * i / 799) for i in range(800)]
    mel = lambda hz: 1127 * np.log(1 + hz / 700)  # noqa: E731
    edges = np.linspace(0, mel(15000), 130)
    frames = []
    for start in range(0, len(x) - 1023, 320):
        power = np.abs(np.fft.rfft(x[start : start + 1024] * window)) ** 2
        energies = np.zeros(128)
        for m, k in itertools.product(range(128), range(512)):
            at = mel(k * 32000 / 1024)
            rise, fall = (at - edges[m]) / (edges[1] - edges[0]), (edges[m + 2] - at) / (edges[1] - edges[0])
            energies[m] += max(0.0, min(rise, fall)) * power[k]
        frames.append((np.log(energies + 1e-5) + 4.5) / 5)
    return np.array(frames).T


def test_front_end_by_its_definition():
    wave = (0.3 * np.random.default_rng(5).normal(size=1700)).astype(np.float32)
    expected = plain_log_mel(wave)
    assert expected.shape == (128, 6)
    np.testing.assert_allclose(log_mel(torch.from_numpy(wave)[None])[0], expected, rtol=0, atol=1e-4)


def test_folded_normalisation_changes_nothing(waves):
    network = build_network(Checkpoint(mn04_checkpoint()))
    S, layers = log_mel(torch.from_numpy(waves)), tuple(range(17))
    with torch.inference_mode():
        before = network.states(S, layers)
        fold_normalisation(network)
        after = network.states(S, layers)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    for x, y in zip(before, after, strict=True):
        torch.testing.assert_close(y, x, rtol=0, atol=1e-4 * float(x.abs().max()))


def test_grids_are_those_of_the_network(waves):
    network = build_network(Checkpoint(mn04_checkpoint()))
    with torch.inference_mode():
        states = network.states(log_mel(torch.from_numpy(waves[:1])), tuple(range(17)))
    assert grids() == tuple((x.shape[2], x.shape[1]) for x in states)
    assert [grids()[layer] for layer in (3, 6, 10, 12, 15, 16)] == [
        *((32, 16), (16, 16), (8, 32), (8, 48), (4, 64), (4, 384)),
    ]


def test_an_early_layer_runs_no_later_one(path, waves):
    model = create(f"mn04={path}").model
    assert isinstance(model, MN04Model)
    ran = []
    for layer, module in enumerate(model.network.features):
        module.register_forward_hook(lambda module, inputs, output, layer=layer: ran.append(layer))
    states = model.states(torch.from_numpy(waves), (3, 1))
    assert [x.shape[2:] for x in states] == [(32, 16), (64, 8)]
    assert ran == [0, 1, 2, 3]


def test_views_of_layers_and_poolings(path, waves):
    def embedder(text):
        return create(f"mn04:checkpoint={path},{text}")

    flat, bands, mean = (embedder(f"layers=3;16,pool={pool}") for pool in ("flat", "bands", "mean"))
    assert (flat.shape, flat.views) == ((2, 1536), ("l3", "l16"))
    assert (bands.shape, bands.views[31:33]) == ((36, 384), ("l3.b31", "l16.b0"))
    assert (mean.shape, mean.views) == ((2, 384), ("l3", "l16"))
    by_layer, by_band, rows = flat.embed(waves), bands.embed(waves), mean.embed(waves)
    np.testing.assert_array_equal(by_layer[:, 0, 512:], 0)
    assert (by_layer[:, 1, 512:] != 0).mean() > 0.5
    np.testing.assert_allclose(by_layer[:, 0, :512].reshape(3, 32, 16), by_band[:, :32, :16], atol=1e-6)
    np.testing.assert_allclose(by_layer[:, 1].reshape(3, 4, 384).mean(axis=1), rows[:, 1], atol=1e-5)
    np.testing.assert_allclose(embedder("layers=3,pool=flat").embed(waves), by_layer[:, 0, :512], atol=1e-6)
    np.testing.assert_allclose(create(f"mn04={path}").embed(waves), rows[:, 1], atol=1e-6)
    assert embedder("pool=stats").shape == (2, 384)


@pytest.mark.parametrize("n", [MIN_SAMPLES, 1345, 32000, 99999])
def test_any_length_alone_as_in_a_batch(path, n):
    embedder = create(f"mn04:checkpoint={path},layers=3;15;16,pool=flat")
    waves = (0.1 * np.random.default_rng(n).normal(size=(3, n))).astype(np.float32)
    together = embedder.embed(waves)
    alone = np.concatenate([embedder.embed(wave[None]) for wave in waves])
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5 * np.abs(alone).max())


def test_shorter_waves_are_refused(path):
    assert create(f"mn04={path}").min_samples == MIN_SAMPLES == 1025
    with pytest.raises(ValueError, match=r"at least 1025 samples, got \(2, 1024\)"):
        log_mel(torch.zeros(2, 1024))


def test_long_recordings_are_read_in_windows(path, waves):
    twice = np.concatenate([waves, waves], axis=1)
    windowed = create(f"mn04:checkpoint={path},window_s=0.625")
    expected = create(f"mn04={path}").embed(waves)
    np.testing.assert_allclose(windowed.embed(twice), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"last": 2}, "expected last=1 and float32"),
        ({"precision": "bfloat16"}, "expected last=1 and float32"),
        ({"layers": (17,)}, r"layers=17, last=1: the network of .*random\.pt has layers 0 to 16"),
        ({"pool": "max"}, "choose from mean, bands, flat, stats"),
    ],
)
def test_wrong_parameters_are_refused(path, params, message):
    with pytest.raises((ValueError, DataError), match=message):
        _ = make_embedder("mn04", checkpoint=str(path), **params).fingerprint


def spoil(tensors: dict, what: str) -> dict:
    weight = "features.4.block.0.0.weight"
    actions = {
        "wrong shape": lambda: tensors.update({weight: torch.zeros(32, 8, 1, 1)}),
        "extra": lambda: tensors.update({"features.17.0.weight": torch.zeros(1)}),
        "missing": lambda: tensors.pop("classifier.5.bias"),
        "NaN": lambda: tensors[weight].view(-1)[7].fill_(float("nan")),
        "variance": lambda: tensors["features.16.1.running_var"][3].fill_(-0.1),
        "type": lambda: tensors.update({weight: tensors[weight].long()}),
    }
    actions[what]()
    return tensors


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("wrong shape", r"of another shape than in mn04: features\.4\.block\.0\.0\.weight \(32, 8, 1, 1\) instead of"),
        ("extra", r"tensors of the checkpoint: unknown features\.17\.0\.weight\. Damaged, or not mn04; fetch it again"),
        ("missing", r"missing classifier\.5\.bias"),
        ("NaN", r"with NaN or infinite values: features\.4\.block\.0\.0\.weight"),
        ("variance", r"with negative variances: features\.16\.1\.running_var"),
        ("type", r"of another type: features\.4\.block\.0\.0\.weight"),
    ],
)
def test_loading_is_strict(tmp_path, what, message):
    torch.save(spoil(mn04_checkpoint(), what), tmp_path / "bad.pt")
    with pytest.raises(DataError, match=f"bad.pt: .*{message}"):
        _ = create(f"mn04={tmp_path / 'bad.pt'}").fingerprint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": mn04_checkpoint(), "cfg": {}}, "expected tensors by name only, got also cfg"),
        ({"hook": print}, "contains other objects than tensors"),
        ([torch.zeros(1)], "expected a dict of tensors, got list"),
    ],
    ids=["cfg", "code", "list"],
)
def test_other_files_are_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "bad.pt")
    with pytest.raises(DataError, match=f"bad.pt: .*{message}"):
        _ = create(f"mn04={tmp_path / 'bad.pt'}").fingerprint


def test_without_weights_the_error_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("FEATSTORE_MODELS", str(tmp_path / "models"))
    with pytest.raises(DataError, match=r"mn04_as_mAP_432\.pt\. Run `featstore models pull mn04`, or copy"):
        _ = create("mn04").shape


def test_fingerprint_follows_the_weights_and_the_options(path, tmp_path):
    write_checkpoint(tmp_path / "same.safetensors", Checkpoint(mn04_checkpoint()))
    specs = [f"mn04={path}", f"mn04={save_mn04(tmp_path / 'o.pt', seed=1)}", f"mn04:checkpoint={path},pool=flat"]
    first, *others = [create(spec).fingerprint for spec in specs]
    assert create(f"mn04={tmp_path / 'same.safetensors'}").fingerprint == first
    assert len({first, *others}) == 3


def test_layers_of_one_size_are_tokens(path, waves):
    model = create(f"mn04={path}").model
    assert model.tokens(torch.from_numpy(waves), (16,)).shape == (3, 1, 2, 4, 384)
    with pytest.raises(ValueError, match="layers 3, 16 of mn04 differ in size"):
        model.tokens(torch.from_numpy(waves), (3, 16))


def test_a_store_resamples_to_32_khz(path, tmp_path):
    for i in range(3):
        write_clip(tmp_path / "plant", f"fan/normal/{i}.wav", i, samples=4000 + 800 * i)
    words = ["build", str(tmp_path / "plant"), str(tmp_path / "store"), "-e", f"mn04={path}", "--workers", "0"]
    built = CliRunner().invoke(main, words)
    assert built.exit_code == 0, built.output
    store, embedder = FeatureStore.open(tmp_path / "store"), create(f"mn04={path}")
    assert store.info("mn04").sample_rate_hz == 32000
    for clip, row in zip(store.clips("mn04"), store.matrix("mn04"), strict=True):
        wave = read_recording(tmp_path / "plant" / clip.path, 32000, AudioPolicy()).wave
        assert len(wave) in (16000, 19200, 22400), "the files have 8 kHz"
        np.testing.assert_allclose(row, embedder.embed(wave[None])[0], atol=1e-5)

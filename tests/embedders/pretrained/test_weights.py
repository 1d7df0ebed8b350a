"""Weights: search order, reading without running code, checksums by content, and use in builds."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from fakes import write_clip
from small_models import beats_checkpoint, save_beats, save_encoder

from embedders import create
from embedders.pretrained import weights
from embedders.pretrained.weight_files import Checkpoint, read_all, read_checkpoint, write_checkpoint
from embedders.pretrained.weights import resolve
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import read_recording
from featstore.cli import main
from featstore.errors import DataError
from featstore.store import FeatureStore


@pytest.fixture(autouse=True)
def models_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FEATSTORE_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path / "models"


class ClientError(Exception):
    """An error as HTTP clients raise it, which is not an OSError."""


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A fake hub with a cache: the list of requests to each, and the cached models."""
    requests, cached = [], []

    def snapshot_download(repo, *, local_files_only=False, **options):
        requests.append("cache" if local_files_only else "hub")
        if local_files_only and not cached:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not cached")
        folder = tmp_path / "snapshot"
        folder.mkdir(exist_ok=True)
        torch.save({"a": torch.ones(1)}, folder / "pytorch_model.bin")
        return str(folder)

    class HfApi:
        def model_info(self, repo):
            if repo == "no/thing":
                raise ClientError("404: no such repository")
            names = ["README.md"] if repo == "no/weights" else ["config.json", "pytorch_model.bin"]
            return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in names])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(huggingface_hub, "HfApi", HfApi)
    return requests, cached


def find(checkpoint: str) -> Path:
    return resolve(checkpoint, name="beats", advice="Ask someone.")


def test_order_is_path_then_models_folder_then_cache_then_hub(tmp_path, monkeypatch, models_folder, hub):
    requests, cached = hub
    monkeypatch.chdir(tmp_path)
    assert find("some/model") == tmp_path / "snapshot"
    assert requests == ["cache", "hub"]
    cached.append("some/model")
    find("some/model")
    assert requests == ["cache", "hub", "cache"], "the hub is not asked for cached models"
    (models_folder / "some/model").mkdir(parents=True)
    assert find("some/model") == models_folder / "some/model"
    (tmp_path / "some/model").mkdir(parents=True)
    assert find("some/model") == Path("some/model")
    assert len(requests) == 3


def test_offline_never_asks_the_hub(monkeypatch, hub):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        DataError, match=r"some/model is not in the hub's cache; the hub was not asked.*featstore models pull"
    ):
        find("some/model")
    assert hub[0] == ["cache"]


def test_models_missing_on_the_hub_are_named(hub):
    expected = (
        r"no/thing: could not be fetched from the hub \(404.*copy the model's folder to .*models/no/thing\. Ask someone"
    )
    with pytest.raises(DataError, match=expected):
        find("no/thing")
    with pytest.raises(DataError, match="no/weights: the repository has no weights"):
        find("no/weights")


def test_a_missing_file_is_not_looked_for_on_the_hub(hub):
    with pytest.raises(DataError, match=r"no file models/x\.pt, nothing at .*models/models/x\.pt\. Ask someone\."):
        find("models/x.pt")
    assert hub[0] == []


class Evil:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


@pytest.mark.parametrize("container", ["torch", "pickle"])
def test_code_in_a_pickle_is_never_run(tmp_path, monkeypatch, container):
    monkeypatch.chdir(tmp_path)
    content = {"cfg": {}, "model": {"a": torch.ones(1)}, "hook": Evil()}
    if container == "torch":
        torch.save(content, "evil.pt")
    else:
        Path("evil.pt").write_bytes(pickle.dumps({"hook": Evil()}, protocol=2))
    with pytest.raises(DataError, match=r"evil\.pt: contains other objects than tensors"):
        read_checkpoint(Path("evil.pt"))
    assert not Path("pwned").exists()


@pytest.mark.parametrize("name", ["x.pt", "x.safetensors"])
def test_damaged_files_are_named(tmp_path, name):
    whole = tmp_path / name
    write_checkpoint(whole, Checkpoint({"a": torch.randn(1000)}))
    whole.write_bytes(whole.read_bytes()[:900])
    with pytest.raises(DataError, match=f"{name}: "):
        read_checkpoint(whole)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"<!DOCTYPE html><html>Sign in</html>", "begins with '<!DOCTYPE html><'.*a web page"), (b"", "is empty")],
)
def test_web_pages_and_empty_files_are_refused(tmp_path, content, message):
    (tmp_path / "BEATs_iter3.pt").write_bytes(content)
    with pytest.raises(DataError, match=rf"BEATs_iter3\.pt: {message}"):
        read_checkpoint(tmp_path / "BEATs_iter3.pt")


def test_content_decides_the_checksum(tmp_path):
    checkpoint = Checkpoint({"a": torch.arange(3.0), "b": torch.zeros(0)})
    for name in ("x.pt", "x.safetensors", "x.bin"):
        write_checkpoint(tmp_path / name, checkpoint)
        assert read_checkpoint(tmp_path / name).sha256() == checkpoint.sha256()
    others = [
        {"a": torch.arange(3.0)[None], "b": torch.zeros(0)},
        {"a": torch.arange(3.0).half(), "b": torch.zeros(0)},
        {"c": torch.arange(3.0), "b": torch.zeros(0)},
    ]
    assert len({checkpoint.sha256(), *(Checkpoint(other).sha256() for other in others)}) == 4


def test_safetensors_is_preferred_and_shards_are_joined(tmp_path):
    write_checkpoint(tmp_path / "pytorch_model.bin", Checkpoint({"a": torch.zeros(1)}))
    torch.save({"lr": 1}, tmp_path / "training_args.bin")
    write_checkpoint(tmp_path / "model-1.safetensors", Checkpoint({"a": torch.ones(1)}))
    write_checkpoint(tmp_path / "model-2.safetensors", Checkpoint({"b": torch.ones(2)}))
    assert set(read_all(tmp_path).tensors) == {"a", "b"}
    write_checkpoint(tmp_path / "other.safetensors", Checkpoint({"a": torch.ones(1)}))
    with pytest.raises(DataError, match="the same tensors are in several of"):
        read_all(tmp_path)


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def test_convert_keeps_fingerprint_and_every_key(tmp_path):
    official = save_beats(tmp_path / "a.pt", finetuned_model=True, predictor_dropout=0.0, predictor_class=5)
    forth = run("models", "convert", official, tmp_path / "b.safetensors")
    back = run("models", "convert", tmp_path / "b.safetensors", tmp_path / "c.pt")
    assert (forth.exit_code, back.exit_code) == (0, 0), forth.output + back.output
    assert len({create(f"beats={tmp_path / name}").fingerprint for name in ("a.pt", "b.safetensors", "c.pt")}) == 1
    assert torch.load(tmp_path / "c.pt", weights_only=True)["label_dict"][4] == "/m/4"
    again = run("models", "convert", official, tmp_path / "c.pt")
    assert again.exit_code == 1
    assert "exists and is not overwritten" in again.stderr
    nowhere = run("models", "convert", official, tmp_path / "none" / "d.safetensors")
    assert nowhere.exit_code == 1
    assert "d.safetensors: cannot be written" in nowhere.stderr


def test_a_folder_converted_in_place_is_the_same_model(tmp_path):
    folder = save_encoder(tmp_path / "model", "hubert")
    pickled = folder / "pytorch_model.bin"
    torch.save(dict(read_all(folder).tensors), pickled)
    (folder / "model.safetensors").unlink()
    before = create(f"hubert={folder}").fingerprint
    assert run("models", "convert", folder, folder / "model.safetensors").exit_code == 0
    pickled.unlink()
    assert create(f"hubert={folder}").fingerprint == before


def test_check_says_what_a_checkpoint_is(tmp_path):
    spec = f"beats={save_beats(tmp_path / 'a.pt')}"
    good = run("models", "check", spec)
    digest = Checkpoint(beats_checkpoint()["model"]).sha256()
    assert f"16 values per recording, finite\nweights sha256 {digest}" in good.stdout
    assert run("models", "check", spec, "--sha256", digest).exit_code == 0
    wrong = run("models", "check", spec, "--sha256", "0" * 64)
    assert wrong.exit_code == 1
    assert f"have sha256 {digest}, expected 0000" in wrong.stderr
    assert "no pretrained weights" in run("models", "check", "logmel").stderr


def test_list_shows_what_is_here_and_where_to_get_more(models_folder):
    assert "no weights on this machine yet" in run("models", "list").stdout
    models_folder.mkdir()
    save_beats(models_folder / "BEATs_iter3.pt")
    save_encoder(models_folder / "some" / "model", "hubert")
    (models_folder / "some" / "up").symlink_to(models_folder)
    listed = run("models", "list")
    assert [line.split()[0] for line in listed.stdout.splitlines()[2:]] == ["BEATs_iter3.pt", "some/model"]
    assert run("models", "check", "hubert=some/model").exit_code == 0
    assert "https://github.com/microsoft/unilm" in listed.stderr


def test_pull_offline_is_refused(monkeypatch, hub):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "copy the model's folder" in run("models", "pull", "some/model").stderr
    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert "pytorch_model.bin" in run("models", "pull", "wav2vec2=some/model").stdout
    assert weights.offline() is False


def test_a_file_is_not_pulled(hub):
    assert "expected a hub id, owner/model" in run("models", "pull", "beats=BEATs_iter3.pt").stderr
    assert hub[0] == []


def test_offline_option_reaches_the_search_for_weights(tmp_path, monkeypatch, plant, hub):
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    refused = run("build", plant, tmp_path / "store", "-e", "hubert=some/model", "--offline")
    assert refused.exit_code == 1
    assert "the hub was not asked (offline)" in refused.stderr
    assert not list((tmp_path / "store").rglob("*.h5"))


@pytest.fixture
def plant(tmp_path):
    for i in range(6):
        write_clip(tmp_path / "plant", f"fan/normal/{i}.wav", i, samples=4000)
    return tmp_path / "plant"


def test_a_frozen_encoder_store_is_built_verified_and_guarded(tmp_path, plant):
    store = tmp_path / "store"
    specs = [
        "-e",
        f"beats={save_beats(tmp_path / 'a.pt')}",
        "-e",
        f"wav2vec2={save_encoder(tmp_path / 'w', 'wav2vec2')}",
    ]
    built = run("build", plant, store, *specs, "--workers", 0, "--unit-clips", 2)
    assert built.exit_code == 0, built.output
    assert run("verify", store).exit_code == 0
    opened = FeatureStore.open(store)
    info = opened.embeddings["beats"]
    assert json.loads(json.dumps(info.config))["weights_sha256"] == Checkpoint(beats_checkpoint()["model"]).sha256()
    assert opened.matrix("wav2vec2").shape == (6, 16)
    assert "6 kept" in run("build", plant, store, *specs, "--workers", 0).stdout
    other = run("build", plant, store, "-e", f"beats={save_beats(tmp_path / 'b.pt', seed=1)}", "--workers", 0)
    assert other.exit_code == 1, other.output
    assert "was built with checkpoint a.pt, weights_sha256" in other.stderr


@pytest.mark.parametrize("kind", ["wav2vec2", "ast"])
def test_clips_of_unequal_length_get_what_they_get_alone(tmp_path, kind):
    """In wav2vec 2.0 with group norm, the padding of a batch would change the embeddings."""
    for i, samples in enumerate((4000, 7000, 4160, 4000, 5000)):
        write_clip(tmp_path / "plant", f"fan/normal/{i}.wav", i, samples=samples)
    spec = f"{kind}={save_encoder(tmp_path / 'model', kind)}"
    run("build", tmp_path / "plant", tmp_path / "store", "-e", spec, "--workers", 0, "--batch", 4)
    store, embedder = FeatureStore.open(tmp_path / "store"), create(spec)
    for clip, row in zip(store.clips(kind), store.matrix(kind), strict=True):
        wave = read_recording(tmp_path / "plant" / clip.path, 16000, AudioPolicy()).wave
        np.testing.assert_allclose(row, embedder.embed(wave[None])[0], atol=1e-5)


def test_a_killed_build_resumes_and_ends_with_the_same_rows(tmp_path, plant):
    for i in range(6, 160):  # so many that a busy machine does not finish them before the kill
        write_clip(plant, f"fan/normal/{i}.wav", i, samples=4000)
    spec = f"beats={save_beats(tmp_path / 'a.pt')}"
    options = ["-e", spec, "--workers", "0", "--unit-clips", "1"]
    command = [sys.executable, "-m", "featstore.cli", "build", str(plant), str(tmp_path / "killed"), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "killed").glob("manifest/*"))) < 4:
        assert time.monotonic() < deadline, "the build made no progress"
        assert process.poll() is None, "the build ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    rows = FeatureStore.open(tmp_path / "killed").rows("beats")
    assert 0 < rows < 160
    again = run("build", plant, tmp_path / "killed", *options)
    assert f"{rows} kept" in again.stdout, again.output
    assert run("verify", tmp_path / "killed").exit_code == 0
    run("build", plant, tmp_path / "whole", *options)
    whole, resumed = (FeatureStore.open(tmp_path / name) for name in ("whole", "killed"))
    assert list(whole.clips("beats").keys()) == list(resumed.clips("beats").keys())
    assert (whole.matrix("beats") == resumed.matrix("beats")).all()

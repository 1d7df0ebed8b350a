"""Checkpoints: round trip, fingerprint, and errors that name what does not fit."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from places import DATA
from safetensors.torch import save_file
from small_networks import NETWORKS, save_network

from embedders import create
from embedders.networks.checkpoint import KEY, Trained, fill, load, read, save
from featstore.errors import DataError

GOLDEN = DATA / "golden_networks.npz"


def golden(name: str, folder: Path) -> np.ndarray:
    """Embedding of two seconds of noise by a network with weights of seed 0."""
    wave = np.random.default_rng(0).normal(scale=0.1, size=(1, 32000)).astype(np.float32)
    return create(f"{name}={save_network(name, folder)}").embed(wave)[0]


@pytest.fixture
def trained():
    layer = torch.nn.Linear(3, 2)
    return Trained("tdnn", {"a": 1}, layer.state_dict(), ("fan|00|",), {"name": "arcface", "params": {}}, {"epochs": 1})


def test_round_trip(tmp_path, trained):
    save(tmp_path / "a.safetensors", trained)
    back = load(tmp_path / "a.safetensors", "tdnn")
    assert replace(back, tensors={}) == replace(trained, tensors={})
    assert back.fingerprint == trained.fingerprint
    torch.testing.assert_close(dict(back.tensors), dict(trained.tensors), rtol=0, atol=0)


def test_fingerprint_is_of_all_that_changes_numbers(trained):
    plain = trained.fingerprint
    assert replace(trained, facts={"epochs": 2}).fingerprint == plain
    weights = {name: value + 1e-6 for name, value in trained.tensors.items()}
    for changes in ({"config": {"a": 2}}, {"tensors": weights}, {"loss": {}}, {"classes": ("x|0",)}, {"name": "ae"}):
        assert replace(trained, **changes).fingerprint != plain


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("bias"), r"bias \(2,\) is missing"),
        (lambda t: t.update(extra=torch.zeros(1)), "unknown key extra"),
        (lambda t: t.update(bias=torch.zeros(3)), r"bias is \(3,\) torch.float32, expected \(2,\) torch.float32"),
        (lambda t: t.update(bias=torch.zeros(2).half()), "bias is .* torch.float16"),
    ],
)
def test_tensors_that_do_not_fit_are_named(trained, tmp_path, change, message):
    tensors = dict(trained.tensors)
    change(tensors)
    with pytest.raises(DataError, match=message):
        fill(torch.nn.Linear(3, 2), tensors, tmp_path)


def test_changed_weights_are_noticed(trained, tmp_path):
    save(tmp_path / "a.safetensors", trained)
    tensors, metadata = read(tmp_path / "a.safetensors")
    save_file({name: value + 1 for name, value in tensors.items()}, tmp_path / "b.safetensors", metadata)
    with pytest.raises(DataError, match="do not match its fingerprint"):
        load(tmp_path / "b.safetensors", "tdnn")


def test_pickles_and_other_files_are_refused(tmp_path, trained):
    path = tmp_path / "a.safetensors"
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(DataError, match="pickles are never opened"):
        load(path, "tdnn")
    save_file(dict(trained.tensors), path)
    with pytest.raises(DataError, match="not a checkpoint of `featstore train`"):
        load(path, "tdnn")
    save_file(dict(trained.tensors), path, {KEY: json.dumps([1])})
    with pytest.raises(DataError, match="metadata missing or damaged"):
        load(path, "tdnn")
    with pytest.raises(DataError, match="no such checkpoint"):
        load(tmp_path / "none", "tdnn")


def test_another_network_is_named(tmp_path):
    path = save_network("ae", tmp_path)
    with pytest.raises(DataError, match="holds a network of ae, not of tdnn; write ae="):
        _ = create(f"tdnn={path}").shape
    with pytest.raises(DataError, match="tdnn needs a checkpoint: write tdnn=CHECKPOINT"):
        _ = create("tdnn").shape


@pytest.mark.parametrize("name", NETWORKS)
def test_golden_embedding(name, tmp_path):
    with np.load(GOLDEN) as stored:
        np.testing.assert_allclose(golden(name, tmp_path), stored[name], rtol=1e-3, atol=1e-3)

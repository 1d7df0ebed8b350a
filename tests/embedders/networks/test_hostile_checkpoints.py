"""Checkpoints that others changed: refused in one line that names the file, before memory is taken."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small_networks import CHECKPOINTS, save_network

from embedders import create
from embedders.networks.checkpoint import KEY, load, read, save
from embedders.networks.translation.translator import open_translator
from featstore.errors import DataError

CLASSES = ("fan|normal", "fan|wear", "fan|leak")


@pytest.fixture
def trained(tmp_path):
    """A small translator."""
    return replace(load(save_network("stargan", tmp_path), "stargan"), classes=CLASSES)


def refused(path, message):
    with pytest.raises(DataError, match=f"^{path}: .*{message}"):
        open_translator(path)


def test_the_unchanged_file_is_accepted(trained, tmp_path):
    save(tmp_path / "a.safetensors", trained)
    assert open_translator(tmp_path / "a.safetensors").faults == [("fan", "wear"), ("fan", "leak")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 1_000_000}, "its config is of a larger network than its weights"),
        ({"dim": 100_000}, "its config is of a larger network than its weights"),
        ({"blocks": 1_000_000}, "its config is of a larger network than its weights"),
        ({"blocks": 10**7}, "blocks=10000000: expected a number of at most 1,000,000"),
        ({"n_fft": 2**31}, "n_fft=2147483648: expected a number of at most 1,000,000"),
        ({"n_fft": 10**6, "n_mels": 10**6}, "expected a product of at most 100,000,000"),
        ({"width": 10**400}, "width=a number of more than 40 digits: expected"),
        ({"width": 64.5}, r"width=64\.5: expected int"),
        ({"width": "64"}, "width='64': expected int"),
        ({"width": True}, "width=true: expected int"),
        ({"width": [8]}, r"width=\[8\]: expected int"),
        ({"width": {}}, "width={}: expected int"),
        ({"seconds": None}, "seconds=none: expected float"),
        ({"seconds": 1e6}, "seconds=1000000.0: expected more than 0 and at most 600 s"),
        ({"most_db": float("nan")}, "most_db=nan: expected a number"),
        ({"center": 1}, "center=1: expected bool"),
        ({"mel_scale": 5}, "mel_scale=5: expected str"),
        ({"mel_scale": "x" * 5000}, "at most 4096 characters"),
        ({"sample_rate_hz": 1}, "sample_rate_hz=1: expected 1,000 to 768,000 Hz"),
        ({"sample_rate_hz": 10**12}, "expected 1,000 to 768,000 Hz"),
        ({"width": 16}, "expected"),
        ({"nothing": 1}, "does not fit this version"),
    ],
)
def test_a_config_out_of_range_is_refused(trained, tmp_path, changes, message):
    path = tmp_path / "a.safetensors"
    save(path, replace(trained, config={**trained.config, **changes}))
    refused(path, message)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ((1, 2, 3), "at most 10,000 classes"),
        (("fan|normal", "fan|" + "x" * 2000, "fan|y"), "at most 1,000 characters"),
        (tuple(f"fan|{i}" for i in range(100_000)), "at most 10,000 classes"),
        (tuple(f"fan|{i}" for i in range(9_000)), "its config is of a larger network than its weights"),
    ],
)
def test_classes_out_of_range_are_refused(trained, tmp_path, classes, message):
    path = tmp_path / "a.safetensors"
    save(path, replace(trained, classes=classes))
    refused(path, message)


def test_weights_that_are_not_finite_are_refused(trained, tmp_path):
    path = tmp_path / "a.safetensors"
    tensors = dict(trained.tensors) | {"classify.bias": torch.full_like(trained.tensors["classify.bias"], torch.nan)}
    save(path, replace(trained, tensors=tensors))
    refused(path, "classify.bias has values that are not finite")


def test_translations_that_are_not_finite_are_refused(trained, tmp_path):
    path = tmp_path / "a.safetensors"
    tensors = {key: value * 1e38 if value.is_floating_point() else value for key, value in trained.tensors.items()}
    tensors["codes.weight"] = torch.full_like(tensors["codes.weight"], 3e38)
    tensors["network.generator.first.weight"] = torch.full_like(tensors["network.generator.first.weight"], 3e38)
    save(path, replace(trained, tensors={key: value.nan_to_num() for key, value in tensors.items()}))
    with pytest.raises(DataError, match="wear of fan gives values that are not finite"):
        open_translator(path)(np.ones(32000, np.float32), 16000, "fan", "wear")


@pytest.mark.parametrize("key", ["name", "config", "classes", "loss", "facts", "format", "fingerprint"])
@pytest.mark.parametrize("value", [5.5, None])
def test_metadata_of_another_type_is_refused(trained, tmp_path, key, value):
    path = tmp_path / "a.safetensors"
    save(path, trained)
    tensors, metadata = read(path)
    save_file(tensors, path, {KEY: json.dumps({**json.loads(metadata[KEY]), key: value})})
    refused(path, f"metadata missing or damaged: {key}: expected")


@pytest.mark.parametrize("text", ["[" * 100_000, "[1]", "5", "null", '{"name":' + "9" * 5000 + "}"])
def test_other_metadata_is_refused(trained, tmp_path, text):
    path = tmp_path / "a.safetensors"
    save_file(dict(trained.tensors), path, {KEY: text})
    refused(path, "metadata missing or damaged")


def test_a_pipe_and_a_long_name_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "not a regular file")
    refused(tmp_path / ("x" * 5000), "File name too long")


@pytest.mark.parametrize("loss", [{"name": 5, "params": {}}, {"name": "arcface", "params": [1]}, {}, {"name": "none"}])
def test_another_loss_is_refused(tmp_path, loss):
    path = save_network("tdnn", tmp_path)
    save(path, replace(load(path, "tdnn"), loss=loss))
    with pytest.raises(DataError, match=f"^{path}: its network cannot be built"):
        create(f"tdnn={path}").embed(np.zeros((1, 32000), np.float32))


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_every_network_passes_its_own_limit(name, tmp_path):
    assert create(f"{name}={CHECKPOINTS[name](tmp_path)}").model is not None

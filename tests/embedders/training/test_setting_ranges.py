"""Settings of a training that no network can have: refused with the setting, what came and what is expected."""

import pytest
from click.testing import CliRunner
from training_plant import quick_setup, write_plant

from embedders.training import request
from embedders.training.request import TrainRequest, parse_setup, train_requested
from embedders.training.settings import TrainConfig
from embedders.training.train import train
from featstore import registry
from featstore.cli import main
from featstore.errors import DataError, ResourceError

pytestmark = pytest.mark.usefixtures("unsynced")


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    root = tmp_path_factory.mktemp("plant")
    return root, write_plant(root)


@pytest.mark.parametrize(
    ("name", "setting", "message"),
    [
        ("tdnn", "seconds=nan", "seconds=nan: expected more than 0 and at most 600 s"),
        ("tdnn", "seconds=inf", "seconds=inf: expected more than 0 and at most 600 s"),
        ("tdnn", "seconds=-1", "seconds=-1.0: expected more than 0"),
        ("tdnn", "seconds=0", "seconds=0.0: expected more than 0"),
        ("two_branch", "seconds=1e9", "at most 600 s"),
        ("glow", f"hop={10**30}", "hop=10+: expected a number of at most 1,000,000"),
        ("glow", "seed=-1", "seed=-1: expected 0 or more"),
        ("glow", f"seed={10**30}", "seed=10+: expected 0 or more, below"),
        ("glow", f"levels={10**18}", "levels=10+: expected a number of at most 1,000,000"),
        ("glow", "width=1000000000", "width=1000000000: expected a number of at most 1,000,000"),
        ("glow", "amin=inf", "amin=inf: expected a number"),
        ("glow", "margin=nan", "margin=nan: expected a number"),
        ("glow", "n_fft=1000000", "n_mels=128, n_fft=1000000: expected a product of at most 100,000,000"),
        ("two_branch", "sample_rate_hz=1", "sample_rate_hz=1: expected 1,000 to 768,000 Hz"),
        ("multires", "windows=" + ";".join(["1024"] * 65), "65 values, expected at most 64"),
        ("multires", "windows=1024;1000000000", "expected a number of at most 1,000,000"),
        ("tdnn", "learning_rate=inf", "learning_rate=inf: expected a finite number"),
        ("tdnn", "weight_decay=nan", "weight_decay=nan: expected a finite number"),
        ("tdnn", "loss.m=nan", "loss.m=nan: expected a number"),
        ("tdnn", "loss.s=1e99", "loss.s=1e99: expected a number"),
    ],
)
def test_a_setting_out_of_range_is_named(name, setting, message):
    with pytest.raises(ValueError, match=message):
        parse_setup(name, (setting,))


@pytest.mark.parametrize("name", registry.names("embedder"))
def test_defaults_are_in_range(name):
    kind = registry.find("embedder", name)
    if hasattr(kind, "config_type"):
        request.check_values(kind.config_type, {})
    TrainConfig()


def test_the_command_says_so_in_one_line(plant, tmp_path):
    command = ["train", "tdnn", str(plant[0]), "-o", str(tmp_path / "a.safetensors"), "--set", "seconds=nan"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert "seconds=nan: expected more than 0 and at most 600 s" in result.output


def test_a_network_too_large_for_memory_is_refused(plant, tmp_path):
    with pytest.raises(DataError, match="glow: the network has more than 4,000,000,000 values"):
        train(*plant, quick_setup("glow", "width=1000000"), tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("can't allocate memory: you tried"), RuntimeError("CUDA out of memory")]
)
def test_no_memory_while_training_is_said(plant, tmp_path, monkeypatch, error):
    def fails(*args, **kwargs):
        raise error

    monkeypatch.setattr(request, "train", fails)
    wanted = TrainRequest(name="tdnn", data=plant[0], out=tmp_path / "a.safetensors", device="cpu")
    with pytest.raises(ResourceError, match="tdnn: the training does not fit in memory; use a smaller batch"):
        train_requested(wanted, report=lambda progress: None)


def test_another_failure_is_not_hidden(plant, tmp_path, monkeypatch):
    def fails(*args, **kwargs):
        raise RuntimeError("another")

    monkeypatch.setattr(request, "train", fails)
    wanted = TrainRequest(name="tdnn", data=plant[0], out=tmp_path / "a.safetensors", device="cpu")
    with pytest.raises(RuntimeError, match="another"):
        train_requested(wanted, report=lambda progress: None)

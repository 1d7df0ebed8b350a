"""Every published system on a small scale, from recordings to metrics, by the commands that it prints."""

import csv
import json

import pytest
from click.testing import CliRunner
from small_models import save_named_models

from ensemble.cli import main as detect
from ensemble.systems.catalogue import find_system, names
from ensemble.systems.lines import command_lines
from featstore.cli import main as featstore

SMALL = {
    "stgram": ("n_mels=16", "n_fft=2048", "hop=2048", "dim=16"),
    "tdnn": ("n_mels=16", "n_fft=2048", "hop=2048", "width=8", "dim=16"),
    "two_branch": ("windows=512", "branch_dim=8"),
    "multires": ("windows=256;1024", "branch_dim=8"),
    "sw_wavenet": ("n_mels=16", "n_fft=2048", "hop=2048", "width=8", "layers=2", "dim=16"),
    "fte_net": ("windows=512", "branch_dim=8"),
    "estm": ("n_mels=16", "n_fft=2048", "hop=2048", "width=8", "state=4", "segments=8", "dim=16"),
    "ae": ("n_mels=16", "hop=1024", "width=8"),
    "idnn": ("n_mels=16", "hop=1024", "width=8"),
    "transae": ("n_mels=16", "hop=1024", "depth=1", "feedforward=16"),
    "aegan": ("n_mels=32", "frames=32", "width=2", "latent=8", "seconds=1"),
    "finetune": ("dim=16", "warmup=2", "seconds=1"),
    "na_beats": ("dim=16", "heads=2", "rooms=4", "warmup=2"),
    "idcaf": ("n_mels=16", "hop=1024", "width=8"),
    "anp": ("n_mels=16", "hop=1024", "frames=8", "step=8", "tile_mels=4", "tile_frames=2", "width=16"),
    "made": ("n_mels=16", "hop=1024", "bands=4", "width=32"),
    "glow": ("n_mels=16", "hop=1024", "patch=8", "step=8", "levels=2", "flows=1", "width=8", "code=4", "seconds=1"),
    "dp_mae": ("n_mels=16", "patch_mels=8", "dim=16", "decoder_dim=8", "heads=2", "depth=1", "decoder_depth=1"),
    "mobilenetv2": ("n_mels=32", "patch=16", "factor=0.1", "seconds=0.48"),
}
UNTRAINED = {
    "gen_twfr_gmm": ("r=0;0.9",),
    "mimii_agent": ("stats=mean",),
    "genrep": ("layers=1",),
    "stargan_aug": (
        "stats=mean",
        "translator.n_mels=16",
        "translator.width=8",
        "translator.hop=512",
        "translator.epochs=2",
    ),
}
ON_ONE_CORE = {"build": ["--workers", "0"], "train": ["--threads", "1"], "select": ["--workers", "0"]}
QUICK = ("epochs=2", "batch=8", "holdout=0.2", "learning_rate=0.001")


def run(words, code=0):
    result = CliRunner().invoke({"featstore": featstore, "detect": detect}[words[0]], words[1:])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two simulated machines before two microphones, clips of two seconds in two domains."""
    root = tmp_path_factory.mktemp("plant") / "data"
    plant = ["--clips", "60", "--machines", "fan,valve", "--seconds", "2", "--microphones", "2"]
    run(["featstore", "simulate", str(root), *plant])
    return root


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return save_named_models(tmp_path_factory.mktemp("models"))


def confirm_faults(data, path):
    """A file of faults as if a person had confirmed a third of each machine's; of the others nothing is read."""
    faults = sorted(file.relative_to(data).as_posix() for file in data.rglob("*_test_anomaly_*.wav"))
    path.write_text("\n".join(["clip,label", *(f"{fault},fault" for fault in faults[::3])]))
    return str(path)


@pytest.mark.parametrize("name", names())
def test_a_system_runs_from_recordings_to_metrics(data, models, tmp_path, monkeypatch, name):
    monkeypatch.setenv("FEATSTORE_MODELS", str(models))
    system = find_system(name)
    small = (*SMALL[system.embedder], *QUICK) if system.trained else UNTRAINED.get(name, ())
    small += ("pretrain.epochs=2", "pretrain.batch=8") if "pretrain.epochs" in system.settings else ()
    small += ("imprint=1",) if "imprint" in system.settings else ()
    places = {"data": str(data), "store": str(tmp_path / "store"), "checkpoint": str(tmp_path / "a.safetensors")}
    faults = confirm_faults(data, tmp_path / "faults.csv")
    *before, scoring = command_lines(system, **places, settings=small, faults=faults)
    for words in before:
        few = ["1:impacts,squeal@0" if word == "auto" else word for word in words]
        run([*few, *ON_ONE_CORE.get(words[1], [])])
    run([*scoring, "-o", str(tmp_path / "out")])
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert 0 < metrics["official_score"]["value"] < 1
    with (tmp_path / "out" / "scores.csv").open(newline="") as file:
        scores = {row["clip"]: float(row["score"]) for row in csv.DictReader(file)}
    assert len(scores) == 24
    assert len(set(scores.values())) > 12

"""Densities, neural processes and networks per section: the loss falls, the own section fits best, seeds repeat."""

import numpy as np
import pytest
import soundfile
from training_plant import quick_setup, write_plant

from embedders import create
from embedders.training.train import train

pytestmark = pytest.mark.usefixtures("unsynced")
SETTINGS = {
    "made": (),
    "anp": (),
    "glow": ("labels=section", "epochs=8"),
    "idcaf": ("labels=section", "epochs=16"),
}


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    root = tmp_path_factory.mktemp("plant")
    return root, write_plant(root, attributes=False)


@pytest.fixture(scope="module", params=SETTINGS)
def trained(request, plant, tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "a.safetensors"
    return request.param, path, train(*plant, quick_setup(request.param, *SETTINGS[request.param]), path)


def test_the_loss_falls(trained):
    history = trained[2].facts["history"]
    assert history[-1]["loss"] < history[0]["loss"]
    assert history[-1]["held_out"] < history[0]["held_out"]


def test_seeds_repeat(trained, plant, tmp_path):
    name, _, first = trained
    again = train(*plant, quick_setup(name, *SETTINGS[name]), tmp_path / "b.safetensors")
    assert again.fingerprint == first.fingerprint


@pytest.mark.parametrize("trained", ["made", "anp"], indirect=True)
def test_checkpoints_without_sections_hold_no_classes(trained):
    assert trained[2].classes == ()


@pytest.mark.parametrize("trained", ["glow", "idcaf"], indirect=True)
def test_clips_fit_their_own_section_best_within_their_machine(trained, plant):
    name, path, checkpoint = trained
    assert checkpoint.classes == ("fan|00", "fan|01", "pump|00", "pump|01")
    assert checkpoint.loss == {}
    root, clips = plant
    vectors = create(f"{name}={path}").embed(
        np.stack([soundfile.read(root / clip.path, dtype="float32")[0] for clip in clips])
    )
    assert vectors.shape == (48, 4)
    own = np.array([checkpoint.classes.index(f"{clip.machine}|{clip.section}") for clip in clips])
    rival = own ^ 1  # the other section of the machine
    rows = np.arange(len(clips))
    assert (vectors[rows, own] > vectors[rows, rival]).mean() > 0.9

"""Training: deterministic, resumable to the same weights, evaluated on held-out normal clips, and it learns."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner
from training_plant import quick_setup

from embedders import create
from embedders.networks.checkpoint import read
from embedders.networks.classifiers.tdnn import TDNN, TDNNNet
from embedders.training.data import Waves, fit, hold_out, training_clips
from embedders.training.labels import class_labels
from embedders.training.loop import Loop
from embedders.training.request import parse_setup
from embedders.training.settings import Setup, TrainConfig
from embedders.training.train import make_loop, settle, train
from featstore.cli import main
from featstore.clip import Clip
from featstore.errors import DataError

SMALL = ("n_mels=32", "hop=1024", "n_fft=1024", "width=16", "epochs=3", "batch=8", "learning_rate=0.01", "holdout=0.2")


pytestmark = pytest.mark.usefixtures("unsynced")


@pytest.fixture(scope="module")
def plant(tmp_path_factory) -> tuple[Path, list[Clip]]:
    """Two machines of different pitch with twelve clips of different lengths; test files are not audio."""
    root, rng, clips = tmp_path_factory.mktemp("plant"), np.random.default_rng(0), []
    for machine, pitch_hz in (("fan", 300), ("pump", 1200)):
        for i in range(12):
            t = np.arange(16000 + 1000 * (i % 3)) / 16000
            wave = 0.3 * np.sin(2 * np.pi * pitch_hz * t) + 0.05 * rng.normal(size=len(t))
            soundfile.write(root / f"{machine}_{i}.wav", wave, 16000)
            clips.append(Clip(f"{machine}_{i}.wav", machine, "00", "train", "source", "normal"))
        (root / f"{machine}_test.wav").write_bytes(b"a test clip is never read")
        clips.append(Clip(f"{machine}_test.wav", machine, "00", "test", "source", "anomaly"))
    return root, clips


def setup(*settings: str, name: str = "tdnn") -> Setup:
    return parse_setup(name, (*SMALL, *settings))


class DroppingNet(TDNNNet):
    """A network with dropout, which uses torch's own generator."""

    def forward(self, waves, S):
        return torch.nn.functional.dropout(super().forward(waves, S), 0.5, self.training)


class Dropping(TDNN):
    network_type = DroppingNet


class Stop(Exception):
    pass


def stop_at(step: int):
    def report(progress):
        if progress.done == step:
            raise Stop

    return report


def test_learns_to_classify_machines(plant, tmp_path):
    trained = train(*plant, setup("epochs=6"), tmp_path / "a.safetensors")
    history = trained.facts["history"]
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert trained.classes == ("fan|00|", "pump|00|")
    embedder = create(f"tdnn:checkpoint={tmp_path / 'a.safetensors'},output=posterior")
    waves = [soundfile.read(plant[0] / f"{m}_0.wav", dtype="float32")[0] for m in ("fan", "pump")]
    np.testing.assert_array_equal(embedder.embed(np.stack(waves)).argmax(axis=1), [0, 1])


def test_the_kept_weights_are_those_of_the_best_held_out_loss(plant, tmp_path, monkeypatch):
    states = []

    def scripted(loop):
        states.append({name: value.clone() for name, value in loop.state.evaluated().state_dict().items()})
        return (3.0, 1.0, 2.0, 2.0)[len(states) - 1]

    monkeypatch.setattr("embedders.training.loop.Loop._held_out", scripted)
    trained = train(*plant, setup("epochs=4"), tmp_path / "a.safetensors")
    torch.testing.assert_close(dict(trained.tensors), states[1], rtol=0, atol=0)
    assert trained.facts["kept"] == 2
    assert len(states) == 4
    states.clear()
    assert len(train(*plant, setup("epochs=4", "patience=1"), tmp_path / "b.safetensors").facts["history"]) == 3


INTERRUPTED = {
    "augmented": setup("augment=mixup:p=0.5,alpha=0.5+gain+specaugment", "ema=0.9", "loss=scadacos"),
    "exchanged": quick_setup("two_branch", "augment=mixup:p=0.5+statex+featex", "loss=featex", "labels=section"),
    "pre-trained": setup("loss=clp_scf", "pretrain.loss.projector=true", "pretrain.epochs=1", "epochs=2", "ema=0.9"),
    "in turns": quick_setup("aegan", "ema=0.9", "match_std=1", "beta1=0.5", "weight_decay=0.01"),
    "random targets": quick_setup("anp"),
    "selective": setup("loss=scan", "loss.warmup=1"),
    "transformed": setup("loss=ntxent", "augment=views+transform"),
    "masked": quick_setup("dp_mae", "loss=cross_entropy", "pretrain.loss=own", "pretrain.epochs=1", "epochs=2"),
    "dropping": Setup(Dropping, {"n_mels": 32, "width": 16}, TrainConfig(epochs=3, batch=8, holdout=0.2)),
}
"""Two steps per epoch; step 3 is in the second epoch, and with pre-training in the second stage."""


@pytest.fixture(scope="module", params=INTERRUPTED)
def whole(request, plant, tmp_path_factory):
    """A setup, and its training without interruption."""
    chosen = INTERRUPTED[request.param]
    return chosen, train(*plant, chosen, tmp_path_factory.mktemp("whole") / "a.safetensors")


@pytest.mark.parametrize("step", [1, 2, 3])
def test_interrupted_equals_uninterrupted(plant, tmp_path, whole, step, monkeypatch):
    chosen, expected = whole
    monkeypatch.setattr("embedders.training.loop.SAVE_S", 0.0)  # a state after every step
    with pytest.raises(Stop):
        train(*plant, chosen, tmp_path / "b.safetensors", report=stop_at(step + 1))
    assert (tmp_path / "b.safetensors.resume").exists()
    assert not (tmp_path / "b.safetensors").exists()
    first = []
    again = train(*plant, chosen, tmp_path / "b.safetensors", report=lambda p: first.append(p.done))
    assert first[0] == step + 1
    assert again.fingerprint == expected.fingerprint
    assert again.facts == expected.facts
    assert not (tmp_path / "b.safetensors.resume").exists()


def test_the_state_is_not_saved_at_every_step(plant, tmp_path):
    written = []
    resume = tmp_path / "a.safetensors.resume"
    train(*plant, setup(), tmp_path / "a.safetensors", report=lambda p: written.append(resume.exists()))
    assert not any(written)  # a minute has not passed


def test_batch_norms_in_a_loss_have_the_statistics_of_their_inputs(plant, tmp_path):
    trained = train(*plant, setup("loss=clp_scf", "epochs=1"), tmp_path / "a.safetensors")
    assert trained.tensors["loss.head.1.running_mean"].abs().max() > 1e-3
    vectors = create(f"tdnn={tmp_path / 'a.safetensors'}").embed(waves_of(plant))
    assert np.abs(vectors.mean(axis=0)).max() < 0.5  # normalised over the training clips
    assert 0.3 < vectors.std(axis=0).mean() < 3


def waves_of(plant):
    root, clips = plant
    paths = [root / clip.path for clip in clips if clip.split == "train"]
    return np.stack([soundfile.read(path, dtype="float32")[0][:16000] for path in paths])


@pytest.mark.parametrize("seconds", [0.3, 2.5])
def test_clips_longer_and_shorter_than_the_crop_train_and_embed(plant, tmp_path, seconds):
    trained = train(*plant, setup(f"seconds={seconds}", "epochs=1"), tmp_path / "a.safetensors")
    assert trained.config["seconds"] == seconds
    assert np.isfinite(create(f"tdnn={tmp_path / 'a.safetensors'}").embed(waves_of(plant))).all()


def test_half_precision_only_if_the_device_supports_it(plant, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(TDNNNet, "forward", spied(TDNNNet.forward, seen))
    train(*plant, setup("epochs=1"), tmp_path / "a.safetensors")
    assert set(seen) == {torch.float32}
    loop = Loop.__new__(Loop)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: False)
    for device in ("cpu", "cuda"):
        loop.device = torch.device(device)
        assert not loop._autocast()._enabled
    loop.device = torch.device("cuda")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: True)
    assert loop._autocast().fast_dtype == torch.bfloat16


def spied(forward, seen):
    def call(self, *features):
        z = forward(self, *features)
        seen.append(z.dtype)
        return z

    return call


def test_progress_counts_all_stages(plant, tmp_path):
    seen = []
    chosen = setup("epochs=2", "pretrain.epochs=1")
    train(*plant, chosen, tmp_path / "a.safetensors", report=seen.append)
    assert [p.done for p in seen] == [1, 2, 3, 4, 5, 6]
    assert {p.total for p in seen} == {6}
    assert [p.epoch for p in seen] == [1, 1, 1, 1, 2, 2]
    assert np.isnan(seen[2].held_out)
    assert np.isfinite(seen[-1].held_out)
    assert all(np.isfinite(p.loss) for p in seen)


def test_the_average_moves_towards_the_weights_by_one_minus_ema(plant, tmp_path):
    root, clips = plant
    chosen = training_clips(clips)
    job = settle(root, chosen, setup("ema=0.75"), 1)
    with closing(Waves([root / clip.path for clip in chosen], 16000, 16000, "0", 1)) as waves:
        loop = make_loop(job, job.plans[0], waves, "cpu")
        model, average = loop.state.models()
        expected = [weight.detach().clone() for weight in model.parameters()]
        for batch in (np.arange(8), np.arange(8, 16)):
            loop.step(torch.from_numpy(next(waves.batches([batch], None))), batch)
            expected = [
                0.75 * mean + 0.25 * weight.detach() for mean, weight in zip(expected, model.parameters(), strict=True)
            ]
    torch.testing.assert_close(list(average.parameters()), expected)
    torch.testing.assert_close(dict(average.named_buffers()), dict(model.named_buffers()), rtol=0, atol=0)
    loop.state.save(tmp_path / "a.resume", "key")
    saved = read(tmp_path / "a.resume")[0]
    for prefix in ("model.", "ema."):
        assert {name for name in saved if name.startswith(prefix)} == {prefix + name for name in model.state_dict()}


def test_seeds_differ(plant, tmp_path):
    prints = {
        train(*plant, setup("epochs=1", f"seed={seed}"), tmp_path / f"{seed}.safetensors").fingerprint
        for seed in (0, 1)
    }
    assert len(prints) == 2


def test_state_of_another_training_is_refused(plant, tmp_path, monkeypatch):
    monkeypatch.setattr("embedders.training.loop.SAVE_S", 0.0)
    with pytest.raises(Stop):
        train(*plant, setup(), tmp_path / "a.safetensors", report=stop_at(2))
    with pytest.raises(DataError, match=r"other settings or recordings; delete it"):
        train(*plant, setup("seed=1"), tmp_path / "a.safetensors")


def test_autoencoder_lowers_its_error(plant, tmp_path):
    chosen = parse_setup("ae", ("n_mels=32", "epochs=5", "batch=4", "learning_rate=0.01", "augment=mix_features"))
    history = train(*plant, chosen, tmp_path / "ae.safetensors").facts["history"]
    assert history[-1]["held_out"] < history[0]["held_out"]


def test_hold_out_empties_no_class(rng):
    labels = np.array([0] * 20 + [1] * 20 + [2, 3])
    held = hold_out(labels, 0.1, rng)
    assert np.bincount(labels[held], minlength=4).tolist() == [2, 2, 0, 0]
    few = np.repeat(np.arange(5), 2)
    held = hold_out(few, 0.05, rng)
    assert held.sum() == 1
    assert set(few[~held]) == set(few)


def test_every_class_with_two_clips_is_held_out_where_it_must_be(rng):
    labels = np.array([0] * 20 + [1] * 4 + [2] * 2 + [3])
    assert np.bincount(labels[hold_out(labels, 0.05, rng)], minlength=4).tolist() == [1, 0, 0, 0]
    held = hold_out(labels, 0.05, rng, every_class=True)
    assert np.bincount(labels[held], minlength=4).tolist() == [1, 1, 1, 0]


def test_windows_of_one_recording_are_held_out_together(rng):
    names = [f"normal{i // 3}" for i in range(30)] + [f"fault{i // 2}" for i in range(6)] + ["single"] * 3
    labels = np.array([0] * 30 + [1] * 6 + [2] * 3)
    held = hold_out(labels, 0.2, rng, recordings=names, every_class=True)
    assert np.bincount(labels[held]).tolist() == [6, 2]  # 2 of 10 recordings, 1 of 3, and none of a single one
    assert not {name for name, out in zip(names, held, strict=True) if out} & set(np.array(names)[~held])


def test_a_class_whose_windows_are_in_recordings_of_another_keeps_one(rng):
    names, labels = ["a", "a", "b", "b", "c", "d"], np.array([0, 1, 0, 1, 0, 0])
    for _ in range(20):
        held = hold_out(labels, 0.45, rng, recordings=names)
        assert set(labels[~held]) == {0, 1}
        assert held[0] == held[1]
        assert held[2] == held[3]


def test_windows_of_a_single_recording_are_held_out_one_by_one(rng):
    held = hold_out(np.zeros(40, dtype=int), 0.05, rng, recordings=["long.wav"] * 40)
    assert held.sum() == 2


def test_recordings_without_windows_are_held_out_as_before():
    labels = np.array([0] * 20 + [1] * 9)
    plain, named = (
        hold_out(labels, 0.1, np.random.default_rng(0), recordings=names)
        for names in ((), [f"{i:02d}.wav" for i in range(29)])
    )
    assert plain.tolist() == named.tolist()


def test_only_normal_training_recordings_train():
    kinds = [
        ("train", "normal"),
        ("train", "unknown"),
        ("train", "anomaly"),
        ("test", "normal"),
        ("supplemental", "normal"),
    ]
    clips = [Clip(f"{split}_{label}_{i}", "fan", "00", split, label=label) for split, label in kinds for i in range(2)]
    assert {clip.path[:-2] for clip in training_clips(clips)} == {"train_normal", "train_unknown"}
    with pytest.raises(DataError, match="0 normal training clips"):
        training_clips(clips[4:])


def test_labels_follow_attributes_and_domain():
    clips = [Clip(f"{v}{d}", "fan", "00", "train", d, attributes={"v": v}) for v in "12" for d in ("source", "target")]
    assert class_labels(clips, "section")[0] == ("fan|00",)
    names, labels = class_labels(clips, "attributes")
    assert names == ("fan|00|v=1", "fan|00|v=2")
    assert labels.tolist() == [0, 0, 1, 1]
    assert len(class_labels(clips, "domain")[0]) == 4
    names, labels = class_labels(clips, "section_domain")
    assert names == ("fan|00|source", "fan|00|target")
    assert labels.tolist() == [0, 1, 0, 1]


def test_waves_are_cropped_or_repeated(rng):
    wave = np.arange(10.0)
    assert fit(wave, 4, None).tolist() == [0, 1, 2, 3]
    crops = {tuple(fit(wave, 4, rng)) for _ in range(200)}
    assert crops == {tuple(wave[i : i + 4]) for i in range(7)}
    repeated = fit(wave[:3], 7, rng)
    assert set(np.diff(repeated)) <= {1.0, -2.0}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("epoch=3",), "unknown setting: 'epoch'; did you mean epochs"),
        (("epochs=many",), "--set epochs=many: expected"),
        (("loss=arcfac",), "unknown loss: 'arcfac'; did you mean arcface"),
        (("loss.margin=1",), "unknown parameter of loss arcface: 'margin'"),
        (("epochs",), "expected KEY=VALUE"),
        (("labels=x",), "unknown labels 'x'; choose from section"),
        (("batch=1",), "batch=1: expected 2"),
    ],
)
def test_wrong_settings_say_why(settings, message):
    with pytest.raises(ValueError, match=message):
        parse_setup("tdnn", settings)


def test_settings_are_sorted_to_network_training_and_loss():
    chosen = parse_setup("stgram", ("channels=logmel;tagram", "epochs=2", "loss.m=0.5", "loss=noisy_arcmix"))
    assert chosen.network == {"channels": ("logmel", "tagram")}
    assert chosen.train == TrainConfig(epochs=2, loss="noisy_arcmix")
    assert chosen.loss == {"m": 0.5}
    with pytest.raises(ValueError, match="logmel is not trained"):
        parse_setup("logmel", ())


def test_command_trains_builds_and_refuses_to_overwrite(tmp_path):
    data, out, store = tmp_path / "data", tmp_path / "a.safetensors", tmp_path / "store"
    rng = np.random.default_rng(0)
    for machine in ("fan", "pump"):
        for split, label, n in (("train", "normal", 6), ("test", "normal", 1), ("test", "abnormal", 1)):
            (data / machine / split / label).mkdir(parents=True)
            for i in range(n):
                soundfile.write(data / machine / split / label / f"{i}.wav", 0.1 * rng.normal(size=16000), 16000)
    command = ["train", "tdnn", str(data), "-o", str(out), *(part for item in SMALL for part in ("--set", item))]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert "3 epochs; kept epoch" in result.output
    again = CliRunner().invoke(main, command)
    assert again.exit_code == 1
    assert "exists and is not overwritten" in again.output
    built = CliRunner().invoke(main, ["build", str(data), str(store), "-e", f"tdnn={out}", "--workers", "0"])
    assert built.exit_code == 0, built.output
    assert "tdnn holds 16 rows" in built.output

"""Augmentations that define a task: labels of transforms, pairs of views, and the same held-out task in every epoch."""

from contextlib import closing

import numpy as np
import pytest
import torch
from training_plant import quick_setup, write_plant

from embedders import create
from embedders.training.augment import make_augmentation
from embedders.training.data import Waves, training_clips
from embedders.training.train import make_loop, settle, train
from embedders.training.transforms import CLASSES, VIEWS, transform, views

pytestmark = pytest.mark.usefixtures("unsynced")
N = 300


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    root = tmp_path_factory.mktemp("plant")
    return root, write_plant(root)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_labels_are_class_and_transform():
    waves = torch.rand(N, 400)
    target = torch.eye(2)[torch.arange(N) % 2]
    out, label = transform(waves, target, rng=generator())
    kind, own = label.view(N, len(CLASSES), 2).sum(2), label.view(N, len(CLASSES), 2).sum(1)
    assert torch.equal(own, target)
    assert (kind.sum(1) == 1).all()
    counts = kind.sum(0)
    assert (counts - N / len(CLASSES)).abs().max() < 4 * (N / len(CLASSES)) ** 0.5  # 11 classes, equally likely
    names = np.array(list(CLASSES))[kind.argmax(1).numpy()]
    for i, name in enumerate(names):
        assert torch.equal(out[i], waves[i]) == (name == "untouched")
    backwards = np.flatnonzero(names == "reversed")
    assert torch.equal(out[backwards], waves[backwards].flip(1))
    louder = np.flatnonzero(names == "louder")
    gain_db = 20 * torch.log10(out[louder] / waves[louder])
    torch.testing.assert_close(gain_db, gain_db[:, :1].expand_as(gain_db), atol=1e-3, rtol=0)
    assert 0.5 <= float(gain_db.min()) <= float(gain_db.max()) <= 2.5


def test_mixed_labels_stay_mixed():
    target = torch.tensor([[0.3, 0.7]])
    label = transform(torch.rand(1, 400), target, rng=generator())[1]
    assert label[label > 0].tolist() == pytest.approx([0.3, 0.7])


def test_views_come_in_pairs_and_differ():
    waves, target = torch.rand(N, 400), torch.eye(N)
    out, label = views(waves, target, rng=generator(), p=0.3)
    assert torch.equal(label, target.repeat(2, 1))
    untouched = (out == waves.repeat(2, 1)).all(1)
    assert float(untouched.float().mean()) == pytest.approx(0.7 ** len(VIEWS), abs=0.05)
    assert not torch.equal(out[:N], out[N:])
    assert torch.equal(views(waves, target, rng=generator(), p=0.0)[0], waves.repeat(2, 1))
    with pytest.raises(ValueError, match="expected a probability"):
        make_augmentation("views", p=1.5).apply(waves, target, rng=generator())


@pytest.mark.parametrize("settings", [("loss=ntxent", "augment=views"), ("augment=transform",), ()])
def test_held_out_clips_get_the_task_with_the_same_random_numbers(plant, settings):
    root, clips = plant
    chosen = training_clips(clips)
    setup = quick_setup("tdnn", "labels=section", *settings)
    job = settle(root, chosen, setup, 1)
    samples = round(job.network.seconds * job.network.sample_rate_hz)
    with closing(Waves([root / clip.path for clip in chosen], 16000, samples, "0", 1)) as waves:
        loop = make_loop(job, job.plans[0], waves, "cpu")
        first = loop._held_out()
        torch.rand(3)
        loop.augment.rng.manual_seed(99)
        assert loop._held_out() == first
        held = next(iter(loop._whole(loop.held_rows)))
        inputs = loop._inputs(*held, loop._fixed())
    n = len(held[1])
    if "augment=views" in settings:
        assert len(inputs[0][0]) == 2 * n
        assert inputs[3]["view_of"].tolist() == [*range(n), *range(n)]
    else:
        assert torch.equal(inputs[0][0], held[0]) == (not settings)
    if "augment=transform" in settings:
        assert inputs[1].shape == (n, 4 * len(CLASSES))
        assert inputs[4](torch.zeros(n, 16))[1].shape == (n, 4 * len(CLASSES))


def test_a_training_on_transforms_gives_the_probability_of_untouched_sections(plant, tmp_path):
    trained = train(*plant, quick_setup("tdnn", "augment=transform", "labels=section"), tmp_path / "a.safetensors")
    assert len(trained.tensors["loss.centres"]) == 4 * len(CLASSES)
    embedder = create(f"tdnn:checkpoint={tmp_path / 'a.safetensors'},output=posterior")
    vectors = embedder.embed(np.random.default_rng(0).normal(size=(2, 8000)).astype(np.float32))
    assert vectors.shape == (2, 4)
    assert (np.exp(vectors).sum(axis=1) < 1).all()


def test_views_bring_the_clips_apart(plant, tmp_path):
    setup = quick_setup("tdnn", "loss=ntxent", "augment=views", "labels=section", "epochs=8")
    history = train(*plant, setup, tmp_path / "a.safetensors").facts["history"]
    assert history[-1]["loss"] < history[0]["loss"]


def test_labels_of_attributes_are_kept_beside_those_of_transforms(plant, tmp_path):
    setup = quick_setup("tdnn", "augment=transform", "loss=hmic", "labels=section", "epochs=1")
    trained = train(*plant, setup, tmp_path / "a.safetensors")
    assert len(trained.tensors["loss.section.linear.weight"]) == 4 * len(CLASSES)
    assert len(trained.tensors["loss.group.linear.weight"]) == 8

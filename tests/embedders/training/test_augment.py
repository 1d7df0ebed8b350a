"""Augmentations: their effect on clips and labels, and that all randomness is from the generator."""

import math

import numpy as np
import pytest
import torch

from embedders.training.augment import AUGMENTATIONS, make_augmentation

N, CLASSES = 8, 3
NEEDED = {"crop": {"length": 30}}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(name, rng):
    shapes = {"waves": (N, 40), "features": (N, 40), "spectrogram": (N, 10, 12), "branches": (N, 6)}
    x = rng.normal(size=shapes[AUGMENTATIONS[name].on])
    return torch.from_numpy(x), torch.from_numpy(rng.dirichlet(np.ones(CLASSES), N))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_pure_deterministic_and_labels_stay_distributions(name, rng):
    x, target = batch(name, rng)
    before = x.clone(), target.clone()
    augmentation = make_augmentation(name, **NEEDED.get(name, {}))
    torch.manual_seed(5)
    state = torch.get_rng_state()
    y, label = augmentation.apply(x, target, rng=generator(1))
    again = augmentation.apply(x, target, rng=generator(1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, before[0])
    assert torch.equal(target, before[1])
    assert torch.equal(y, again[0])
    assert torch.equal(label, again[1])
    assert not torch.equal(y, augmentation.apply(x, target, rng=generator(2))[0])
    assert y.dtype == x.dtype
    assert label.shape == (N * augmentation.copies, CLASSES * augmentation.label_factor)
    torch.testing.assert_close(label.sum(1), torch.ones(len(label), dtype=torch.float64))


@pytest.mark.parametrize("per_batch", [False, True])
def test_mixup_mixes_clips_and_labels_by_one_share(per_batch):
    x = torch.eye(N, dtype=torch.float64)
    y, label = make_augmentation("mixup", alpha=0.5, per_batch=per_batch).apply(x, x, rng=generator())
    assert torch.equal(y, label)
    torch.testing.assert_close(y.sum(1), torch.ones(N, dtype=torch.float64))
    assert len(y.diagonal().unique()) == (1 if per_batch else N)
    assert sorted((y - y.diagonal().diag()).argmax(1).tolist()) == list(
        range(N)
    )  # each clip has another one as partner


def test_mixup_shares_follow_the_beta_law_and_p():
    n = 4000
    x, target = torch.arange(n, dtype=torch.float64)[:, None], torch.ones(n, 1, dtype=torch.float64)
    untouched = make_augmentation("mixup", p=0.25).apply(x, target, rng=generator())[0] == x
    assert float(untouched.double().mean()) == pytest.approx(0.75, abs=0.03)
    assert torch.equal(make_augmentation("mixup", p=0.0).apply(x, target, rng=generator())[0], x)
    pair = torch.eye(2, dtype=torch.float64)
    shares = [make_augmentation("mixup", alpha=0.5).apply(pair, pair, rng=generator(i))[0][0, 0] for i in range(400)]
    assert float(torch.stack(shares).var()) == pytest.approx(1 / 8, abs=0.02)  # of Beta(1/2, 1/2)


@pytest.mark.parametrize("over", [-1, -2])
def test_statex_takes_the_partners_statistics_and_labels(over, rng):
    S = torch.from_numpy(rng.normal(size=(N, 10, 12)) * rng.uniform(1, 9, (N, 1, 1)) + rng.normal(size=(N, 1, 1)))
    target = torch.eye(N, dtype=torch.float64)
    y, label = make_augmentation("statex", p=0.5, over=over).apply(S, target, rng=generator())
    changed = 0
    for i in range(N):
        if torch.equal(y[i], S[i]):
            assert torch.equal(label[i], torch.cat([target[i], torch.zeros(2 * N)]))
            continue
        changed += 1
        unchanged, own, partner = label[i].split(N)
        j = int(partner.argmax())
        assert j != i
        assert not unchanged.any()
        assert torch.equal(own, target[i] / 2)
        assert torch.equal(partner, target[j] / 2)
        torch.testing.assert_close(y[i].mean(over), S[j].mean(over))
        torch.testing.assert_close(y[i].std(over), S[j].std(over))
        slope = np.corrcoef(y[i].select(1 if over == -2 else 0, 0), S[i].select(1 if over == -2 else 0, 0))[0, 1]
        assert slope == pytest.approx(1.0)  # mean and deviation are all that changed
    assert 0 < changed < N


def test_featex_swaps_one_branch(rng):
    z, target = torch.from_numpy(rng.normal(size=(N, 6))), torch.eye(N, dtype=torch.float64)
    y, label = make_augmentation("featex", p=1.0, keep=2).apply(z, target, rng=generator())
    partner = label[:, 2 * N :].argmax(1)
    assert sorted(partner.tolist()) == list(range(N))
    assert (partner != torch.arange(N)).all()
    assert torch.equal(y, torch.cat([z[:, :2], z[partner, 2:]], 1))
    assert torch.equal(label[:, N : 2 * N], target / 2)
    twice = make_augmentation("featex").apply(y, label, rng=generator())[1]
    assert twice.shape == (N, 9 * N)


@pytest.mark.parametrize("name", ["statex", "featex"])
def test_a_clip_alone_in_its_batch_is_not_changed(name, rng):
    x, target = batch(name, rng)
    y, label = make_augmentation(name, p=1.0).apply(x[:1], target[:1], rng=generator())
    assert torch.equal(y, x[:1])
    assert torch.equal(label[:, :CLASSES], target[:1])


def test_specaugment_masks_one_run_of_frames_and_one_of_bands(rng):
    S, target = torch.from_numpy(rng.normal(size=(200, 2, 10, 12))), torch.ones(200, 1)
    y, _ = make_augmentation("specaugment", p=1.0, max_frames=4, max_mels=3).apply(S, target, rng=generator())
    masked = y != S
    torch.testing.assert_close(y[masked], S.mean((1, 2, 3))[:, None, None, None].expand_as(S)[masked])
    frames, bands = masked.all(3).all(1), masked.all(2).all(1)
    assert set(frames.sum(1).tolist()) == {0, 1, 2, 3, 4}
    assert set(bands.sum(1).tolist()) == {0, 1, 2, 3}
    assert (frames.long().diff(dim=1).abs().sum(1) <= 2).all()
    assert torch.equal(masked, (frames[:, None, :, None] | bands[:, None, None, :]).expand_as(S))
    flipped, _ = make_augmentation("specaugment", p=1.0, max_frames=4, max_mels=3, frame=-1, mel=-2).apply(
        S.mT, target, rng=generator()
    )
    torch.testing.assert_close(flipped.mT, y)


def test_crop_cuts_runs_and_tiles_short_clips():
    waves, target = torch.arange(10.0).repeat(50, 1), torch.ones(50, 1)
    cut, _ = make_augmentation("crop", length=4).apply(waves, target, rng=generator())
    assert (cut.diff(dim=1) == 1).all()
    assert set(cut[:, 0].tolist()) == set(range(7))
    tiled, _ = make_augmentation("crop", length=23).apply(waves, target, rng=generator())
    assert ((tiled[:, 1:] - tiled[:, :-1]) % 10 == 1).all()
    assert len(tiled[:, 0].unique()) == 10
    whole, _ = make_augmentation("crop", length=10).apply(waves, target, rng=generator())
    assert torch.equal(whole, waves)


def test_shift_rotates_and_gain_scales():
    waves, target = 1 + torch.arange(10.0).repeat(300, 1), torch.ones(300, 1)
    rotated, _ = make_augmentation("shift", most=0.5).apply(waves, target, rng=generator())
    assert set(rotated[:, 0].tolist()) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert torch.equal(rotated.sort(1).values, waves)
    louder, _ = make_augmentation("gain", max_db=3.0).apply(waves, target, rng=generator())
    level_db = 20 * torch.log10(louder / waves)
    torch.testing.assert_close(level_db, level_db[:, :1].expand_as(level_db), atol=1e-4, rtol=0)
    assert float(level_db.min()) == pytest.approx(-3, abs=0.1)
    assert float(level_db.max()) == pytest.approx(3, abs=0.1)


def test_wrong_names_and_values_are_refused():
    x = torch.zeros(2, 4)
    with pytest.raises(ValueError, match="did you mean mixup"):
        make_augmentation("mixupp")
    with pytest.raises(ValueError, match="did you mean alpha"):
        make_augmentation("mixup", alpa=1.0)
    bad = [("mixup", "p", 1.5), ("mixup", "alpha", 0), ("crop", "length", 0), ("featex", "keep", 4)]
    for name, key, value in [*bad, ("gain", "max_db", math.inf), ("specaugment", "max_mels", -1)]:
        with pytest.raises(ValueError, match="expected"):
            make_augmentation(name, **{key: value}).apply(
                x[:, None] if name == "specaugment" else x, x, rng=generator()
            )

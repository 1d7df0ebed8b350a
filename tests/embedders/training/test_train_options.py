"""Options of a training: every loss and augmentation trains and gets the labels and counts it needs."""

import numpy as np
import pytest
import torch
from training_plant import QUICK, SMALL, quick_setup, write_plant

from embedders import create
from embedders.losses.table import LOSSES
from embedders.training.augment import AUGMENTATIONS
from embedders.training.data import training_clips
from embedders.training.request import parse_setup
from embedders.training.train import make_loop, settle, train
from featstore.errors import DataError

NEEDED = {"crop": "crop:length=6000"}
WITH_LOSS = {"featex": ["augment=featex"], "ntxent": ["augment=views"]}


pytestmark = pytest.mark.usefixtures("unsynced")


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    root = tmp_path_factory.mktemp("plant")
    return root, write_plant(root)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    root = tmp_path_factory.mktemp("bare")
    return root, write_plant(root, attributes=False)


def plan_of(plant, setup):
    root, clips = plant
    return settle(root, training_clips(clips), setup, 1).plans[-1]


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_from_its_name_alone(plant, tmp_path, loss):
    name = {"featex": "two_branch", "own": "dp_mae"}.get(loss, "tdnn")
    chosen = quick_setup(name, "epochs=1", f"loss={loss}", *WITH_LOSS.get(loss, ()))
    trained = train(*plant, chosen, tmp_path / "a.safetensors")
    assert all(np.isfinite(entry["held_out"]) for entry in trained.facts["history"])
    vectors = create(f"{name}={tmp_path / 'a.safetensors'}").embed(np.ones((2, 8000), np.float32))
    assert vectors.shape == (2, 16)


@pytest.fixture(scope="module")
def untouched(plant, tmp_path_factory):
    return train(*plant, quick_setup("tdnn", "epochs=1"), tmp_path_factory.mktemp("a") / "plain.safetensors")


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_augmentation_trains(plant, tmp_path, name, untouched):
    network = "two_branch" if name == "featex" else "tdnn"
    chosen = quick_setup(network, f"augment={NEEDED.get(name, name)}", "epochs=1")
    trained = train(*plant, chosen, tmp_path / "a.safetensors")
    assert trained.fingerprint != untouched.fingerprint
    centres = trained.tensors["loss.centres"]
    assert len(centres) == AUGMENTATIONS[name].label_factor * len(trained.classes)


def test_counts_are_filled_in_from_clips_network_and_augmentations(plant):
    plan = plan_of(plant, quick_setup("tdnn", "loss=ustc", "labels=section"))
    assert len(plan.labels.classes) == 4
    assert plan.loss["params"] == {"n_attributes": 4}  # two machines of two speeds
    plan = plan_of(plant, quick_setup("tdnn", "loss=hmic", "labels=section"))
    assert plan.loss["params"] == {"n_groups": 8}  # and of two sections
    assert plan_of(plant, quick_setup("multires", "loss=subspace")).loss["params"] == {"branches": 3}
    plan = plan_of(plant, quick_setup("two_branch", "loss=featex", "augment=statex+featex"))
    assert plan.loss == {"name": "featex", "params": {"factor": 9}, "factor": 9}
    assert plan.keep == 8
    assert plan_of(plant, quick_setup("multires", "loss=featex", "augment=featex")).loss["params"] == {"factor": 3}


def test_transforms_of_waves_get_the_sample_rate_of_the_network(plant):
    plan = plan_of(plant, quick_setup("tdnn", "augment=views:p=0.2+gain", "sample_rate_hz=8000"))
    assert [augmentation.apply.keywords for augmentation in plan.augmentations] == [{"p": 0.2, "rate_hz": 8000}, {}]


def test_labels_of_attributes_and_groups_by_hand(plant):
    plan = plan_of(plant, quick_setup("tdnn", "loss=hmic", "labels=section"))
    group = plan.labels.extra["group"]
    assert (group.sum(axis=1) == 1).all()
    assert group[:4].argmax(axis=1).tolist() == [1, 0, 1, 0]  # fan 00: slow, fast, ...; names sort fast before slow
    assert group[12:14].argmax(axis=1).tolist() == [3, 2]
    attribute = plan_of(plant, quick_setup("tdnn", "loss=ustc", "labels=section")).labels.extra["attribute"]
    np.testing.assert_array_equal(attribute[:12], attribute[12:24])  # the same speeds of another section
    assert not (attribute[:12] * attribute[24:36]).any()


def test_clips_without_attributes_have_no_label_where_others_have(plant):
    root, clips = plant
    mixed = [clip if clip.machine == "fan" else type(clip)(**fields_of(clip, attributes={})) for clip in clips]
    plan = plan_of((root, mixed), quick_setup("tdnn", "loss=ustc", "labels=section"))
    assert plan.labels.extra["attribute"].sum(axis=1).tolist() == [1] * 24 + [0] * 24


def fields_of(clip, **changes):
    return {name: getattr(clip, name) for name in clip.__dataclass_fields__} | changes


@pytest.mark.parametrize("loss", ["ustc", "hmic"])
def test_without_attributes_the_error_says_what_to_use(bare, loss):
    with pytest.raises(ValueError, match="no training clip has attributes; add pseudo=logmel"):
        plan_of(bare, quick_setup("tdnn", f"loss={loss}", "labels=section"))
    plan = plan_of(bare, quick_setup("tdnn", f"loss={loss}", "labels=section", "pseudo=logmel:stats=mean;std"))
    assert len(plan.labels.classes) == 4
    assert (next(iter(plan.labels.extra.values())).sum(axis=1) == 1).all()


def test_pseudo_attributes_are_the_true_clusters(bare):
    clips = bare[1]
    plan = plan_of(bare, quick_setup("tdnn", "labels=pseudo", "pseudo=logmel:stats=mean"))
    fast = np.array([int(clip.path[-6:-4]) % 2 for clip in clips])
    source = np.array([clip.domain == "source" for clip in clips])
    for part in ("fan|00", "pump|01"):
        rows = np.array([f"{clip.machine}|{clip.section}" == part for clip in clips])
        label = plan.labels.label[rows & source]
        assert len(set(label)) == 2
        assert len(set(zip(label, fast[rows & source], strict=True))) == 2
    assert all("|cluster=source." in name or "|cluster=target." in name for name in plan.labels.classes)


def test_clusters_by_k_means_in_numbers_per_domain(bare):
    """Nine source and three target clips in each of four sections."""
    settings = ("labels=domain", "pseudo=logmel:stats=mean", "clusters=kmeans:source=2,target=1")
    plan = plan_of(bare, quick_setup("tdnn", *settings))
    ends = [name.rpartition("cluster=")[2] for name in plan.labels.classes]
    assert sorted(ends) == sorted(["source.0|source", "source.1|source", "target.0|target"] * 4)
    for clip, label in zip(bare[1], plan.labels.label, strict=True):
        assert plan.labels.classes[label].endswith(f"|{clip.domain}")
    with pytest.raises(ValueError, match=r"nothing is clustered; add pseudo=EMBEDDER or labels=pseudo"):
        quick_setup("tdnn", "clusters=kmeans")


def test_given_attributes_are_not_replaced_by_clusters(plant):
    with_pseudo = plan_of(plant, quick_setup("tdnn", "labels=pseudo"))
    assert with_pseudo.labels.classes == plan_of(plant, quick_setup("tdnn")).labels.classes


def test_a_checkpoint_of_a_first_training_clusters(bare, tmp_path):
    train(*bare, quick_setup("tdnn", "labels=section"), tmp_path / "first.safetensors")
    second = quick_setup("tdnn", "labels=pseudo", f"pseudo=tdnn={tmp_path / 'first.safetensors'}")
    assert len(train(*bare, second, tmp_path / "second.safetensors").classes) > 4


def test_training_starts_from_network_and_projector_of_the_pre_training(plant, tmp_path):
    settings = ("loss=clp_scf", "labels=section", "pretrain.loss.projector=true", "pretrain.epochs=1", "epochs=1")
    trained = train(*plant, quick_setup("tdnn", *settings), tmp_path / "a.safetensors")
    assert len(trained.facts["pretraining"]) == len(trained.facts["history"]) == 1
    assert trained.loss["name"] == "clp_scf"
    assert trained.facts["pretrain"]["loss"] == {"name": "supcon", "params": {"projector": True}}
    # With a tiny learning rate the weights stay those of the pre-training.
    still = quick_setup("tdnn", *settings, "learning_rate=1e-30", "pretrain.learning_rate=0.01")
    before = parse_setup("tdnn", (*SMALL["tdnn"], *QUICK, "loss=supcon", "loss.projector=true", "labels=section"))
    first = train(*plant, type(before)(before.kind, before.network, still.pretrain.train, before.loss), tmp_path / "b")
    second = train(*plant, still, tmp_path / "c.safetensors")
    names = [name for name in second.tensors if name.startswith(("network.layers", "loss.head")) and "weight" in name]
    assert any(name.startswith("loss.head") for name in names)
    for name in names:
        torch.testing.assert_close(second.tensors[name], first.tensors[name], rtol=0, atol=1e-12)


def test_imprinted_centres_are_mean_directions_of_the_target_classes(plant, tmp_path):
    settings = ("labels=domain", "epochs=2", "imprint=1", "learning_rate=1e-30")
    trained = train(*plant, quick_setup("tdnn", *settings), tmp_path / "a.safetensors")
    embedder = create(f"tdnn={tmp_path / 'a.safetensors'}")
    assert trained.facts["kept"] == 2  # the first epoch trains without the classes of the target domain
    target = [i for i, name in enumerate(trained.classes) if name.endswith("|target")]
    assert len(target) == 4
    lengths = trained.tensors["loss.centres"].norm(dim=1)
    torch.testing.assert_close(lengths[target], torch.ones(4))
    assert not torch.isclose(lengths, torch.ones(len(lengths))).all()
    assert embedder.shape == (16,)


def test_classes_to_be_imprinted_train_only_afterwards(plant):
    from embedders.training.data import Waves

    root, clips = plant
    job = settle(root, training_clips(clips), quick_setup("tdnn", "labels=domain", "imprint=1"), 1)
    waves = Waves([root / clip.path for clip in clips], 16000, 8000, "0", 1)
    loop = make_loop(job, job.plans[0], waves, "cpu")
    target = {i for i, clip in enumerate(clips) if clip.domain == "target"}
    assert not target & set(np.concatenate(loop._order((0, 0))).tolist())
    assert target & set(np.concatenate(loop._order((0, 1))).tolist())
    waves.close()


def test_statex_trainings_have_posteriors_of_sections(plant, tmp_path):
    train(*plant, quick_setup("tdnn", "augment=statex"), tmp_path / "a.safetensors")
    embedder = create(f"tdnn:checkpoint={tmp_path / 'a.safetensors'},output=posterior")
    vectors = embedder.embed(np.random.default_rng(0).normal(size=(2, 8000)).astype(np.float32))
    assert vectors.shape == (2, 4)
    assert (np.exp(vectors).sum(axis=1) < 1).all()  # the rest is the probability of exchanged clips


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        (
            "tdnn",
            ("augment=featex",),
            "featex exchanges branches, but tdnn has a single one; use two_branch or multires",
        ),
        (
            "two_branch",
            ("loss=featex",),
            r"loss featex needs exchanged branches; add featex or statex\+featex to augment",
        ),
        (
            "ae",
            ("augment=statex",),
            "ae learns no classes; remove imprint, and statex, featex and transform from augment",
        ),
        ("ae", ("imprint=1",), "ae learns no classes"),
        (
            "two_branch",
            ("loss=featex", "augment=featex+transform"),
            "loss featex learns exchanges beside the classes; remove transform from augment",
        ),
        ("tdnn", ("loss=ntxent",), "loss ntxent contrasts two views of every clip; add views to augment"),
        ("tdnn", ("loss=own",), "loss own: tdnn has no loss of its own; use dp_mae"),
        ("tdnn", ("imprint=1", "labels=section"), "no class is in the target domain only; use labels=domain"),
    ],
)
def test_impossible_combinations_say_what_to_use(plant, name, settings, message):
    with pytest.raises(ValueError, match=message):
        plan_of(plant, quick_setup(name, *settings))


def test_imprinting_needs_centres(plant, tmp_path):
    chosen = quick_setup("tdnn", "loss=cross_entropy", "labels=domain", "imprint=1")
    with pytest.raises(ValueError, match="loss cross_entropy has no class centres; use arcface"):
        train(*plant, chosen, tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("augment=mixup:q=1",), "unknown parameter of mixup: 'q'"),
        (("augment=mixup:p",), r"augment=mixup:p: expected key=value after the colon, got 'p'"),
        (("augment=mixup:p=x",), r"augment=mixup:p=x: p=x: expected <class 'float'>"),
        (("augment=mixupp",), "unknown augmentation: 'mixupp'; did you mean mixup"),
        (("augment=crop",), "crop needs a value for length"),
        (("augment=statex+statex",), "use statex, featex and transform at most once each"),
        (("augment=transform+transform",), "use statex, featex and transform at most once each"),
        (("augment=views:rate_hz=8000",), "unknown parameter of views: 'rate_hz'"),
        (("loss=hmic", "loss.n_groups=3"), "loss.n_groups follows from the clips"),
        (("pretrain.epoch=3",), "unknown setting: 'epoch'; did you mean epochs"),
        (("pretrain.seed=3",), "unknown setting: 'seed'"),
        (("pretrain.loss.m=3",), "unknown parameter of loss supcon: 'm'"),
        (("loss.m=x",), "--set loss.m=x: expected float"),
        (("beta1=1",), "beta1=1: expected 0 <= beta1 < 1"),
        (("imprint=30",), "imprint=30: expected 0 to 29"),
    ],
)
def test_wrong_options_say_why(settings, message):
    with pytest.raises(ValueError, match=message):
        parse_setup("tdnn", settings)


def test_pre_training_takes_other_settings_from_the_training():
    setup = parse_setup("tdnn", ("epochs=7", "batch=4", "labels=domain", "imprint=2", "pretrain.epochs=3"))
    before = setup.pretrain.train
    assert (before.epochs, before.batch, before.loss, before.labels, before.imprint) == (3, 4, "supcon", "section", 0)
    assert parse_setup("tdnn", ("epochs=7",)).pretrain is None


def test_recordings_that_cannot_be_read_are_named_when_clustering(bare, tmp_path):
    root, clips = bare
    broken = [type(clip)(**fields_of(clip, path="missing.wav")) if i == 5 else clip for i, clip in enumerate(clips)]
    with pytest.raises(DataError, match=r"missing\.wav"):
        plan_of((root, broken), quick_setup("tdnn", "labels=pseudo"))


def test_a_network_is_trained_on_one_wave_per_clip():
    assert parse_setup("tdnn", ("channel=0-1",)).train.channel == "0-1"
    with pytest.raises(ValueError, match=r"channel=0,0-1: a network is trained on one wave per clip; .* such as 0,"):
        parse_setup("tdnn", ("channel=0,0-1",))
    with pytest.raises(ValueError, match="expected 0, 1"):
        parse_setup("tdnn", ("channel=left",))

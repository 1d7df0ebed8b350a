"""What holds for every embedder in the table, and how they are named in a line of text."""

import json
import pickle
import sys
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import small_models
import small_networks
from places import DATA

import embedders
from embedders import EMBEDDERS, create, make_embedder, parse_embedder
from featstore.building.work import channels_of
from featstore.testing import check_embedder


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Stands for an embedder with weights."""

    checkpoint: str
    device: str = "cpu"


CHECKPOINTS = small_models.CHECKPOINTS | small_networks.CHECKPOINTS
WITHOUT_WEIGHTS = [name for name in EMBEDDERS if name not in CHECKPOINTS]
GOLDEN = DATA / "golden_embeddings.npz"


def chirp(rate_hz: int, seconds: float = 2.0) -> np.ndarray:
    """A chirp from 100 Hz to 5 kHz plus noise computed from integers, equal on every machine: float32 (1, time)."""
    n = round(rate_hz * seconds)
    t = np.arange(n) / rate_hz
    tone = 0.3 * np.sin(2 * np.pi * (100 * t + 2450 / seconds * t**2))
    hashed = (np.arange(n, dtype=np.uint64) * np.uint64(2654435761)) & np.uint64(0xFFFFFFFF)
    hashed = ((hashed ^ (hashed >> np.uint64(15))) * np.uint64(2246822519)) & np.uint64(0xFFFFFFFF)
    return (tone + 0.05 * (hashed / 2**31 - 1)).astype(np.float32)[None]


def golden_embeddings() -> dict[str, np.ndarray]:
    """Embedding of the chirp by every embedder; save it with `np.savez(GOLDEN, **golden_embeddings())`."""
    return {name: create(name).embed(chirp(create(name).sample_rate_hz))[0] for name in WITHOUT_WEIGHTS}


@pytest.fixture(scope="session")
def specs(tmp_path_factory):
    """Spec of each embedder; those with weights get small random ones."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return {name: f"{name}={CHECKPOINTS[name](folder)}" if name in CHECKPOINTS else name for name in EMBEDDERS}


@pytest.fixture(params=EMBEDDERS)
def embedder(request, specs):
    return create(specs[request.param])


@pytest.fixture
def waves(embedder):
    rng = np.random.default_rng(0)
    return (rng.normal(size=(5, *channels(embedder), 3 * embedder.sample_rate_hz)) * 0.1).astype(np.float32)


def channels(embedder) -> tuple[int, ...]:
    """The axis of waves between batch and time, where there is one."""
    return (channels_of(embedder),) if channels_of(embedder) > 1 else ()


def test_describes_itself(embedder):
    assert embedder.name in EMBEDDERS
    assert len(embedder.shape) == (2 if embedder.views else 1)
    assert not embedder.views or len(embedder.views) == len(set(embedder.views)) == embedder.shape[0] > 1
    assert json.loads(json.dumps(embedder.config)) == embedder.config
    assert "device" not in embedder.config


def test_satisfies_the_contract_for_embedders_of_one_s_own(embedder):
    check_embedder(embedder)


@pytest.mark.parametrize("seconds", [1, 3])
def test_any_length(embedder, waves, seconds):
    embeddings = embedder.embed(waves[..., : seconds * embedder.sample_rate_hz])
    assert embeddings.shape == (5, *embedder.shape)
    assert embeddings.dtype == np.float32
    assert np.isfinite(embeddings).all()


def assert_close_as_vectors(vectors, expected):
    """Differences of at most 1e-5 of each vector's length, because the order of float32 sums may differ."""
    size = np.linalg.norm(expected.reshape(len(expected), -1), axis=1)
    difference = np.linalg.norm((vectors - expected).reshape(len(expected), -1), axis=1)
    np.testing.assert_array_less(difference, 1e-5 * size + 1e-6)


def test_batch_equals_single_clips(embedder, waves):
    single = np.concatenate([embedder.embed(wave[None]) for wave in waves])
    assert_close_as_vectors(embedder.embed(waves), single)


def test_row_order_follows_input(embedder, waves):
    assert_close_as_vectors(embedder.embed(waves[::-1]), embedder.embed(waves)[::-1])
    assert np.abs(np.diff(embedder.embed(waves), axis=0)).max() > 1e-3


def test_read_only_input_is_untouched(embedder, waves):
    before = waves.copy()
    waves.flags.writeable = False
    embedder.embed(waves)
    np.testing.assert_array_equal(waves, before)


def test_silence_and_one_sample_are_finite(embedder):
    waves = np.zeros((2, *channels(embedder), embedder.min_samples), np.float32)
    waves[1, ..., 0] = 1.0
    assert np.isfinite(embedder.embed(waves)).all()


def test_empty_batch(embedder):
    empty = np.empty((0, *channels(embedder), embedder.sample_rate_hz), np.float32)
    assert embedder.embed(empty).shape == (0, *embedder.shape)


def test_too_short_is_refused(embedder):
    with pytest.raises(ValueError, match=f"at least {embedder.min_samples} samples"):
        embedder.embed(np.zeros((1, *channels(embedder), embedder.min_samples - 1), np.float32))


@pytest.mark.parametrize("embedder", WITHOUT_WEIGHTS, indirect=True)
def test_fingerprint_is_that_of_the_config(embedder):
    again = make_embedder(
        embedder.name, **{k: tuple(v) if isinstance(v, list) else v for k, v in embedder.config.items()}
    )
    assert again.fingerprint == embedder.fingerprint
    assert len(embedder.fingerprint) == 64
    assert make_embedder(embedder.name, device="cuda").fingerprint == embedder.fingerprint
    other = make_embedder(embedder.name, sample_rate_hz=embedder.sample_rate_hz * 2)
    assert other.fingerprint != embedder.fingerprint


def test_fingerprint_covers_all_that_changes_numbers():
    plain = embedders.fingerprint("A", {"x": 1, "y": [2.0]})
    assert embedders.fingerprint("A", {"y": [2.0], "x": 1}) == plain
    others = [("B", {"x": 1, "y": [2.0]}), ("A", {"x": 1, "y": [2.5]}), ("A", {"x": 1, "y": [2.0]}, b"weights")]
    assert len({plain, *(embedders.fingerprint(*other) for other in others)}) == 4


def test_fingerprints_of_all_embedders_differ(specs):
    assert len({create(spec).fingerprint for spec in specs.values()}) == len(EMBEDDERS)


def test_factory_travels_to_a_worker(embedder, specs, waves):
    factory = pickle.loads(pickle.dumps(partial(create, specs[embedder.name])))
    np.testing.assert_array_equal(factory().embed(waves), embedder.embed(waves))


@pytest.mark.gpu
def test_cuda_equals_cpu(embedder, specs, waves):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    on_gpu = create(specs[embedder.name], device="cuda").embed(waves)
    np.testing.assert_allclose(on_gpu, embedder.embed(waves), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("embedder", WITHOUT_WEIGHTS, indirect=True)
def test_golden_embedding(embedder):
    with np.load(GOLDEN) as golden:
        assert embedder.name in golden, f"no golden embedding of {embedder.name}: see golden_embeddings()"
        vectors = embedder.embed(chirp(embedder.sample_rate_hz))[0]
        np.testing.assert_allclose(vectors, golden[embedder.name], rtol=1e-4, atol=1e-4)


def test_line_of_text_is_typed_by_the_fields():
    assert parse_embedder("logmel") == ("logmel", {})
    assert parse_embedder("twfr:r=0.9;0.5,n_mels=64") == ("twfr", {"r": (0.9, 0.5), "n_mels": 64})
    name, params = parse_embedder("logmel:stats=mean;std,center=false,top_db=none,fmax_hz=4000,mel_scale=htk")
    assert (name, params["stats"], params["center"], params["top_db"]) == ("logmel", ("mean", "std"), False, None)
    assert create("logmel:stats=mean;std,fmax_hz=4000").config["fmax_hz"] == params["fmax_hz"] == 4000.0


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("logmle", r"unknown embedder: 'logmle'; did you mean logmel\? choose from logmel, twfr"),
        ("", "unknown embedder: ''; choose from"),
        ("twfr:n_mel=3", r"unknown parameter of twfr: 'n_mel'; did you mean n_mels\?"),
        ("twfr:device=cuda", "unknown parameter of twfr: 'device'"),
        ("twfr:n_mels=many", "n_mels=many: expected int"),
        ("twfr:r=0.5;x", "r=0.5;x: expected"),
        ("twfr:center=1", "center=1: expected bool"),
        ("twfr:n_mels", "expected key=value after the colon, got 'n_mels'"),
        ("twfr:", "expected key=value after the colon"),
        ("twfr:n_mels=3,n_mels=4", "n_mels is given twice"),
        ("twfr=model:1.safetensors", "unknown parameter of twfr: 'checkpoint'"),
    ],
)
def test_wrong_lines_of_text_say_why(spec, message):
    with pytest.raises(ValueError, match=message):
        create(spec)


def test_unknown_parameter_of_make_embedder():
    with pytest.raises(ValueError, match="unknown parameter of logmel: 'hops'; did you mean hop"):
        make_embedder("logmel", hops=3)


def test_path_means_checkpoint(monkeypatch):
    monkeypatch.setitem(EMBEDDERS, "trained", "trained_double:Trained")
    monkeypatch.setitem(sys.modules, "trained_double", sys.modules[__name__])
    assert parse_embedder("trained=runs/a:b=1.pt") == ("trained", {"checkpoint": "runs/a:b=1.pt"})
    assert embedders.create("trained=a.pt", device="cpu").checkpoint == "a.pt"

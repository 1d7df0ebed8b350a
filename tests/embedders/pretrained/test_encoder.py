"""Encoders of transformers: equal features, local folders, no foreign code is run."""

import json
import os

import numpy as np
import pytest
import torch
from small_models import save_encoder

from embedders import create
from embedders.pretrained.encoder import Grid
from featstore.errors import DataError

KINDS = ("wav2vec2", "hubert", "wavlm", "ast")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("encoders")
    return {kind: save_encoder(root / kind, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def waves():
    return (np.random.default_rng(0).normal(size=(3, 8000)) * 0.1).astype(np.float32)


def own_states(folder, waves) -> list[np.ndarray]:
    """Hidden states by transformers alone, one clip at a time; the last is last_hidden_state."""
    import transformers

    model = transformers.AutoModel.from_pretrained(folder).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    clips = []
    for wave in waves:
        with torch.no_grad():
            out = model(**extractor(wave, sampling_rate=16000, return_tensors="pt"), output_hidden_states=True)
        clips.append([*out.hidden_states[:-1], out.last_hidden_state])
    return [torch.cat(states).numpy() for states in zip(*clips, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_those_of_transformers(folders, waves, kind):
    states = own_states(folders[kind], waves)
    special = 2 if kind == "ast" else 0
    expected = np.stack([state[:, special:].mean(axis=1) for state in states], axis=1)
    layers = create(f"{kind}:checkpoint={folders[kind]},layers=0;1;2").embed(waves)
    np.testing.assert_allclose(layers, expected, atol=1e-5)
    np.testing.assert_allclose(create(f"{kind}={folders[kind]}").embed(waves), expected[:, 2], atol=1e-5)
    np.testing.assert_array_equal(create(f"encoder={folders[kind]}").embed(waves), layers[:, 2])


OTHERS = ("data2vec", "unispeech-sat", "sew", "wav2vec2-bert")


def random_changes(kind: str, seed: int) -> dict[str, object]:
    """A random small network of this kind; every other one with the layer norms of the large checkpoints."""
    rng = np.random.default_rng([seed, *kind.encode()])
    heads = int(rng.integers(1, 4))
    changes = {"hidden_size": heads * 8, "num_attention_heads": heads, "num_hidden_layers": int(rng.integers(1, 4))}
    if kind == "ast":
        strides = {"frequency_stride": int(rng.choice([4, 8, 16])), "time_stride": int(rng.choice([4, 10, 16]))}
        return changes | strides | {"num_mel_bins": 48}
    if kind == "wav2vec2-bert":
        return changes
    kernels, strides = [10, 3, 3, 2], [int(n) for n in rng.choice([2, 4, 5], 4)]
    front = {"conv_dim": (8, 12, 8, 16), "conv_kernel": kernels, "conv_stride": strides, "conv_bias": bool(seed % 2)}
    stable = {"do_stable_layer_norm": True} if kind not in ("data2vec", "sew") else {}
    layer_norm = {"feat_extract_norm": "layer"} | stable if seed % 2 else {}
    return changes | front | layer_norm | {"num_conv_pos_embedding_groups": 8}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", KINDS + OTHERS)
def test_features_of_random_networks_are_those_of_transformers(tmp_path, kind, seed):
    """At any length the tokens are those of transformers, in a batch the same as alone."""
    folder = save_encoder(tmp_path, kind, seed, **random_changes(kind, seed))
    model = create(f"encoder={folder}").model
    rng = np.random.default_rng(seed)
    for samples in (model.min_samples, *rng.integers(model.min_samples, 9000, size=2)):
        waves = (rng.normal(size=(2, samples)) * 0.1).astype(np.float32)
        with torch.inference_mode():
            tokens = model.tokens(torch.from_numpy(waves), tuple(range(model.n_layers + 1))).numpy()
        assert np.isfinite(tokens).all()
        for layer, state in enumerate(own_states(folder, waves)):
            expected = arranged(kind, state, model, tokens.shape[2])
            np.testing.assert_allclose(tokens[:, layer], expected, atol=1e-5 * np.abs(expected).max())


def arranged(kind: str, state: np.ndarray, model, n: int) -> np.ndarray:
    """A hidden state of transformers as (clip, time, band, dim)."""
    if kind == "ast":  # two special tokens, then frequency first
        return state[:, 2:].reshape(len(state), model.n_bands, n, model.dim).swapaxes(1, 2)
    if kind == "sew" and state.shape[1] < n:  # between two layers a token stands for two
        state = state.repeat(2, axis=1)
    return state[:, :n, None]


def test_bands_of_a_spectrogram_encoder(folders, waves):
    ast = create(f"ast:checkpoint={folders['ast']},pool=bands")
    assert (ast.shape, ast.views) == ((2, 16), ("b0", "b1"))
    patches = own_states(folders["ast"], waves)[-1][:, 2:].reshape(3, 2, 5, 16)  # frequency first, then time
    np.testing.assert_allclose(ast.embed(waves), patches.mean(axis=2), atol=1e-5)


def test_grid_by_hand():
    tokens = torch.tensor([[9.0], [9.0], [1.0], [2.0], [3.0], [11.0], [12.0], [13.0]])
    arranged = Grid(n_special=2, n_bands=2).arrange(tokens)
    assert arranged[..., 0].tolist() == [[1, 11], [2, 12], [3, 13]]


def test_clips_longer_than_the_model_reads_are_not_cut(folders, waves):
    ast = create(f"ast={folders['ast']}")
    assert ast.model.max_samples == 63 * 160 + 400
    long = np.concatenate([waves, waves], axis=1)
    changed = long.copy()
    changed[:, -2000:] = 0.0
    assert np.abs(ast.embed(changed) - ast.embed(long)).max() > 1e-4


def test_shortest_wave_makes_one_token(folders):
    assert create(f"wav2vec2={folders['wav2vec2']}").min_samples == 400


def test_another_kind_of_model_is_refused(folders):
    with pytest.raises(DataError, match="expected a wav2vec2 model, got hubert; write encoder="):
        _ = create(f"wav2vec2={folders['hubert']}").shape


def remove(folder, name):
    (folder / name).unlink()


class Evil:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


def make_evil(folder):
    remove(folder, "model.safetensors")
    torch.save({"hook": Evil()}, folder / "pytorch_model.bin")


def edit_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: remove(folder, "config.json"), "expected config.json"),
        (lambda folder: remove(folder, "preprocessor_config.json"), r"expected config.json, preprocessor_config\.json"),
        (lambda folder: remove(folder, "model.safetensors"), "model.safetensors"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"no tensors"),
            "transformers cannot read this model",
        ),
        (lambda folder: edit_config(folder, num_hidden_layers=3), r"weights are missing: .*layers\.2"),
        (
            lambda folder: edit_config(folder, model_type="mine", auto_map={"AutoModel": "evil.Evil"}),
            "transformers cannot read this model",
        ),
        (make_evil, "the weight file contains other objects than tensors, or is damaged; use safetensors"),
    ],
    ids=["config", "extractor", "weights", "damaged", "missing layer", "foreign code", "pickled code"],
)
def test_incomplete_folders_say_what_is_wrong(tmp_path, monkeypatch, spoil, message):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    folder = save_encoder(tmp_path / "model", "hubert")
    (folder / "evil.py").write_text("raise SystemExit('code of a checkpoint was run')")
    spoil(folder)
    with pytest.raises(DataError, match=message):
        _ = create(f"hubert={folder}").fingerprint
    assert not (tmp_path / "pwned").exists()


def test_fingerprint_covers_weights_and_front_end(tmp_path, folders):
    other = save_encoder(tmp_path / "other", "hubert", seed=1)
    scaled = save_encoder(tmp_path / "scaled", "hubert")
    path = scaled / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"do_normalize": False}))
    same = save_encoder(tmp_path / "same", "hubert")
    prints = [create(f"hubert={folder}").fingerprint for folder in (folders["hubert"], same, other, scaled)]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_front_end_on_the_device_is_that_of_the_feature_extractor(folders, kind):
    model = create(f"{kind}={folders[kind]}").model
    waves = np.random.default_rng(1).normal(0.02, [[0.001], [0.1], [0.5]], (3, 4000)).astype(np.float32)
    (own,) = model.front_end(torch.from_numpy(waves)).values()
    (expected,) = model.extractor(list(waves), sampling_rate=16000, return_tensors="pt").values()
    np.testing.assert_allclose(own, expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_equals_autocast_of_float32_weights(folders, waves, kind):
    model = create(f"{kind}:checkpoint={folders[kind]},precision=bfloat16").model
    assert any(parameter.dtype == torch.bfloat16 for parameter in model.network.parameters())
    plain = create(f"{kind}={folders[kind]}").model
    plain.precision = torch.bfloat16
    with torch.inference_mode():
        assert torch.equal(*(m.tokens(torch.from_numpy(waves), (2,)) for m in (model, plain)))

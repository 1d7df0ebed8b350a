"""BEATs equals a second, slow implementation at every step, and checks every key of official checkpoints."""

import numpy as np
import pytest
import torch
from beats_reference import beats as reference
from beats_reference import bucket
from small_models import FINETUNED, beats_checkpoint, save_beats

from embedders import create, make_embedder
from embedders.pretrained.beats import build_network
from embedders.pretrained.beats_attention import position_buckets
from embedders.pretrained.beats_network import BEATsConfig, BEATsNetwork, front_end
from embedders.pretrained.weight_files import Checkpoint, read_checkpoint
from featstore.errors import DataError


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    rng = np.random.default_rng(1)
    tone = np.sin(2 * np.pi * 440 * np.arange(9000) / 16000)
    return (0.2 * tone + 0.1 * rng.normal(size=9000)).astype(np.float32)


def loaded(checkpoint: dict) -> BEATsNetwork:
    extra = {key: value for key, value in checkpoint.items() if key != "model"}
    return build_network(Checkpoint(checkpoint["model"], extra))


def trace(network: BEATsNetwork, wave: np.ndarray) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """Hidden states, and by name the output of every module and other intermediate results."""
    seen = {}
    for name, module in network.named_modules():
        if name and name != "encoder" and not name.endswith(("relative_attention_bias", "pos_conv.0")):
            module.register_forward_hook(lambda module, inputs, output, name=name: seen.update({name: output}))
        if name.endswith(("out_proj", "fc2")):  # outputs of the heads and of the activation
            module.register_forward_pre_hook(
                lambda module, inputs, name=name: seen.update({f"{name} input": inputs[0]})
            )
    with torch.no_grad():
        seen["front_end"] = front_end(torch.from_numpy(wave)[None])
        states = network.hidden_states(seen["front_end"])
        for layer in range(network.config.encoder_layers if network.config.gru_rel_pos else 0):
            name = f"encoder.layers.{layer}.self_attn"
            heads = seen[f"{name}.q_proj"].unflatten(-1, (network.config.encoder_attention_heads, -1))
            seen[f"{name}.gate"] = network.get_submodule(name).gate(heads.transpose(1, 2))[..., 0]
        if network.config.relative_position_embedding:
            seen["position bias"] = network.encoder._bias(states[0].shape[1])[None]
    seen["patch_embedding"] = seen["patch_embedding"].flatten(2).transpose(1, 2)
    return [state[0].numpy() for state in states], {name: tensor[0].numpy() for name, tensor in seen.items()}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gru_rel_pos": False, "deep_norm": False, "conv_pos": 5},
        {"layer_norm_first": True, "deep_norm": False, "encoder_layers": 2},
        {"relative_position_embedding": False, "gru_rel_pos": False, "embed_dim": 16, "encoder_layers": 1},
        {"seed": 7, "encoder_attention_heads": 4, "input_patch_size": 8, "num_buckets": 32, "max_distance": 40},
    ],
    ids=["official", "plain", "norm first", "no bias", "small patches"],
)
def test_every_step_agrees_with_the_reference(wave, changes):
    checkpoint = beats_checkpoint(**changes)
    weights = {name: tensor.double().numpy() for name, tensor in checkpoint["model"].items()}
    states, steps = reference(wave, weights, checkpoint["cfg"])
    network_states, network_steps = trace(loaded(checkpoint), wave)
    assert set(network_steps) == set(steps)
    assert len(steps) >= 5 + 11 * checkpoint["cfg"]["encoder_layers"]
    for name, expected in steps.items():
        atol = 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(network_steps[name], expected, rtol=0, atol=atol, err_msg=name)
    for state, expected in zip(network_states, states, strict=True):
        np.testing.assert_allclose(state, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_buckets_by_hand():
    # 16 buckets: 8 per direction, 4 of them for a single distance; the last from 30 tokens on.
    row = position_buckets(40, 16, 30)[0].tolist()
    assert row[:4] == [0, 9, 10, 11]
    assert row[4] == 12
    assert row[30:] == [15] * 10
    assert position_buckets(40, 16, 30)[:, 0].tolist()[:4] == [0, 1, 2, 3]


def test_buckets_agree_with_the_reference_for_the_base_model():
    buckets = position_buckets(1500, 320, 800)
    for i, j in [(0, 0), (0, 79), (0, 80), (0, 500), (900, 1), (1499, 0), (0, 1499), (7, 700)]:
        assert buckets[i, j] == bucket(j - i, 320, 800)


def test_base_has_90_million_parameters():
    cfg = {"deep_norm": True, "relative_position_embedding": True, "gru_rel_pos": True, "max_distance": 800}
    with torch.device("meta"):
        network = BEATsNetwork(BEATsConfig.of(cfg))
        fine_tuned = BEATsNetwork(BEATsConfig.of(cfg | {"finetuned_model": True}))
    count = sum(parameter.numel() for parameter in network.parameters())
    assert round(count / 1e6, 2) == 90.31
    assert sum(parameter.numel() for parameter in fine_tuned.parameters()) - count == 768 * 527 + 527


OFFICIAL_LAYER = {
    *(f"self_attn.{kind}_proj.{part}" for kind in "kvq" for part in ("weight", "bias")),
    *("self_attn.out_proj.weight", "self_attn.out_proj.bias", "self_attn.relative_attention_bias.weight"),
    *("self_attn.grep_linear.weight", "self_attn.grep_linear.bias", "self_attn.grep_a"),
    *(f"{name}.{part}" for name in ("self_attn_layer_norm", "fc1", "fc2") for part in ("weight", "bias")),
    *("final_layer_norm.weight", "final_layer_norm.bias"),
}
OFFICIAL = {
    *("patch_embedding.weight", "layer_norm.weight", "layer_norm.bias"),
    *("post_extract_proj.weight", "post_extract_proj.bias"),
    *("encoder.pos_conv.0.bias", "encoder.pos_conv.0.weight_g", "encoder.pos_conv.0.weight_v"),
    *("encoder.layer_norm.weight", "encoder.layer_norm.bias"),
    *(f"encoder.layers.{layer}.{name}" for layer in range(3) for name in OFFICIAL_LAYER),
}


@pytest.mark.parametrize("fine_tuned", [False, True])
def test_names_are_the_official_ones(fine_tuned):
    names = set(beats_checkpoint(**(FINETUNED if fine_tuned else {}))["model"])
    assert names == OFFICIAL | ({"predictor.weight", "predictor.bias"} if fine_tuned else set())


def test_fine_tuned_checkpoint_gives_the_same_tokens(tmp_path, wave):
    waves = wave[None]
    plain = create(f"beats={save_beats(tmp_path / 'a.pt')}").embed(waves)
    checkpoint = beats_checkpoint(**FINETUNED)
    checkpoint["model"] |= beats_checkpoint()["model"]
    torch.save(checkpoint, tmp_path / "b.pt")
    np.testing.assert_array_equal(create(f"beats={tmp_path / 'b.pt'}").embed(waves), plain)


def spoil(checkpoint: dict, what: str) -> dict:
    model = checkpoint["model"]
    actions = {
        "extra tensor": lambda: model.update({"encoder.mask_emb": torch.zeros(3)}),
        "missing tensor": lambda: model.pop("encoder.layers.1.fc2.weight"),
        "wrong shape": lambda: model.update({"layer_norm.bias": torch.zeros(13)}),
        "unknown cfg key": lambda: checkpoint["cfg"].update({"quant_n": 1024}),
        "unknown key": lambda: checkpoint.update({"optimizer": {}}),
        "no cfg": lambda: checkpoint.pop("cfg"),
        "layers disagree": lambda: model.update(
            {"encoder.layers.2.self_attn.relative_attention_bias.weight": torch.zeros(16, 2)}
        ),
        "activation": lambda: checkpoint["cfg"].update(activation_fn="glu"),
        "cfg of nothing": lambda: checkpoint.update(cfg=None),
        "text for a number": lambda: checkpoint["cfg"].update(encoder_layers="3"),
        "number of layers": lambda: checkpoint["cfg"].update(encoder_layers=10**9),
        "heads": lambda: checkpoint["cfg"].update(encoder_attention_heads=3),
    }
    actions[what]()
    return checkpoint


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("extra tensor", r"tensors of `model`: unknown encoder\.mask_emb\. Damaged"),
        ("missing tensor", r"missing encoder\.layers\.1\.fc2\.weight"),
        ("wrong shape", r"of another shape than in `cfg`: layer_norm\.bias \(13,\) instead of \(12,\)"),
        ("unknown cfg key", "`cfg` has unknown keys: quant_n"),
        ("unknown key", "expected the keys `cfg`, `model` and `label_dict`, got also optimizer"),
        ("no cfg", "`cfg` is missing; expected an official BEATs checkpoint"),
        ("layers disagree", "the position-bias tables of the layers differ"),
        ("activation", "activation_fn 'glu': expected one of gelu"),
        ("cfg of nothing", "`cfg`: expected a dict, got NoneType"),
        ("text for a number", "encoder_layers='3', expected int"),
        ("number of layers", "encoder_layers=1000000000, `model` has 3 layers"),
        ("heads", "encoder_embed_dim 16: expected a multiple of 3"),
    ],
)
def test_loading_is_strict(tmp_path, what, message):
    torch.save(spoil(beats_checkpoint(), what), tmp_path / "bad.pt")
    with pytest.raises(DataError, match=f"bad.pt: .*{message}"):
        _ = create(f"beats={tmp_path / 'bad.pt'}").fingerprint


def test_without_weights_the_error_says_where_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("FEATSTORE_MODELS", str(tmp_path / "models"))
    with pytest.raises(DataError, match=r"write beats=PATH\. Download an official checkpoint.*unilm.*models"):
        _ = create("beats").shape
    with pytest.raises(DataError, match=r"no file iter3\.pt, nothing at .*models.iter3\.pt\. Download an official"):
        _ = create("beats=iter3.pt").shape
    (tmp_path / "models").mkdir()
    save_beats(tmp_path / "models" / "iter3.pt")
    assert create("beats=iter3.pt").shape == (16,)


def test_views(tmp_path, wave):
    path = save_beats(tmp_path / "tiny.pt")
    waves = np.stack([wave, wave[::-1]])
    bands = create(f"beats:checkpoint={path},pool=bands")
    assert (bands.shape, bands.views[:2]) == ((8, 16), ("b0", "b1"))
    both = create(f"beats:checkpoint={path},layers=1;3")
    assert (both.shape, both.views) == ((2, 16), ("l1", "l3"))
    product = create(f"beats:checkpoint={path},layers=0;2,pool=stats")
    assert (product.shape, product.views) == ((4, 16), ("l0.mean", "l0.std", "l2.mean", "l2.std"))
    plain = create(f"beats={path}")
    np.testing.assert_allclose(bands.embed(waves).mean(axis=1), plain.embed(waves), atol=1e-5)
    np.testing.assert_allclose(both.embed(waves)[:, 1], plain.embed(waves), atol=1e-5)
    two = create(f"beats:checkpoint={path},last=2").embed(waves)
    layers = create(f"beats:checkpoint={path},layers=2;3").embed(waves)
    np.testing.assert_allclose(two, layers.mean(axis=1), atol=1e-5)


def test_long_recordings_are_read_in_windows(tmp_path, wave):
    path = save_beats(tmp_path / "tiny.pt")
    long = np.concatenate([wave, wave])[None]
    whole = create(f"beats={path}").embed(long)
    windowed = create(f"beats:checkpoint={path},window_s=0.5625")
    np.testing.assert_allclose(windowed.embed(long), create(f"beats={path}").embed(wave[None]), atol=1e-5)
    assert np.abs(windowed.embed(long) - whole).max() > 1e-3
    assert windowed.fingerprint != create(f"beats={path}").fingerprint


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"pool": "max"}, "unknown pool 'max'; choose from mean, bands"),
        ({"precision": "float16"}, "unknown precision"),
        ({"layers": (1,), "last": 2}, "layers and last are both given"),
        ({"layers": (1, 1)}, "expected distinct layers"),
        ({"layers": (4,)}, r"layers=4, last=1: the network of .*tiny\.pt has layers 0 to 3"),
        ({"last": 5}, "has layers 0 to 3"),
    ],
)
def test_wrong_parameters_are_refused_before_a_clip_is_read(tmp_path, params, message):
    path = save_beats(tmp_path / "tiny.pt")
    with pytest.raises((ValueError, DataError), match=message):
        _ = make_embedder("beats", checkpoint=str(path), **params).fingerprint


def test_half_precision_is_close_and_has_another_fingerprint(tmp_path, wave):
    path = save_beats(tmp_path / "tiny.pt")
    full, half = create(f"beats={path}"), create(f"beats:checkpoint={path},precision=bfloat16")
    np.testing.assert_allclose(half.embed(wave[None]), full.embed(wave[None]), atol=0.1)
    assert half.fingerprint != full.fingerprint


def test_fingerprint_follows_the_weights_not_the_path(tmp_path):
    first, moved = save_beats(tmp_path / "a.pt"), save_beats(tmp_path / "b.pt")
    other = save_beats(tmp_path / "c.pt", seed=1)
    embedders = [create(f"beats={path}") for path in (first, moved, other)]
    assert embedders[0].fingerprint == embedders[1].fingerprint != embedders[2].fingerprint
    assert embedders[0].config["weights_sha256"] == read_checkpoint(first).sha256()
    assert embedders[0].config["checkpoint"] == "a.pt"

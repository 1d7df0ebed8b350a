"""Channels: frames and formulas; the encoder channel stays out of the checkpoint and refuses other weights."""

import copy

import numpy as np
import pytest
import torch
from small_models import save_beats, save_encoder
from small_networks import small_model
from torch.nn import functional as F
from training_plant import quick_setup, write_plant

from embedders import create
from embedders.networks.classifiers.channels import CHANNELS
from embedders.networks.classifiers.gated_channels import TAgram
from embedders.networks.classifiers.stgram import STgramConfig
from embedders.networks.classifiers.wave_channels import EncoderChannel, TimeNorm
from embedders.training.train import train
from featstore.errors import DataError


@pytest.mark.parametrize("seconds", [1, 3])
def test_every_channel_has_the_frames_of_the_log_mel(seconds):
    _, _, model = small_model("stgram")
    waves, S = model.network.front(torch.randn(2, seconds * 16000))
    assert S.shape == (2, 32, seconds * 16000 // 512 + 1)
    assert model.network.channels(waves, S).shape == (2, len(CHANNELS) - 1, 32, S.shape[2])  # all but encoder
    assert model.network(waves, S).shape == (2, 1, 128)


def test_time_norm_is_layer_norm_at_its_own_length_and_interpolates_at_others():
    norm, x = TimeNorm(4), torch.randn(2, 3, 4)
    norm.weight.data = torch.tensor([1.0, 2.0, 3.0, 4.0])
    torch.testing.assert_close(norm(x), F.layer_norm(x, (4,), norm.weight, norm.bias))
    longer = torch.randn(2, 3, 8)
    weight = torch.tensor([1.0, 1.25, 1.75, 2.25, 2.75, 3.25, 3.75, 4.0])
    torch.testing.assert_close(norm(longer), F.layer_norm(longer, (8,)) * weight)


def test_tagram_gates_frames_by_hand():
    S = torch.tensor([[[0.0, 2.0], [-2.0, 0.0]]])
    gate = torch.sigmoid(torch.tensor([0.0 - 1.0, 2.0 + 1.0]))
    torch.testing.assert_close(TAgram(STgramConfig())(torch.empty(0), S), S * gate)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("models") / "encoder", "wav2vec2")


def config(spec, **changes):
    return STgramConfig(channels=("logmel", "encoder"), encoder=spec, n_mels=8, **changes)


def test_tokens_go_through_one_linear_layer_and_are_interpolated(folder):
    channel = EncoderChannel(config(f"wav2vec2={folder}"))
    waves, S = 0.1 * torch.randn(2, 16000), torch.zeros(2, 8, 32)
    tokens = create(f"wav2vec2={folder}").model.tokens(waves, (2,))[:, 0, :, 0]  # (batch, token, dim)
    assert tokens.shape == (2, 49, 16)
    mapped = tokens @ channel.linear.weight.T + channel.linear.bias
    expected = F.interpolate(mapped.transpose(1, 2), size=32, mode="linear")
    torch.testing.assert_close(channel(waves, S), expected)


def test_an_encoder_of_bands_lays_them_side_by_side(tmp_path):
    channel = EncoderChannel(config(f"beats={save_beats(tmp_path / 'beats.pt')}"))
    assert channel.linear.in_features == 8 * 16
    assert channel(0.1 * torch.randn(1, 16000), torch.zeros(1, 8, 20)).shape == (1, 8, 20)


def test_the_encoder_is_no_part_of_the_weights_and_is_not_copied(folder):
    channel = EncoderChannel(config(f"wav2vec2={folder}"))
    assert set(channel.state_dict()) == {"weights_sha256", "linear.weight", "linear.bias"}
    assert copy.deepcopy(channel).encoder is channel.encoder


@pytest.mark.parametrize("name", ["tdnn", "stgram"])
def test_trains_embeds_and_refuses_another_encoder(tmp_path, name):
    models = save_encoder(tmp_path / "encoder", "wav2vec2")
    clips = write_plant(tmp_path)
    settings = ("channels=logmel;tgram;encoder", f"encoder=wav2vec2={models}", "epochs=1", "ema=0.5")
    train(tmp_path, clips, quick_setup(name, *settings), tmp_path / "a.safetensors")
    waves = np.random.default_rng(0).normal(size=(2, 8000)).astype(np.float32)
    assert np.isfinite(create(f"{name}={tmp_path / 'a.safetensors'}").embed(waves)).all()
    save_encoder(models, "wav2vec2", seed=1)
    with pytest.raises(
        DataError, match=r"trained with encoder weights of sha256 \w{12}\.\.\., but wav2vec2=.* has \w{12}\.\.\."
    ):
        create(f"{name}={tmp_path / 'a.safetensors'}").embed(waves)


def test_what_is_no_encoder_or_reads_another_rate_is_refused(folder):
    with pytest.raises(ValueError, match="encoder=logmel: expected a pretrained encoder"):
        EncoderChannel(config("logmel"))
    with pytest.raises(ValueError, match="reads 16000 Hz, the network 8000 Hz; set sample_rate_hz=16000"):
        EncoderChannel(config(f"wav2vec2={folder}", sample_rate_hz=8000))


def test_too_long_waves_are_refused(tmp_path):
    channel = EncoderChannel(config(f"ast={save_encoder(tmp_path / 'ast', 'ast')}"))
    with pytest.raises(ValueError, match="reads at most 10480 samples, got 16000"):
        channel(torch.zeros(1, 16000), torch.zeros(1, 8, 32))

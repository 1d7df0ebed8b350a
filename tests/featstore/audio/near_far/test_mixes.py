"""Mixes side by side: their text, what is kept once for all of them, and the names of their views."""

import numpy as np
import pytest
import soundfile

from featstore.audio.near_far.mix import mix_of
from featstore.audio.near_far.mixes import (
    LONGEST,
    MOST,
    far_alone,
    main_channel,
    main_views,
    mix_of_view,
    mix_texts,
    mixes_of,
    side_by_side,
    subtractions,
)
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import read_recording
from featstore.clip import Window
from featstore.errors import DataError, RejectedAudio


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("0", "0"),
        ("0,1,0-1", "0,1,0-1"),
        ("1,0", "1,0"),
        ("1+0,mean", "0+1,mean"),
        ("0-1:taps=4,window=512,0", "0-1:window=512,taps=4,0"),
        ("0,0-1:taps=1,0-1:taps=2", "0,0-1,0-1:taps=2"),
        ("0-1:window=1024,taps=4,1-0:forget=0.9,1", "0-1:taps=4,1-0:forget=0.9,1"),
    ],
)
def test_options_belong_to_the_mix_before_them(text, same):
    assert mixes_of(text).text == same == AudioPolicy(text).channel
    assert mixes_of(same) == mixes_of(text)
    assert [mix.text for mix in mixes_of(same).each] == [mix_of(mix.text).text for mix in mixes_of(text).each]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected 0, 1"),
        (",", "nothing between two commas"),
        ("0,", "nothing between two commas"),
        ("0,,1", "nothing between two commas"),
        ("0-1:taps=4,", "nothing between two commas"),
        ("0,taps=4", "channel '0,taps=4': expected 0, 1"),
        ("taps=4,0", "channel 'taps=4': expected 0, 1"),
        ("0, 1", "channel ' 1': expected 0, 1"),
        ("0;1", "expected 0, 1"),
        ("0,1,0", "0 is given twice"),
        ("0-1,0-1:taps=1", "0-1 is given twice"),
        ("0,0-1:taps=2,taps=3", "each once"),
        ("0,0-0", "expected 0, 1"),
        ("0,\u0661", "expected 0, 1"),
        (",".join(map(str, range(MOST + 1))), f"{MOST + 1} mixes; at most {MOST}"),
        ("0," * LONGEST, f"characters, at most {LONGEST}"),
        ("0/1", "expected 0, 1"),
        ("0,1\n", "expected 0, 1"),
    ],
)
def test_other_texts_are_refused(text, message):
    with pytest.raises(DataError, match=message):
        mixes_of(text)


def test_every_channel_is_kept_once():
    assert mixes_of("0,1,0-1").sources == ((0,), (1,))
    assert mixes_of("mean,0-2,0+1").sources == ((), (0,), (2,), (0, 1))
    assert mixes_of("0-1").sources == ((0,), (1,))


@pytest.mark.parametrize(
    ("text", "near"), [("0,1", (0,)), ("1,0-1", (0,)), ("mean,2", (2,)), ("mean,0+1", ()), ("2-0", (2,)), ("0", (0,))]
)
def test_the_near_channel_is_the_one_that_another_is_subtracted_from_or_the_first(text, near):
    mixes = mixes_of(text)
    assert mixes.sources[mixes.near] == near


@pytest.mark.parametrize("length", ["native", "crop:0.7", "pad:3", "tile:3.3"])
@pytest.mark.parametrize(("rate", "subtype"), [(16000, "PCM_16"), (16000, "FLOAT"), (22050, "PCM_16")])
@pytest.mark.parametrize("window", [None, Window(0.25, 1.5)])
def test_the_waves_are_those_of_every_mix_alone(tmp_path, rng, rate, subtype, window, length):
    soundfile.write(tmp_path / "a.wav", 0.1 * rng.normal(size=(2 * rate, 3)), rate, subtype=subtype)
    text = "0,mean,2,0-1:taps=2,0+1"
    together = read_recording(tmp_path / "a.wav", 16000, AudioPolicy(text, length), window=window)
    for wave, mix in zip(together.wave, mixes_of(text).each, strict=True):
        alone = read_recording(tmp_path / "a.wav", 16000, AudioPolicy(mix.text, length), window=window)
        np.testing.assert_array_equal(wave, alone.wave)
        assert (together.n_samples, together.content_hash) == (alone.n_samples, alone.content_hash)
        assert mix.text != "0" or together.measures == alone.measures


def test_a_short_recording_is_padded_in_every_mix(tmp_path, rng):
    soundfile.write(tmp_path / "a.wav", 0.1 * rng.normal(size=(10, 2)), 16000)
    recording = read_recording(tmp_path / "a.wav", 16000, AudioPolicy("0,1"), min_samples=100)
    assert (recording.wave.shape, recording.outcome) == ((2, 100), "padded")
    assert recording.wave[:, :10].all()
    assert not recording.wave[:, 10:].any()


@pytest.mark.parametrize(
    ("channel", "silent", "outcome"),
    [
        ("0,1", (), ""),
        ("0,1", (1,), "silent in one of its channels"),
        ("0,1", (0,), "silent"),
        ("0,1", (0, 1), "silent"),
        ("1,0", (0,), "silent in one of its channels"),
        ("0,1,0-1", (1,), "far channel silent"),
        ("0,0-1", (1,), "far channel silent"),
        ("0,1,0-1", (0,), "silent"),
    ],
)
def test_silence_of_a_channel_is_an_outcome(tmp_path, rng, channel, silent, outcome):
    samples = 0.1 * rng.normal(size=(4000, 2))
    samples[:, list(silent)] = 0
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    assert read_recording(tmp_path / "a.wav", 16000, AudioPolicy(channel)).outcome == outcome


def test_a_fall_back_of_one_mix_is_an_outcome_and_its_wave_the_near_one(tmp_path, rng):
    near = 0.25 * np.round(rng.uniform(-1, 1, 8000) * 4096) / 4096
    soundfile.write(tmp_path / "a.wav", np.stack([near, 0.5 * near], axis=1), 16000, subtype="FLOAT")
    recording = read_recording(tmp_path / "a.wav", 16000, AudioPolicy("0,1,0-1"))
    assert recording.outcome == "far channel a copy"
    np.testing.assert_array_equal(recording.wave[2], recording.wave[0])


def test_a_mix_can_be_told_to_subtract_nothing(rng):
    columns = rng.normal(size=(3000, 2)).astype(np.float32)
    waves, fallen = mixes_of("0-1,0,0-1:taps=2").finished(columns, [True, False, False])
    np.testing.assert_array_equal(waves[0], columns[:, 0])
    assert not np.array_equal(waves[2], columns[:, 0])
    assert fallen == ("", "", "")


@pytest.mark.parametrize(("channels", "missing"), [(1, 1), (2, 2)])
def test_a_recording_that_lacks_a_channel_of_any_mix_is_rejected(tmp_path, rng, channels, missing):
    soundfile.write(tmp_path / "a.wav", 0.1 * rng.normal(size=(4000, channels)), 16000)
    with pytest.raises(RejectedAudio, match=f"channel {missing} does not exist, the file has {channels}"):
        read_recording(tmp_path / "a.wav", 16000, AudioPolicy("0,0-1,2"))


def test_views_carry_the_mix():
    mixes = mixes_of("0,0-1:taps=4")
    assert side_by_side(mixes, (3, 5), ("mean", "std", "max")) == (
        (6, 5),
        ("0/mean", "0/std", "0/max", "0-1:taps=4/mean", "0-1:taps=4/std", "0-1:taps=4/max"),
    )
    assert side_by_side(mixes, (5,), ()) == ((2, 5), ("0", "0-1:taps=4"))
    assert side_by_side(mixes, (2, 5), ()) == ((4, 5), ("0/0", "0/1", "0-1:taps=4/0", "0-1:taps=4/1"))
    assert side_by_side(mixes_of("0-1"), (3, 5), ("mean", "std", "max")) == ((3, 5), ("mean", "std", "max"))
    with pytest.raises(ValueError, match=r"rows of shape \(2, 3, 4\): several channels"):
        side_by_side(mixes, (2, 3, 4), ())


def test_the_views_of_the_first_mix_are_found_by_their_own_names():
    assert main_views("0,0-1", ("0/mean", "0/std", "0-1/mean", "0-1/std")) == {"mean": 0, "std": 1}
    assert main_views("0-1,0", ("0-1/mean", "0/mean")) == {"mean": 0}
    assert main_views("0", ("mean", "a/b")) == main_views("", ("mean", "a/b")) == {"mean": 0, "a/b": 1}
    assert [main_channel(text) for text in ("", "1", "0-1:taps=2,0", "0,1")] == ["0", "1", "0-1:taps=2", "0"]
    assert main_views("left", ("mean",)) == {"mean": 0}, "a text of another program"


@pytest.mark.parametrize(
    ("channel", "view", "mix"),
    [
        ("0,0-1", "0/mean", "0"),
        ("0,0-1", "0-1/mean", "0-1"),
        ("0,0-1", "0-1", "0-1"),
        ("0,0-1", "", "0,0-1"),
        ("0-1:taps=2", "mean", "0-1:taps=2"),
        ("", "0/mean", "0"),
    ],
)
def test_a_view_is_of_a_mix(channel, view, mix):
    assert mix_of_view(channel, view) == mix


@pytest.mark.parametrize(
    ("texts", "far"),
    [
        (("0", "1", "0-1"), {"1"}),
        (("0", "1"), set()),
        (("0-1",), set()),
        (("1", "1-0", "0-1"), set()),
        (("1+2", "0-1", "0-2:taps=2", "mean", "0+1"), {"1+2"}),
        (("2", "0-1"), set()),
    ],
)
def test_far_channels_are_those_that_are_only_subtracted(texts, far):
    assert far_alone(texts) == far


@pytest.mark.parametrize(
    ("texts", "pairs"),
    [
        (["0", "1", "0-1", "0-1:window=8192"], {"0-1": "0", "0-1:window=8192": "0"}),
        (["0", "1", "0-1", "1-0"], {"0-1": "0", "1-0": "1"}),
        (["1", "0-1"], {}),
        (["mean", "0+1", "0-1"], {}),
        (["0"], {}),
    ],
)
def test_a_subtraction_is_compared_with_its_near_channel_alone(texts, pairs):
    assert subtractions(texts) == pairs


def test_the_mixes_of_a_stated_channel():
    assert mix_texts("0,1,0-1:window=512,taps=4") == ("0", "1", "0-1:window=512,taps=4")
    assert mix_texts("") == mix_texts("of another program") == ("0",)

"""Several channels in one build: rows are those of separate builds, and every channel hears a generated fault."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import RATE, MomentsEmbedder

from featstore.anomalies.far import FAR_DB, with_fault
from featstore.anomalies.variants import Renderer, VariantDesign, variants_of
from featstore.audio.near_far.mixes import mixes_of
from featstore.audio.near_far.subtract import Subtraction, near_minus_far
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import read_recording
from featstore.build import BuildOptions, Request, build
from featstore.building import work
from featstore.building.plan import PlanOptions
from featstore.clip import Clip
from featstore.errors import RequestError
from featstore.layouts.windows import windows_of
from featstore.store import FeatureStore

LISTED = "0,1,0-1"


@dataclass(frozen=True)
class TwoViews(MomentsEmbedder):
    """The moments, and their squares."""

    name: str = "two"
    shape: tuple[int, ...] = (2, 3)
    views: tuple[str, ...] = ("plain", "squared")

    def embed(self, waves: np.ndarray) -> np.ndarray:
        rows = super().embed(waves)
        return np.stack([rows, np.square(rows)], axis=1)


def record(root: Path, n: int = 5, *, samples: tuple[int, ...] = (3000, 3000, 4100), rate: int = RATE) -> list[Clip]:
    """Stereo training clips: noise of one source at both microphones, a hum at the near one."""
    clips = [Clip(f"fan/{i:04d}.wav", "fan", "00", "train", "source", "normal") for i in range(n)]
    for i, clip in enumerate(clips):
        rng = np.random.default_rng(i)
        size = samples[i % len(samples)]
        far = 0.1 * rng.normal(size=size)
        near = np.convolve(far, [0.8, -0.3])[:size] + 0.05 * np.sin(np.arange(size) * (0.3 + 0.01 * i))
        write(root, clip.path, np.stack([near, far], axis=1), rate)
    return clips


def write(root: Path, path: str, samples: np.ndarray, rate: int = RATE) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(root / path, samples, rate)


def made(root: Path, clips: list[Clip], store: Path, channel: str, length: str = "native", **options: object):
    """A store of both embedders and the report of its build."""
    policy = AudioPolicy(channel, length)
    options = {"workers": 0, "render": Renderer(root, policy), "plan": PlanOptions(unit_clips=4)} | options
    requests = [Request("moments", MomentsEmbedder), Request("two", TwoViews)]
    report = build(root, windows_of(root, clips, policy), store, requests, BuildOptions(audio=policy, **options))
    return FeatureStore.open(store), report


def variants(clips: list[Clip], **design: object) -> list[Clip]:
    return variants_of(clips, VariantDesign(per_clip=1, transforms=("leak", "speed"), severities_db=(-5.0,), **design))


@pytest.mark.parametrize("length", ["native", "window:0.2,0.1", "crop:0.3", "tile:0.9"])
@pytest.mark.parametrize("rate", [RATE, 12_000])
def test_rows_are_those_of_separate_builds(tmp_path, length, rate):
    clips = record(tmp_path / "data", rate=rate)
    together, _ = made(tmp_path / "data", clips, tmp_path / "all", LISTED, length)
    assert together.info("moments").channel == LISTED
    assert (together.info("moments").shape, together.info("moments").views) == ((3, 3), ("0", "1", "0-1"))
    assert together.info("two").shape == (6, 3)
    assert together.info("two").views == tuple(f"{mix}/{view}" for mix in ("0", "1", "0-1") for view in TwoViews.views)
    for i, mix in enumerate(LISTED.split(",")):
        alone, _ = made(tmp_path / "data", clips, tmp_path / mix, mix, length)
        assert together.clips("two").keys() == alone.clips("two").keys()
        np.testing.assert_array_equal(together.matrix("two")[:, 2 * i : 2 * i + 2], alone.matrix("two"))
        np.testing.assert_array_equal(together.matrix("moments")[:, i], alone.matrix("moments"))


@pytest.mark.parametrize("options", [{"workers": 1}, {"workers": 1, "embed_in_workers": False}, {"batch": 1}])
def test_workers_and_batches_change_nothing(tmp_path, options):
    clips = record(tmp_path / "data")
    clips += variants(clips)
    plain, _ = made(tmp_path / "data", clips, tmp_path / "plain", LISTED)
    other, _ = made(tmp_path / "data", clips, tmp_path / "other", LISTED, **options)
    np.testing.assert_array_equal(plain.matrix("two"), other.matrix("two"))


def test_the_near_channel_of_a_variant_is_that_of_a_near_build(tmp_path):
    clips = record(tmp_path / "data")
    clips += variants(clips)
    together, _ = made(tmp_path / "data", clips, tmp_path / "all", LISTED)
    near, _ = made(tmp_path / "data", clips, tmp_path / "near", "0")
    left, _ = made(tmp_path / "data", clips, tmp_path / "left", "0-1")
    assert len(clips) > 5
    np.testing.assert_array_equal(together.matrix("moments")[:, 0], near.matrix("moments"))
    np.testing.assert_array_equal(together.matrix("moments")[:, 2], left.matrix("moments"))


def test_every_channel_of_a_variant_hears_the_fault_before_they_are_mixed(tmp_path):
    clips = record(tmp_path, 1)
    (variant, *_) = variants(clips, far_db=-6.0)
    near, far = (read_recording(tmp_path / clips[0].path, RATE, AudioPolicy(channel)).wave for channel in "01")
    rendered = Renderer(tmp_path, AudioPolicy())(near, RATE, variant.variant)
    columns = with_fault(
        np.stack([near, far], axis=1), rendered, mixes_of(LISTED), 2, path=variant.path, rate_hz=RATE, far_db=-6.0
    )
    policy = AudioPolicy(LISTED)
    job = work.Job(tmp_path, policy, (MomentsEmbedder,), 4, embeds=False, render=Renderer(tmp_path, policy))
    ((result,),) = work.Worker(job).run(work.Task((variant.path,), (0,), (variant.variant,)))
    assert result.recording is not None
    np.testing.assert_array_equal(result.recording.wave[0], rendered)
    np.testing.assert_array_equal(result.recording.wave[1], columns[:, 1])
    left, _ = near_minus_far(columns[:, 0], columns[:, 1], Subtraction())
    np.testing.assert_array_equal(result.recording.wave[2], left)
    assert np.abs(columns[:, 1] - far).max() > 0


def test_a_fault_at_the_far_microphone_is_partly_subtracted(tmp_path):
    clips = record(tmp_path, 1, samples=(16_000,))
    policy = AudioPolicy("0-1")
    recorded = read_recording(tmp_path / clips[0].path, RATE, policy).wave
    left = []
    for far_db in (-60.0, 0.0):
        (variant, *_) = variants(clips, far_db=far_db)
        job = work.Job(tmp_path, policy, (MomentsEmbedder,), 4, embeds=False, render=Renderer(tmp_path, policy))
        ((result,),) = work.Worker(job).run(work.Task((variant.path,), (0,), (variant.variant,)))
        assert result.recording is not None
        left.append(float(np.square(result.recording.wave - recorded).sum()))
    assert left[1] < 0.8 * left[0]


@pytest.mark.parametrize("channel", ["0", "1", "mean", "0+1"])
def test_one_channel_is_rendered_as_before(tmp_path, channel):
    clips = record(tmp_path, 3)
    chosen = variants(clips)
    policy = AudioPolicy(channel, "tile:0.6")
    render = Renderer(tmp_path, policy)
    job = work.Job(tmp_path, policy, (MomentsEmbedder,), 4, embeds=False, render=render)
    task = work.Task(tuple(clip.path for clip in chosen), (0,), tuple(clip.variant for clip in chosen))
    for clip, result in zip(chosen, work.Worker(job).run(task)[0], strict=True):
        assert result.recording is not None
        wave = read_recording(tmp_path / clip.path, RATE, policy).wave
        np.testing.assert_array_equal(result.recording.wave, render(wave, RATE, clip.variant))


@pytest.mark.parametrize("gain", [0.0, 0.5])
def test_where_nothing_is_subtracted_nothing_is_from_variants_either(tmp_path, gain):
    near = 0.25 * np.round(np.random.default_rng(0).uniform(-1, 1, 4000) * 4096) / 4096
    write(tmp_path, "fan/a.wav", np.stack([near, gain * near], axis=1))
    clips = [Clip("fan/a.wav", "fan", "00", "train", "source", "normal")]
    store, report = made(tmp_path, [*clips, *variants(clips)], tmp_path / "store", LISTED)
    rows = store.matrix("moments")
    assert len(rows) > 1
    np.testing.assert_array_equal(rows[:, 2], rows[:, 0])
    assert list(report.outcomes) == ["far channel a copy" if gain else "far channel silent"]


def test_a_filtered_copy_is_left_alone_in_variants_too(tmp_path):
    t, envelope = np.arange(16_000), 0.2 * np.hanning(16_000) ** 2
    (tmp_path / "fan").mkdir()
    soundfile.write(
        tmp_path / "fan/a.wav", np.stack([envelope * np.cos(t), envelope * np.sin(t)], axis=1), RATE, subtype="FLOAT"
    )
    clips = [Clip("fan/a.wav", "fan", "00", "train", "source", "normal")]
    store, report = made(tmp_path, [*clips, *variants(clips)], tmp_path / "store", LISTED)
    assert list(report.outcomes) == ["far channel a copy"]
    np.testing.assert_array_equal(store.matrix("moments")[:, 2], store.matrix("moments")[:, 0])


def test_a_source_is_read_once_for_its_variants(tmp_path, monkeypatch):
    clips = record(tmp_path, 2)
    chosen = variants_of(clips, VariantDesign(per_clip=3, transforms=("leak",), severities_db=(0.0,)))
    paths = []
    read = work.read_kept_clip
    monkeypatch.setattr(work, "read_kept_clip", lambda root, path, *args: paths.append(path) or read(root, path, *args))
    policy = AudioPolicy("0-1")
    job = work.Job(tmp_path, policy, (MomentsEmbedder,) * 2, 4, render=Renderer(tmp_path, policy))
    task = work.Task(tuple(clip.path for clip in chosen), (0, 1), tuple(clip.variant for clip in chosen))
    together = work.Worker(job).run(task)[1]
    assert paths == [clip.path for clip in clips]
    alone = [work.Worker(job).run(single)[1][0].vector for single in task.split()]
    np.testing.assert_array_equal([result.vector for result in together], alone)


def test_a_donor_is_heard_at_the_near_microphone(tmp_path):
    clips = record(tmp_path, 2)
    variant = replace(clips[0], label="anomaly", variant=f"mix@0dB#1<{clips[1].path}")
    near, _ = made(tmp_path, [variant], tmp_path / "near", "0")
    together, _ = made(tmp_path, [variant], tmp_path / "all", LISTED)
    np.testing.assert_array_equal(together.matrix("moments")[:, 0], near.matrix("moments"))


def test_a_mono_recording_among_stereo_ones_is_rejected(tmp_path):
    clips = record(tmp_path, 3)
    write(tmp_path, clips[1].path, 0.1 * np.random.default_rng(0).normal(size=3000))
    store, report = made(tmp_path, [*clips, *variants(clips)], tmp_path / "store", LISTED)
    assert [(item.path, item.reason) for item in report.rejected] == [
        (clips[1].path, "channel 1 does not exist, the file has 1 (0 to 0)")
    ]
    assert clips[1].path not in {clip.path for clip in store.clips("two")}


def test_a_vector_that_is_not_finite_in_one_channel_rejects_the_clip(tmp_path):
    clips = record(tmp_path, 2)
    samples, _ = soundfile.read(tmp_path / clips[0].path)
    samples[0, 1] = 0.75
    write(tmp_path, clips[0].path, samples)
    make = Request("moments", lambda: MomentsEmbedder(endless=0.75))
    report = build(tmp_path, clips, tmp_path / "s", [make], BuildOptions(audio=AudioPolicy(LISTED), workers=0))
    assert [(item.path, item.reason) for item in report.rejected] == [
        (clips[0].path, "embedder moments returned NaN or infinite values")
    ]


def test_other_channels_never_join_an_embedding(tmp_path):
    clips = record(tmp_path, 2)
    made(tmp_path, clips, tmp_path / "store", LISTED)
    with pytest.raises(RequestError, match=r"with channel 0,1,0-1, the new one has channel 0,1; .* --channel 0,1,0-1"):
        made(tmp_path, clips, tmp_path / "store", "0,1")


def test_a_level_at_the_far_microphone_is_part_of_the_name():
    assert FAR_DB == -15
    clip = Clip("fan/a.wav", "fan", "00", "train", "source", "normal")
    design = VariantDesign.parse("1:leak@-5~-10")
    assert {clip.variant for clip in variants_of([clip], design)} == {f"leak@-5dB~-10dB#{i}" for i in range(6)}


@dataclass(frozen=True)
class TwiceTheRate(MomentsEmbedder):
    """An embedder that reads at twice the rate of the recordings."""

    name: str = "twice"
    sample_rate_hz: int = 2 * RATE


@pytest.mark.parametrize("channel", ["0", LISTED])
def test_a_variant_has_no_sound_above_its_recording(tmp_path, channel):
    clips = record(tmp_path, 2, samples=(16_000,))
    policy = AudioPolicy(channel)
    for variant in variants(clips):
        job = work.Job(
            tmp_path, policy, (MomentsEmbedder, TwiceTheRate), 4, embeds=False, render=Renderer(tmp_path, policy)
        )
        (own,), (upper,) = work.Worker(job).run(work.Task((variant.path,), (0, 1), (variant.variant,)))
        assert own.recording is not None, own.reason
        assert upper.recording is not None, upper.reason
        low, high = (np.atleast_2d(result.recording.wave)[0] for result in (own, upper))
        assert len(high) == 2 * len(low)
        power = np.square(np.abs(np.fft.rfft(high)))
        assert power[round(1.02 * len(power) / 2) :].sum() < 1e-4 * power.sum(), variant.variant
        assert np.corrcoef(high[::2], low)[0, 1] > 0.95, variant.variant  # but for the transition band


def test_a_short_variant_is_padded_at_the_rate_of_its_embedder(tmp_path):
    (clip,) = record(tmp_path, 1, samples=(3000,))
    (variant, *_) = variants([clip])
    policy, long = AudioPolicy(), replace(TwiceTheRate(), min_samples=9000)
    job = work.Job(tmp_path, policy, (lambda: long,), 4, embeds=False, render=Renderer(tmp_path, policy))
    ((result,),) = work.Worker(job).run(work.Task((variant.path,), (0,), (variant.variant,)))
    assert result.recording is not None
    assert result.recording.wave.shape == (9000,)
    assert not result.recording.wave[6100:].any()

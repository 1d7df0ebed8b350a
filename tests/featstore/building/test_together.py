"""Embedders that read several channels together: one row of two mixes, in every kind of build."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import RATE, MomentsEmbedder

from featstore.anomalies.variants import Renderer, VariantDesign, variants_of
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import read_clip
from featstore.build import BuildOptions, Request, build
from featstore.building.work import channels_of
from featstore.clip import Clip
from featstore.errors import DataError
from featstore.layouts.windows import windows_of
from featstore.store import FeatureStore
from featstore.testing import check_embedder

POLICY = AudioPolicy("0,1")


@dataclass(frozen=True)
class Both(MomentsEmbedder):
    """Powers of near and far, and their correlation."""

    name: str = "both"
    n_channels: int = 2

    @property
    def fingerprint(self) -> str:
        return "both"

    def embed(self, waves: np.ndarray) -> np.ndarray:
        if waves.ndim != 3 or waves.shape[1] != 2:
            raise ValueError(f"expected (batch, 2, time), got {waves.shape}")
        near, far = waves[:, 0].astype(np.float64), waves[:, 1].astype(np.float64)
        moments = [np.square(near).mean(1), np.square(far).mean(1), (near * far).mean(1)]
        return np.stack(moments, axis=1).astype(np.float32)


@dataclass(frozen=True)
class BothInViews(Both):
    """The same as a view, and its root."""

    name: str = "views"
    shape: tuple[int, ...] = (2, 3)
    views: tuple[str, ...] = ("plain", "root")

    def embed(self, waves: np.ndarray) -> np.ndarray:
        rows = super().embed(waves)
        return np.stack([rows, np.sqrt(np.abs(rows))], axis=1)


def recorded(root: Path, n: int = 6) -> list[Clip]:
    """Stereo training clips of two lengths."""
    clips = [Clip(f"fan/{i}.wav", "fan", "00", "train", "source", "normal") for i in range(n)]
    (root / "fan").mkdir(parents=True)
    for i, clip in enumerate(clips):
        samples = 0.1 * np.random.default_rng(i).normal(size=((3000, 4100)[i % 2], 2))
        soundfile.write(root / clip.path, samples, RATE)
    return clips


def made(
    root: Path, clips: list[Clip], store: Path, policy: AudioPolicy = POLICY, workers: int = 0, **options: bool
) -> FeatureStore:
    """A store of an embedder of both channels, without and with views, and of one of single channels."""
    requests = [Request("both", Both), Request("views", BothInViews), Request("moments", MomentsEmbedder)]
    chosen = BuildOptions(audio=policy, workers=workers, render=Renderer(root, policy), **options)
    build(root, windows_of(root, clips, policy), store, requests, chosen)
    return FeatureStore.open(store)


def expected(root: Path, path: str, policy: AudioPolicy = POLICY) -> np.ndarray:
    """Row of a recording or window, from its waves."""
    return Both().embed(read_clip(root, path, RATE, policy).wave[None])[0]


@pytest.mark.parametrize("length", ["native", "window:0.2,0.1", "tile:0.9"])
def test_both_channels_become_one_row(tmp_path, length):
    policy = AudioPolicy("0,1", length)
    clips = recorded(tmp_path / "data")
    store = made(tmp_path / "data", clips, tmp_path / "store", policy)
    info = store.info("both")
    assert (info.shape, info.views, info.channel) == ((3,), (), "0,1")
    assert (store.info("views").shape, store.info("views").views) == ((2, 3), ("plain", "root"))
    assert (store.info("moments").shape, store.info("moments").views) == ((2, 3), ("0", "1")), "embedded one by one"
    rows = [expected(tmp_path / "data", clip.path, policy) for clip in store.clips("both")]
    assert len(rows) == (3 * (3 + 5) if policy.windows else 6)
    np.testing.assert_allclose(store.matrix("both"), rows, rtol=1e-6)
    np.testing.assert_allclose(store.matrix("views")[:, 0], rows, rtol=1e-6)


def test_an_embedder_gets_near_first(tmp_path):
    clips = recorded(tmp_path / "data")
    near_first = made(tmp_path / "data", clips, tmp_path / "a").matrix("both")
    far_first = made(tmp_path / "data", clips, tmp_path / "b", AudioPolicy("1,0")).matrix("both")
    np.testing.assert_allclose(far_first, near_first[:, [1, 0, 2]], rtol=1e-6)


@pytest.mark.parametrize("embed_in_workers", [True, False])
def test_worker_processes_give_the_same_rows(tmp_path, embed_in_workers):
    clips = recorded(tmp_path / "data")
    here = made(tmp_path / "data", clips, tmp_path / "a")
    pool = made(tmp_path / "data", clips, tmp_path / "b", workers=1, embed_in_workers=embed_in_workers)
    np.testing.assert_array_equal(pool.matrix("both"), here.matrix("both"))


def test_a_generated_fault_is_heard_by_both_in_one_row(tmp_path):
    clips = recorded(tmp_path / "data")
    design = VariantDesign(per_clip=1, transforms=("leak",), severities_db=(5.0,))
    store = made(tmp_path / "data", [*clips, *variants_of(clips, design)], tmp_path / "store")
    rows = dict(zip(store.clips("both").keys(), store.matrix("both"), strict=True))
    for clip in store.clips("both"):
        if clip.variant:
            change = rows[clip.key] / rows[clip.path]
            assert change[0] > 2
            assert 1.01 < change[1] < change[0], "the fault is quieter at the far microphone"


@pytest.mark.parametrize(("channel", "named"), [("0", 1), ("0-1", 1), ("0,1,0-1", 3)])
def test_another_number_of_channels_is_refused_with_the_option(tmp_path, channel, named):
    clips = recorded(tmp_path / "data", 1)
    message = f"both: it reads 2 channels of a recording together, and --channel {channel} names {named}; give"
    with pytest.raises(DataError, match=f"{message} --channel 0,1"):
        made(tmp_path / "data", clips, tmp_path / "store", AudioPolicy(channel))


def test_a_recording_of_one_channel_is_rejected_with_the_reason(tmp_path):
    clips = recorded(tmp_path / "data", 4)
    soundfile.write(tmp_path / "data" / clips[0].path, np.ones(3000) / 10, RATE)
    store = made(tmp_path / "data", clips, tmp_path / "store")
    (rejected,) = store.rejected("both")
    assert rejected.path == clips[0].path
    assert rejected.reason == "channel 1 does not exist, the file has 1 (0 to 0)"
    assert store.rows("both") == 3


def test_the_contract_for_embedders_of_one_s_own_gives_both_channels():
    assert (channels_of(Both()), channels_of(MomentsEmbedder())) == (2, 1)
    check_embedder(Both())
    with pytest.raises(AssertionError, match=r"fails on read-only float32 \(3, 8000\)"):
        check_embedder(replace(Both(), n_channels=1))

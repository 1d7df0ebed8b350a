"""The locator: from a store to regions of a wave, and back from the arrays of a file."""

from pathlib import Path

import numpy as np
import pytest
from noise_plant import EMBEDDER, noise, with_tone

from ensemble.deviation.locate import Locator
from featstore.clip import Clip
from featstore.errors import DataError
from featstore.store import EmbeddingInfo, FeatureStore, ShardData, StoreWriter
from featstore.table import ClipTable


def store_of(path: Path, sections: tuple[str, ...] = ("00", "01"), views: slice = slice(None)) -> FeatureStore:
    """Twenty normal clips per section; those of section 01 are 20 dB louder."""
    rng = np.random.default_rng(3)
    clips, rows = [], []
    for number, section in enumerate(sections):
        clips += [Clip(f"fan/{section}/{i}.wav", "fan", section, "train", "source", "normal") for i in range(20)]
        rows.append(EMBEDDER.embed(noise(rng, 20) * np.float32(10**number)))
    names = EMBEDDER.views[views]
    info = EmbeddingInfo(
        "logmel",
        (len(names), EMBEDDER.n_mels),
        "float32",
        EMBEDDER.fingerprint,
        EMBEDDER.config,
        names,
        EMBEDDER.sample_rate_hz,
        "0",
        "native",
    )
    with StoreWriter(path) as writer:
        return writer.commit([ShardData(info, ClipTable.from_clips(clips), np.concatenate(rows)[:, views])])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return store_of(tmp_path_factory.mktemp("s") / "store")


@pytest.fixture(scope="module")
def locator(store: FeatureStore) -> Locator:
    return Locator.of(store, store.clips("logmel"))


WAVE = with_tone(noise(np.random.default_rng(5))[0], 1.0, 1.5, 1000)


def test_a_burst_is_named_against_the_section_of_the_clip(locator: Locator) -> None:
    region = locator.regions(WAVE, "fan", "00", most=1)[0]
    assert (region.start_s, region.end_s) == (pytest.approx(1.0, abs=0.1), pytest.approx(1.5, abs=0.1))
    assert region.low_hz <= 1000 <= region.high_hz
    assert locator.regions(WAVE, "fan", "01", most=1)[0].excess_db < -15, "another section is louder"
    assert locator.deviation(WAVE, "fan", "00").shape == (126, 40)


def test_times_of_a_window_are_those_of_the_recording(locator: Locator) -> None:
    region, later = (locator.regions(WAVE, "fan", "00", start_s=s, most=1)[0] for s in (0.0, 30.0))
    assert later.start_s == pytest.approx(region.start_s + 30)


def test_ends_of_a_clip_do_not_stand_out(locator: Locator) -> None:
    """Their windows are partly padding, 3 dB less in every clip."""
    S = np.stack([locator.log_mel(wave) for wave in noise(np.random.default_rng(6), 30)]).mean(axis=(0, 2))
    assert abs(S[0] - S.mean()) < 1
    assert abs(S[-1] - S.mean()) < 1


def test_a_wave_shorter_than_a_window_is_padded(locator: Locator) -> None:
    padded = np.pad(WAVE[:100], (0, locator.embedder.min_samples - 100))
    assert len(locator.log_mel(WAVE[:100])) >= 1
    assert locator.regions(WAVE[:100], "fan", "00") == locator.regions(padded, "fan", "00")


def test_unknown_sections_are_refused(locator: Locator) -> None:
    with pytest.raises(DataError, match="section '02' has no statistics"):
        locator.regions(WAVE, "fan", "02")


def test_sections_can_be_pooled(store: FeatureStore) -> None:
    pooled = Locator.of(store, store.clips("logmel"), pool_sections=True)
    assert list(pooled.normal) == [("fan", "all")]
    pooled.regions(WAVE, "fan", "00")


def test_a_file_holds_the_locator(locator: Locator) -> None:
    again = Locator.from_arrays(locator.arrays(), locator.description())
    assert again.description() == locator.description()
    for ours, theirs in zip(again.regions(WAVE, "fan", "00"), locator.regions(WAVE, "fan", "00"), strict=True):
        assert str(ours) == str(theirs)


@pytest.mark.parametrize(
    "change",
    [
        {"banks": [["fan", "00"]]},
        {"banks": [["fan", "00"], ["fan", 1]]},
        {"banks": "fan"},
        {"embedder": 3},
        {"embedder": "logmel:n_mels=39"},
        {"embedder": "logmel:n_mels=0"},
        {"embedder": "descriptors"},
    ],
)
def test_a_file_that_does_not_fit_is_refused(locator: Locator, change: dict[str, object]) -> None:
    with pytest.raises(DataError, match="statistics of normal sound"):
        Locator.from_arrays(locator.arrays(), {**locator.description(), **change})


def test_a_store_without_the_views_says_which_build_gives_them(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", ("00",), slice(0, 2))
    with pytest.raises(DataError, match=r"logmel lacks delta, min, max; featstore build DATA STORE -e logmel"):
        Locator.of(store, store.clips("logmel"))


def test_only_a_log_mel_embedding_is_said_to_lack_views(tmp_path: Path) -> None:
    clips = ClipTable.from_clips([Clip(f"fan/00/{i}.wav", "fan", "00", "train") for i in range(3)])
    info = EmbeddingInfo("crepe", (2, 3), "float32", "f", {"hop_s": 0.05, "pool": "stats"}, views=("mean", "std"))
    with StoreWriter(tmp_path / "store") as writer:
        store = writer.commit([ShardData(info, clips, np.zeros((3, 2, 3), dtype=np.float32))])
    with pytest.raises(DataError, match=r"statistics mean, std, delta, min, max; featstore build DATA STORE"):
        Locator.of(store, store.clips("crepe"))


def test_clips_without_a_row_are_refused(store: FeatureStore) -> None:
    with pytest.raises(DataError, match=r"1 clip without a row in logmel, first 'fan/other.wav'"):
        Locator.of(store, ClipTable.from_clips([Clip("fan/other.wav", "fan", "00", "train")]))

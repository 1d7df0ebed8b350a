"""When recordings began: by real patterns of file names, and by modification times that can be true."""

import time as clock
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from zones import zone

from ensemble.windows.times import fit_between, local_again, recorded, time_in, times_of_names
from featstore.clip import Clip, window_path
from featstore.store import EmbeddingInfo, FeatureStore, ShardData, StoreWriter
from featstore.table import ClipTable

END = datetime(2024, 1, 31, 23, 59, 59, tzinfo=UTC).timestamp()
HOUR = 3600.0


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    clock.tzset()
    yield
    monkeypatch.undo()
    clock.tzset()


@pytest.mark.parametrize(
    ("path", "time"),
    [
        ("a/20240131_235959.wav", END),
        ("20240131_235959", END),
        ("2024-01-31T23-59-59.wav", END),
        ("2024-01-31 23.59.59.wav", END),
        ("2024-01-31T23:59:59Z.flac", END),
        ("20240131T235959Z.wav", END),
        ("20240131235959.wav", END),
        ("2024_01_31_23_59_59.wav", END),
        ("2024.01.31.23.59.59.wav", END),
        ("2024-01-31_23h59m59s.wav", END),
        ("2024-01-31 - 23-59-59.wav", END),
        ("mic1_20240131_235959_0001.wav", END),
        ("20240131_235959_20240201_000959.wav", END),
        ("20241399_250000_20240131_235959.wav", END),
        ("line/2024-01-31/23-59-59.wav", END),
        ("20240131/23.59.59 fan.wav", END),
        ("2024-01-31T23-59-59.25.wav", END + 0.25),
        ("20240131T235959+0200.wav", END - 2 * HOUR),
        ("20240131T235959-0500.wav", END + 5 * HOUR),
        ("20240131_235959-05:00.wav", END + 5 * HOUR),
        ("20240131_235959-0500.wav", END),
        ("20240131_235959-0001.wav", END),
        ("20240131T235959-0001.wav", END),
        ("1706745599.wav", END),
        ("rec_1706745599250_2.wav", END + 0.25),
        ("20240229_000000.wav", datetime(2024, 2, 29, tzinfo=UTC).timestamp()),
        ("\udcff 20240131_235959 <b>.wav", END),
        ("20240131.wav", None),
        ("2024-01-31.wav", None),
        ("20240131/235959.wav", None),
        ("20240131/000012.wav", None),
        ("2024-01-31_23-59.wav", None),
        ("240131_235959.wav", None),
        ("31-01-2024 23-59-59.wav", None),
        ("20240230_120000.wav", None),
        ("20230229_120000.wav", None),
        ("20241301_120000.wav", None),
        ("20240131_240000.wav", None),
        ("20240131_236000.wav", None),
        ("20240131_235960.wav", None),
        ("19691231_235959.wav", None),
        ("99920240131_235959.wav", None),
        ("20240131_2359591.wav", None),
        ("SN1706745599.wav", None),
        ("0706745599.wav", None),
        ("17067455991.wav", None),
        ("section_00_source_test_normal_0008.wav", None),
        ("", None),
    ],
)
def test_the_time_in_a_path(path: str, time: float | None) -> None:
    assert time_in(path) == time


def test_a_time_without_a_zone_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Etc/GMT-3")  # three hours east of Greenwich
    clock.tzset()
    assert time_in("20240131_235959.wav") == END - 3 * HOUR
    assert time_in("20240131_235959Z.wav") == END
    assert time_in("1706745599.wav") == END


def test_times_that_were_read_elsewhere_are_as_they_are_written() -> None:
    paths = ["20240131_235959.wav", "20240701_000000.wav", "20240131_235959Z.wav", "x.wav", "20240131_000000.wav"]
    with zone("Europe/London"):
        times = np.array([time_in(path) or np.nan for path in paths])
    times[4] = np.nan
    with zone("Asia/Kolkata"):
        there = local_again(times, paths)
        shown = [datetime.fromtimestamp(time).strftime("%m-%d %H:%M") for time in there[:3].tolist()]
    assert shown == ["01-31 23:59", "07-01 00:00", "02-01 05:29"]
    assert np.isnan(there[3:]).all()
    summer = datetime(2024, 7, 1, tzinfo=UTC).timestamp()
    np.testing.assert_array_equal(local_again(times, paths), [END, summer, END, np.nan, np.nan])


def named(count: int, of: int) -> list[str]:
    return [f"20240131_2359{i:02d}.wav" if i < count else f"{i}.wav" for i in range(of)]


def test_names_count_where_nine_of_ten_have_a_time() -> None:
    times = times_of_names(named(9, 10))
    np.testing.assert_array_equal(times[:9], END - 59 + np.arange(9))
    assert np.isnan(times[9])
    assert np.isnan(times_of_names(named(8, 10))).all()
    assert np.isnan(times_of_names([])).all()


def test_a_time_that_all_recordings_share_is_none() -> None:
    paths = [f"20240131_235959_{i}.wav" for i in range(5)]
    assert np.isnan(times_of_names(paths)).all()
    np.testing.assert_array_equal(times_of_names(paths[:1] * 3), [END] * 3)  # windows of one recording


@pytest.mark.parametrize(
    ("ended", "seconds", "fit"),
    [
        ([10, 20, 30], [10, 10, 10], True),
        ([30, 10, 20], [10, 10, 10], True),
        ([10, 600, 1200], [10, 10, 10], True),
        ([100, 100.1, 100.2], [10, 10, 10], False),
        ([100, 100, 100], [0.1, 0.1, 0.1], False),
        ([100, 110, 120], [60, 60, 60], False),
        ([60, 70], [60, 10], True),
        ([100], [60], True),
        ([], [], True),
        ([np.nan, np.nan], [10, 10], True),
        ([100, np.nan, 100.5], [10, 10, 10], False),
        ([100, 200], [np.nan, np.nan], True),
        ([100, 100], [np.nan, np.nan], False),
    ],
)
def test_recordings_fit_between_their_modification_times(ended: list[float], seconds: list[float], fit: bool) -> None:
    assert fit_between(np.array(ended), np.array(seconds)) is fit


def store(folder: Path, clips: list[Clip], ended: list[float], seconds: float = 10.0) -> FeatureStore:
    """A store of these clips, whose recordings ended then."""
    facts = {
        "mtime_ns": (np.array(ended) * 1e9).astype(np.int64),
        "n_samples": np.full(len(clips), int(seconds * 100)),
        "sample_rate_hz": np.full(len(clips), 100),
    }
    info = EmbeddingInfo("e", (1,), "float32", "f", sample_rate_hz=100)
    with StoreWriter(folder) as writer:
        writer.commit([ShardData(info, ClipTable.from_clips(clips), np.zeros((len(clips), 1), np.float32), facts)])
    return FeatureStore.open(folder)


def scored_in(store: FeatureStore) -> ClipTable:
    clips = store.clips("e")
    return clips[clips.where(split="test")]


def clips_of(names: list[str], section: str = "00", split: str = "test") -> list[Clip]:
    return [Clip(f"fan/{section}/{split}/{name}", "fan", section, split) for name in names]  # type: ignore[arg-type]


def test_names_go_before_modification_times(tmp_path: Path) -> None:
    one = store(tmp_path / "s", clips_of(named(10, 10)), [1e9 + 60 * i for i in range(10)])
    found = recorded(one, "e", scored_in(one))
    assert found.source == "name"
    np.testing.assert_array_equal(found.times, END - 59 + np.arange(10))
    np.testing.assert_array_equal(found.seconds, [10.0] * 10)


def test_modification_times_are_when_recordings_ended(tmp_path: Path) -> None:
    one = store(tmp_path / "s", clips_of(["b.wav", "a.wav"]), [1e9, 1e9 + 60])
    found = recorded(one, "e", scored_in(one))
    assert found.source == "file"
    np.testing.assert_array_equal(found.times, [1e9 - 10, 1e9 + 50])


def test_a_recording_in_windows_began_before_its_last_window_ended(tmp_path: Path) -> None:
    clips = [
        Clip(window_path(f"fan/test/{name}.wav", 5 * i, 5 * i + 10), "fan", "00", "test")
        for name in "ab"
        for i in range(11)
    ]
    one = store(tmp_path / "s", clips, [1e9] * 11 + [1e9 + 60] * 11)
    found = recorded(one, "e", scored_in(one))
    np.testing.assert_array_equal(found.times, [1e9 - 60] * 11 + [1e9] * 11)
    two = store(tmp_path / "t", clips, [1e9] * 11 + [1e9 + 30] * 11)
    assert recorded(two, "e", scored_in(two)).source == ""


@pytest.mark.parametrize("copied", ["all", "test", "training and test at once", "none are stored"])
def test_times_of_copied_files_are_unknown(tmp_path: Path, copied: str) -> None:
    train, test = clips_of(["a.wav", "b.wav"], split="train"), clips_of(["c.wav", "d.wav"])
    ended = {
        "all": [1e9, 1e9 + 0.1, 1e9 + 0.2, 1e9 + 0.3],
        "test": [1e9, 1e9 + 60, 1e9 + 1000, 1e9 + 1000.1],
        "training and test at once": [1e9, 1e9 + 0.1, 1e9 + 0.1, 1e9 + 11],
        "none are stored": [0, 0, 0, 0],
    }[copied]
    one = store(tmp_path / "s", [*train, *test], ended)
    found = recorded(one, "e", scored_in(one))
    assert found.source == ""
    assert np.isnan(found.times).all()


@pytest.mark.parametrize(("with_names", "without", "source", "known"), [(10, 4, "name", 10), (4, 10, "file", 14)])
def test_one_source_holds_for_all_sections(
    tmp_path: Path, with_names: int, without: int, source: str, known: int
) -> None:
    others = clips_of([f"{i}.wav" for i in range(without)], section="01")
    clips = [*clips_of(named(with_names, with_names), section="00"), *others]
    one = store(tmp_path / "s", clips, [1e9 + 60 * i for i in range(14)])
    found = recorded(one, "e", scored_in(one))
    assert found.source == source
    assert np.isfinite(found.times).sum() == known


def test_clips_in_any_order_have_their_own_times(tmp_path: Path) -> None:
    one = store(tmp_path / "s", clips_of(["a.wav", "b.wav", "c.wav"]), [1e9, 1e9 + 60, 1e9 + 120])
    clips = scored_in(one)
    np.testing.assert_array_equal(
        recorded(one, "e", clips[np.array([2, 0])]).times, recorded(one, "e", clips).times[[2, 0]]
    )

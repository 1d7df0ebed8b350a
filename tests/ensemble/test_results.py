"""What a run keeps for the page: everything that it found, beside scores.csv."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from report_plant import RATE, plant, store_of
from window_store import plant as window_plant
from window_store import window_store

from ensemble import results as module
from ensemble.cli import main
from ensemble.page.items import items
from ensemble.page.kept import FILE, read_results
from featstore.store import EmbeddingInfo, FeatureStore, ShardData, StoreWriter
from featstore.table import ClipTable

OPTIONS = ("-d", "knn:k=1", "-e", "e")


@pytest.fixture(scope="module", autouse=True)
def _unsynced(unsynced: None) -> None:
    pass


def run(store: Path, out: Path, *more: str) -> Result:
    return CliRunner().invoke(main, [str(store), *OPTIONS, "-o", str(out), *more])


def test_a_run_keeps_what_it_found(tmp_path: Path) -> None:
    store = store_of(tmp_path / "plant", plant())
    result = run(store.path, tmp_path / "r", "--fpr", "0.2")
    assert result.exit_code == 0, result.output
    assert f"{tmp_path / 'r' / 'metrics.json'}, {tmp_path / 'r' / FILE}\n" in result.stderr
    scored = read_results(tmp_path / "r" / FILE)
    lines = (tmp_path / "r" / "scores.csv").read_text().splitlines()
    rows = {key: row for row, key in enumerate(scored.keys)}
    assert len(lines) == len(rows) + 1 == 25
    first = lines[1].split(",")
    assert float(first[4]) == scored.score[rows[first[0]]]
    assert (scored.title, scored.nominal, scored.bounded) == ("plant", 0.2, False)
    assert scored.metrics == json.loads((tmp_path / "r" / "metrics.json").read_text())
    assert scored.metrics["ensemble"]["kind"] == "named"
    notes = {line.removeprefix("note: ") for line in result.stderr.splitlines() if line.startswith("note: ")}
    assert set(scored.notes) == notes
    assert scored.rates
    assert scored.store
    assert scored.time_source == ""
    assert np.isnan(scored.seconds[:, 1]).all()


def test_lengths_and_times_of_whole_recordings_are_kept(tmp_path: Path) -> None:
    clips = ClipTable.from_clips(plant())
    ended = 1e9 + 60 * np.arange(len(clips))
    facts = {
        "mtime_ns": (ended * 1e9).astype(np.int64),
        "n_samples": np.full(len(clips), 10 * RATE),
        "sample_rate_hz": np.full(len(clips), RATE),
    }
    X = np.random.default_rng(0).normal(size=(len(clips), 5)).astype(np.float32)
    with StoreWriter(tmp_path / "s") as writer:
        writer.commit([ShardData(EmbeddingInfo("e", (5,), "float32", "f", sample_rate_hz=RATE), clips, X, facts)])
    assert run(tmp_path / "s", tmp_path / "r").exit_code == 0
    scored = read_results(tmp_path / "r" / FILE)
    assert scored.time_source == "file"
    np.testing.assert_array_equal(scored.seconds, [[0.0, 10.0]] * 24)
    np.testing.assert_array_equal(scored.times, (ended - 10)[clips.where(split="test")])


def test_windows_are_kept_as_events(tmp_path: Path) -> None:
    window_store(tmp_path / "s", window_plant())
    assert run(tmp_path / "s", tmp_path / "r").exit_code == 0
    scored = read_results(tmp_path / "r" / FILE)
    events = (tmp_path / "r" / "events.csv").read_text().splitlines()
    found = items(scored)
    assert found.reported == len(events) - 1 > 0
    first = next(line for line in events if line.startswith(found[0].recording)).split(",")
    assert [float(first[3]), float(first[4])] == [found[0].start_s, found[0].end_s]


def test_ranked_training_clips_are_kept(tmp_path: Path) -> None:
    store = store_of(tmp_path / "s", [clip for clip in plant() if clip.split == "train"])
    assert run(store.path, tmp_path / "r").exit_code == 0
    scored = read_results(tmp_path / "r" / FILE)
    assert scored.self_ranked
    assert len(scored.clips) == len(scored.train) == 48


def test_no_results_of_another_run_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that stops before its end leaves no older page beside newer scores."""
    store = store_of(tmp_path / "s", plant())
    assert run(store.path, tmp_path / "r").exit_code == 0
    before = (tmp_path / "r" / FILE).read_bytes()
    assert run(store.path, tmp_path / "r", "--machine", "nowhere").exit_code == 1
    assert (tmp_path / "r" / FILE).read_bytes() == before

    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_metrics", stop)
    run(store.path, tmp_path / "r", "--fpr", "0.3")
    assert (tmp_path / "r" / "scores.csv").exists()
    assert not (tmp_path / "r" / FILE).exists()


def test_thresholds_set_in_the_page_stay(tmp_path: Path) -> None:
    store = store_of(tmp_path / "s", plant())
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "thresholds.toml").write_text("default = 3.0\n")
    assert run(store.path, tmp_path / "r").exit_code == 0
    assert (tmp_path / "r" / "thresholds.toml").read_text() == "default = 3.0\n"
    assert run(store.path, tmp_path / "r", "--threshold", str(tmp_path / "r" / "thresholds.toml")).exit_code == 0
    scored = read_results(tmp_path / "r" / FILE)
    assert {limit.value for limit in scored.limits} == {3.0}
    assert {limit.requested for limit in scored.limits} == {None}


def test_rows_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeping the page opens no shard a second time."""
    store = store_of(tmp_path / "s", plant())
    opened: list[int] = []
    original = FeatureStore.open_shard
    monkeypatch.setattr(FeatureStore, "open_shard", lambda self, entry: (opened.append(1), original(self, entry))[1])
    monkeypatch.setattr(module, "_write_page", lambda path, *args: path)
    assert run(store.path, tmp_path / "r").exit_code == 0
    without = len(opened)
    monkeypatch.undo()
    opened.clear()
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    monkeypatch.setattr(FeatureStore, "open_shard", lambda self, entry: (opened.append(1), original(self, entry))[1])
    assert run(store.path, tmp_path / "r").exit_code == 0
    assert len(opened) == without

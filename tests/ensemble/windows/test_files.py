"""What `detect` writes and prints about windows: columns, events.csv, recordings.csv, metrics of recordings."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from window_store import plant, recording, vectors, window_store, windows

from detectors.metrics.auc import auc
from ensemble import results
from ensemble.cli import main
from ensemble.deviation.of_detection import Places
from ensemble.deviation.region import Region
from ensemble.recipe import Member, Recipe
from ensemble.run import Detection, detect
from ensemble.windows.files import events_csv, peak_sentences
from ensemble.windows.findings import findings_of
from featstore.clip import Clip
from featstore.store import FeatureStore

WHOLE = [recording("fan/test/short.wav"), recording("fan/train/short.wav")]


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    """Windows, and two whole recordings."""
    return [*plant(train=6, test=10), *WHOLE]


@pytest.fixture(scope="module")
def store(clips: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return window_store(tmp_path_factory.mktemp("files") / "s", clips)


def run(*args: object) -> Result:
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result


def detected(store: FeatureStore, out: Path, *more: object) -> Result:
    return run(store.path, "-d", "knn:k=1", "-e", "e", "-o", out, *more)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_scores_have_times(store: FeatureStore, tmp_path: Path) -> None:
    detected(store, tmp_path)
    table = rows(tmp_path / "scores.csv")
    assert list(table[0])[:6] == ["clip", "machine", "section", "domain", "start_s", "end_s"]
    times = {row["clip"]: (row["start_s"], row["end_s"]) for row in table}
    assert times["fan/test/3.wav#t=30,40"] == ("30", "40")
    assert times["fan/test/short.wav"] == ("0", "120"), "the length is in the facts"


def test_recordings_have_the_maximum_or_the_quantile_of_their_windows(store: FeatureStore, tmp_path: Path) -> None:
    detected(store, tmp_path)
    scores: dict[str, list[float]] = {}
    for row in rows(tmp_path / "scores.csv"):
        scores.setdefault(row["clip"].partition("#")[0], []).append(float(row["score"]))
    table = rows(tmp_path / "recordings.csv")
    assert {row["recording"]: float(row["score"]) for row in table} == {name: max(of) for name, of in scores.items()}
    assert sorted((float(row["percentile"]) for row in table), reverse=True) == [float(r["percentile"]) for r in table]
    faulty = next(row for row in table if row["recording"] == "fan/test/1.wav")
    assert (faulty["decision"], faulty["windows"], faulty["events"]) == ("1", "12", "1")
    assert int(faulty["reported"]) >= 3
    assert "label" not in table[0]
    detected(store, tmp_path, "--recording-score", "q0.5")
    for row in rows(tmp_path / "recordings.csv"):
        assert float(row["score"]) == pytest.approx(np.median(scores[row["recording"]]))


def test_events_are_written_and_shown(store: FeatureStore, tmp_path: Path) -> None:
    result = detected(store, tmp_path)
    table = rows(tmp_path / "events.csv")
    assert list(table[0])[:5] == ["recording", "machine", "section", "start_s", "end_s"]
    assert {row["recording"] for row in table[:5]} == {f"fan/test/{i}.wav" for i in (1, 3, 5, 7, 9)}
    assert all(float(row["start_s"]) <= float(row["peak_time_s"]) <= float(row["end_s"]) for row in table)
    first = result.stdout.index(f"{len(table)} event")
    assert " would be expected if all were normal." in result.stdout[first:]
    header = "recording       from  to    peak at  percentile  windows"
    assert header in result.stdout
    assert "nearest normal clip" not in result.stdout


def test_official_metrics_are_of_recordings(store: FeatureStore, clips: list[Clip], tmp_path: Path) -> None:
    result = detected(store, tmp_path, "--json")
    metrics = json.loads(result.stdout)["metrics"]
    assert "of 11 recordings, scored by the maximum of their windows" in result.stderr
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert metrics["recordings"] == 11
    assert metrics["events"][0] == metrics["events"][0] | {"machine": "fan", "section": "00"}
    assert len(metrics["events"]) == len(rows(tmp_path / "events.csv"))
    scores = {row["recording"]: float(row["score"]) for row in rows(tmp_path / "recordings.csv")}
    label = {clip.recording: clip.label for clip in clips}
    normal, anomaly = ([scores[n] for n in scores if label[n] == kind] for kind in ("normal", "anomaly"))
    expected = auc(np.array(normal), np.array(anomaly))
    assert metrics["sections"][0]["auc"]["value"] == pytest.approx(expected)
    assert sum(group["clips"] for group in metrics["false_alarms"]) == 5 * 12 + 1, "over windows"
    false = metrics["false_events"]
    assert false["recordings"] == 5
    assert false["hours"] == pytest.approx(5 * 120 / 3600)
    count = sum(int(row["events"]) for row in rows(tmp_path / "recordings.csv") if row["recording"][9] in "02468")
    assert false["events"] == count
    assert false["per_hour"] == pytest.approx(count / false["hours"])
    assert "events per hour" in result.stderr


@pytest.mark.parametrize("rule", ["max", "q0.7"])
def test_evaluate_gives_the_metrics_of_the_run(store: FeatureStore, tmp_path: Path, rule: str) -> None:
    option = ("--recording-score", rule)
    official = json.loads(detected(store, tmp_path, "--json", *option).stdout)["metrics"]["official_score"]
    again = json.loads(run("evaluate", tmp_path / "scores.csv", store.path, "--json", *option).stdout)
    assert again["official_score"] == official
    assert again["recordings"] == 11
    text = run("evaluate", tmp_path / "scores.csv", store.path, *option).stdout
    word = {"max": "maximum", "q0.7": "0.7 quantile"}[rule]
    assert text.endswith(f"of 11 recordings, scored by the {word} of their windows\n")


def test_the_package_has_recordings_and_is_evaluated_by_them(store: FeatureStore, tmp_path: Path) -> None:
    official = json.loads(detected(store, tmp_path, "--json", "--format", "dcase").stdout)["metrics"]["official_score"]
    folder = tmp_path / "dcase" / "task2" / "Lastname_Institute_task2_1"
    lines = (folder / "anomaly_score_fan_section_00_test.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == [*(f"{i}.wav" for i in range(10)), "short.wav"]
    decided = (folder / "decision_result_fan_section_00_test.csv").read_text().split()
    decisions = dict(line.split(",") for line in decided)
    assert {row["recording"][9:]: row["decision"] for row in rows(tmp_path / "recordings.csv")} == decisions
    again = json.loads(run("evaluate", folder, store.path, "--json").stdout)
    assert again["official_score"] == official
    assert "recordings" not in again, "scores of recordings are read as they are"
    by_name = tmp_path / "by_name.csv"
    by_name.write_text("clip,score\n" + "".join(f"{line}\n" for line in lines))
    assert json.loads(run("evaluate", by_name, store.path, "--json").stdout)["official_score"] == official


def test_the_official_truth_labels_the_windows_of_a_recording(tmp_path: Path) -> None:
    names = [f"fan/test/section_00_{i:04d}.wav" for i in range(8)]
    windows_of = [window for name in names for window in windows(recording(name, "unknown"), 3)]
    clips = [*plant(train=6, test=0), *windows_of]
    store = window_store(tmp_path / "s", clips, np.random.default_rng(0).normal(3, 1, (len(clips), 6)).astype("f4"))
    detected(store, tmp_path / "out")
    truth = tmp_path / "ground_truth_fan_section_00_test.csv"
    truth.write_text("".join(f"{name[9:]},{i % 2}\n" for i, name in enumerate(names)))
    options = ("--ground-truth", truth, "--year", "2020", "--json")
    metrics = json.loads(run("evaluate", tmp_path / "out" / "scores.csv", store.path, *options).stdout)
    scores = {row["recording"]: float(row["score"]) for row in rows(tmp_path / "out" / "recordings.csv")}
    of_label = [np.array([scores[name] for name in names[first::2]]) for first in (0, 1)]
    assert metrics["sections"][0]["auc"]["value"] == pytest.approx(auc(*of_label))


def test_files_of_an_earlier_run_go(store: FeatureStore, tmp_path: Path) -> None:
    detected(store, tmp_path)
    whole = [recording(f"fan/{split}/{i}.wav") for split in ("train", "test") for i in range(8)]
    plain = detected(window_store(tmp_path / "plain", whole), tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir() if path.is_file())
    assert names == ["metrics.json", "page.safetensors", "recipe.toml", "scores.csv"]
    assert "start_s" not in rows(tmp_path / "scores.csv")[0]
    assert "The 8 most anomalous (percentile: share of the " in plain.stdout
    assert "event" not in plain.stdout


def test_scores_do_not_depend_on_the_order_of_rows(clips: list[Clip], store: FeatureStore, tmp_path: Path) -> None:
    order = np.random.default_rng(4).permutation(len(clips))
    X = vectors(clips)
    shuffled = window_store(tmp_path / "shuffled", [clips[i] for i in order], X[order])
    detected(store, tmp_path / "a")
    detected(shuffled, tmp_path / "b")
    for name in ("events.csv", "recordings.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_run_without_labels_or_findings_says_so(tmp_path: Path) -> None:
    clips = [replace(clip, label="unknown") for clip in plant(train=8, test=2)]
    X = np.ones((len(clips), 6)) + 0.1 * np.random.default_rng(0).normal(size=(len(clips), 6))
    X[[clip.split == "test" for clip in clips]] = 1  # in the middle of the others
    result = detected(window_store(tmp_path / "s", clips, X.astype("f4")), tmp_path / "out")
    assert result.stdout.startswith("0 events in 0 of 2 recordings: 0 of 24 windows reported.")
    assert "events per hour" not in result.stdout
    assert rows(tmp_path / "out" / "events.csv") == []
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["events"] == []
    assert "false_events" not in metrics


def test_an_unknown_rule_is_refused_at_once(store: FeatureStore, tmp_path: Path) -> None:
    args = [str(store.path), "--default", "-o", str(tmp_path / "o"), "--recording-score", "mean"]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 2
    assert "--recording-score 'mean': expected max, or a quantile below 1 such as q0.9" in result.output
    assert not (tmp_path / "o").exists()


def test_the_file_of_events_says_where_they_deviate(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def everywhere(store: FeatureStore, detection: Detection, data: Path | None) -> Places:
        return Places(dict.fromkeys(range(len(detection.clips)), (Region(1, 2, 2000, 4000, 9, 5),)))

    monkeypatch.setattr(results, "places", everywhere)
    detected(store, tmp_path)
    sentences = {row["where"] for row in rows(tmp_path / "events.csv")}
    assert sentences == {"1.0 to 2.0 s, 2 to 4 kHz, 9 dB above normal"}


def test_an_event_has_the_sentence_of_its_peak(store: FeatureStore) -> None:
    """The sentence of another window of the event, or of another event, is not its own."""
    detection = detect(store, Recipe((Member("e", "knn:k=1"),)))
    findings = findings_of(detection, store=store)
    where = {row: f'row {row}, "loud"' for row in np.flatnonzero(detection.decision).tolist()}
    sentences = peak_sentences(detection, findings, where)
    assert len(sentences) == len(findings.events) > 1
    for event, sentence in zip(findings.events, sentences, strict=True):
        row = int(sentence.split()[1].rstrip(","))
        assert detection.score[row] == event.peak_score
        assert detection.clips.recordings()[row] == event.recording
    table = list(csv.DictReader(events_csv(findings.events, sentences).splitlines()))
    assert [line["where"] for line in table] == sentences
    assert peak_sentences(detection, findings, {}) == [""] * len(findings.events)

"""Copies: exact by content, near by rounding; named, marked, and never each other's reference."""

import csv
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from fitted_plant import INFOS

from ensemble.checks import near
from ensemble.checks.copies import TOLERANCE, equal_but_for_rounding
from ensemble.checks.training import training_warnings
from ensemble.cli import main
from ensemble.fitting.fit import fit
from ensemble.fitting.update import updated
from ensemble.output import scores_csv
from ensemble.recipe import Member, Recipe
from ensemble.run import Detection, detect
from featstore.clip import Clip
from featstore.store import FeatureStore, ShardData, StoreWriter
from featstore.table import ClipTable, encode

KNN = Recipe((Member("h", "knn"),))
FUSED = Recipe((Member("h", "knn"), Member("h", "mahalanobis:covariance=ledoit_wolf")))


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def clips_of(train: int = 30, test: int = 8) -> list[Clip]:
    clips = [Clip(f"fan/train/{i:02d}.wav", "fan", "00", "train", "source", "normal") for i in range(train)]
    labels = ("normal", "anomaly")
    return clips + [Clip(f"fan/test/{i}.wav", "fan", "00", "test", "source", labels[i % 2]) for i in range(test)]


def make(
    path: Path,
    clips: list[Clip],
    same: Mapping[int, int] | None = None,
    alike: Mapping[int, int] | None = None,
    dtype: str = "float32",
    outlier: int | None = None,
) -> FeatureStore:
    """same: rows with the content and vector of another; alike: with its vector but for rounding.

    outlier: a row far from all others.
    """
    X = np.random.default_rng(3).normal(size=(len(clips), 12)).astype(np.float32)
    X[[clip.label == "anomaly" for clip in clips], 0] += 4
    if outlier is not None:
        X[:, 1] += 6
        X[outlier, 1] = -30
    contents = [f"content {clip.recording}" for clip in clips]
    for row, twin in (same or {}).items():
        X[row], contents[row] = X[twin], contents[twin]
    for row, twin in (alike or {}).items():
        X[row] = X[twin] * np.float32(1 + 3e-7)
    facts = {"content_hash": encode(contents)}
    with StoreWriter(path) as writer:
        info = replace(INFOS["h"], dtype=dtype)
        writer.commit([ShardData(info, ClipTable.from_clips(clips), X.astype(dtype), facts)])
    return FeatureStore.open(path)


def rows_of(detection: Detection) -> dict[str, dict[str, str]]:
    return {row["clip"]: row for row in csv.DictReader(scores_csv(detection).splitlines())}


@pytest.mark.parametrize("recipe", [KNN, FUSED], ids=["knn", "fused"])
def test_a_test_clip_in_the_bank_is_named_and_marked(tmp_path: Path, recipe: Recipe) -> None:
    detection = detect(make(tmp_path / "s", clips_of(), {31: 4}), recipe)
    assert detection.copies.exact == {"fan/test/1.wav": "fan/train/04.wav"}
    assert not detection.copies.near
    assert not detection.copies.repeated
    (note,) = [note for note in detection.notes if "same content as a training clip" in note]
    assert note == (
        "1 scored clip has the same content as a training clip, so scored as normal: fan/test/1.wav = fan/train/04.wav"
    )
    rows = rows_of(detection)
    assert rows["fan/test/1.wav"]["copy_of"] == "fan/train/04.wav"
    assert not any(row["copy_of"] for clip, row in rows.items() if clip != "fan/test/1.wav")


def test_without_copies_there_is_neither_column_nor_note(tmp_path: Path) -> None:
    detection = detect(make(tmp_path / "s", clips_of()), KNN)
    assert "copy_of" not in scores_csv(detection)
    assert not any("training clip" in note for note in detection.notes)


def test_the_metrics_with_and_without_copies(tmp_path: Path) -> None:
    clips = [replace(clip, domain="unknown") for clip in clips_of()]
    make(tmp_path / "a", clips, {31: 4})
    kept = [clip for clip in clips if clip.path != "fan/test/1.wav"]
    X = FeatureStore.open(tmp_path / "a").matrix("h")[[clip in kept for clip in clips]]
    with StoreWriter(tmp_path / "b") as writer:
        writer.commit([ShardData(replace(INFOS["h"], dtype="float32"), ClipTable.from_clips(kept), X)])
    results = []
    for name in ("a", "b"):
        result = run(tmp_path / name, "-d", "knn", "-e", "h", "-o", tmp_path / "r", "--workers", "1")
        assert result.exit_code == 0, result.output
        results.append((result, json.loads((tmp_path / "r" / "metrics.json").read_text())))
    (with_copy, metrics), (_, expected) = results
    without = expected["official_score"]["value"]
    assert metrics["copies"] == {"exact": 1, "near": 0, "official_score_without": without}
    assert metrics["official_score"]["value"] < without
    assert f"official score without the 1 copy of training clips: {100 * without:.2f}" in with_copy.stdout
    assert "copies" not in expected


def test_thousands_of_copies_are_one_line(tmp_path: Path) -> None:
    clips = clips_of(train=30, test=2000)
    detection = detect(make(tmp_path / "s", clips, {30 + i: i % 30 for i in range(1999)}), KNN)
    (note,) = [note for note in detection.notes if "same content as a training clip" in note]
    assert note.startswith("1,999 scored clips")
    assert note.endswith(" and 1,996 more")
    assert len(note) < 300


def test_a_training_clip_is_in_the_bank_once(tmp_path: Path) -> None:
    twice = detect(make(tmp_path / "a", clips_of(), {7: 2}), FUSED)
    assert twice.copies.repeated == {"fan/train/07.wav": "fan/train/02.wav"}
    assert "one of each is used: fan/train/07.wav = fan/train/02.wav" in " ".join(twice.notes)
    clips = clips_of()
    without = [clip for i, clip in enumerate(clips) if i != 7]
    X = FeatureStore.open(tmp_path / "a").matrix("h")[np.arange(len(clips)) != 7]
    with StoreWriter(tmp_path / "b") as writer:
        writer.commit([ShardData(replace(INFOS["h"], dtype="float32"), ClipTable.from_clips(without), X)])
    once = detect(FeatureStore.open(tmp_path / "b"), FUSED)
    np.testing.assert_array_equal(twice.score, once.score)
    np.testing.assert_array_equal(twice.reference, once.reference)


def test_copies_in_another_section_are_none(tmp_path: Path) -> None:
    clips = [*clips_of(), *[replace(clip, machine="pump", path=f"pump/{clip.path}") for clip in clips_of()]]
    detection = detect(make(tmp_path / "s", clips, {45: 2, 70: 3}), KNN)
    assert not detection.copies.scored
    assert not detection.copies.repeated


def test_ranked_clips_are_not_compared_with_their_copies(tmp_path: Path) -> None:
    store = make(tmp_path / "s", clips_of(test=0), {7: 2, 9: 2})
    detection = detect(store, KNN)
    assert detection.self_ranked
    assert len(detection.clips) == 30
    assert detection.score.min() > 1e-3
    assert rows_of(detection)["fan/train/07.wav"]["copy_of"] == "fan/train/02.wav"
    near = dict(zip(detection.clips.keys(), detection.nearest, strict=True))
    assert near["fan/train/07.wav"] not in {"fan/train/02.wav", "fan/train/09.wav"}
    assert "a clip is not compared with its copy: fan/train/07.wav = fan/train/02.wav" in " ".join(detection.notes)


def test_ranked_clips_that_are_all_copies_are_still_ranked(tmp_path: Path) -> None:
    clips = [*clips_of(test=0), *[replace(clip, machine="saw", path=f"saw/{clip.path}") for clip in clips_of(4, 0)]]
    detection = detect(make(tmp_path / "s", clips, {31: 30, 32: 30, 33: 30}), KNN)
    assert np.isfinite(detection.score).all()
    assert detection.score[detection.clips.where(machine="saw")].max() < 1e-6


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_near_copies_differ_by_rounding_only(tmp_path: Path, dtype: str) -> None:
    detection = detect(make(tmp_path / "s", clips_of(), alike={31: 4, 8: 3}, dtype=dtype), KNN)
    assert detection.copies.near == {"fan/test/1.wav": "fan/train/04.wav"}
    assert detection.copies.near_repeated == {"fan/train/08.wav": "fan/train/03.wav"}
    assert not detection.copies.exact
    texts = " ".join(detection.notes)
    assert "1 scored clip has the same embedding as a training clip apart from rounding" in texts
    assert "leave one of each out of the data: fan/train/08.wav = fan/train/03.wav" in texts
    assert rows_of(detection)["fan/test/1.wav"]["copy_of"] == "fan/train/04.wav"


def test_near_copies_of_ranked_clips(tmp_path: Path) -> None:
    detection = detect(make(tmp_path / "s", clips_of(test=0), alike={8: 3}), KNN)
    assert detection.copies.near_repeated == {"fan/train/08.wav": "fan/train/03.wav"}
    assert "apart from rounding; a clip is not compared with its copy: fan/train/08.wav" in " ".join(detection.notes)
    assert not any("of a group" in note for note in detection.notes)


@pytest.mark.parametrize("pool", [False, True])
def test_outliers_that_are_near_copies_of_each_other_are_ranked_first(tmp_path: Path, pool: bool) -> None:
    clips = [replace(clip, section="01") if pool and i == 7 else clip for i, clip in enumerate(clips_of(test=0))]
    store = make(tmp_path / "s", clips, alike={7: 3, 8: 3, 9: 3, 11: 3}, outlier=3)
    detection = detect(store, replace(KNN, pool_sections=pool))
    first = {detection.clips.keys()[i] for i in np.argsort(-detection.score)[:5]}
    fault = "fan/train/03.wav"
    others = {f"fan/train/{i:02d}.wav" for i in (7, 8, 9, 11)}
    assert first == {fault, *others}
    assert detection.copies.near_repeated == dict.fromkeys(others, fault)
    assert not detection.copies.near


def test_near_copies_are_found_whichever_of_them_is_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def last(X: np.ndarray, Y: np.ndarray, k: int, exclude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        distance = np.round(((X[:, None] - Y) ** 2).sum(-1), 4)
        distance[np.arange(len(X)), exclude] = np.inf
        return np.zeros((len(X), 1)), len(Y) - 1 - distance[:, ::-1].argmin(1)[:, None]

    monkeypatch.setattr(near, "nearest", last)
    detection = detect(make(tmp_path / "s", clips_of(test=0), alike={7: 3, 8: 3, 9: 3}), KNN)
    assert detection.copies.near_repeated == {f"fan/train/{i:02d}.wav": "fan/train/03.wav" for i in (7, 8, 9)}


def test_ranked_near_copies_of_a_large_section_are_said_to_be_scored_as_normal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near, "MOST_CLIPS", 10)
    detection = detect(make(tmp_path / "s", clips_of(test=0), alike={8: 3}), KNN)
    pair = ("fan/train/03.wav", "fan/train/08.wav")
    assert detection.copies.near == {pair[0]: pair[1], pair[1]: pair[0]}
    assert not detection.copies.near_repeated
    assert (
        "2 scored clips have the same embedding as a training clip apart from rounding, so scored as normal"
        in " ".join(detection.notes)
    )
    assert rows_of(detection)[pair[0]]["copy_of"] == pair[1]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_tolerance_is_that_of_rounding(dtype: str) -> None:
    X = np.random.default_rng(0).normal(size=(200, 3, 64))
    rounded = X.astype(dtype)
    tolerance = TOLERANCE[dtype]
    if dtype == "float16":  # rounded twice, from values of another summation order
        assert equal_but_for_rounding(rounded, (X * (1 + 1e-6)).astype(dtype), tolerance).all()
    assert equal_but_for_rounding(X, X.astype(np.float32), tolerance).all()
    noise = X + 1e-3 * np.random.default_rng(1).normal(size=X.shape) * np.abs(X).max()
    assert not equal_but_for_rounding(rounded, noise.astype(dtype), tolerance).any()
    assert not equal_but_for_rounding(np.zeros((2, 4)), np.zeros((2, 4)), tolerance).any()
    one = X.copy()
    one[:, 1, 5] += 0.1
    assert not equal_but_for_rounding(X, one, tolerance).any(), "every view must agree"


def test_sections_of_equal_rows_have_no_near_copies(tmp_path: Path) -> None:
    clips = [*clips_of(), *[replace(clip, machine="dead", path=f"dead/{clip.path}") for clip in clips_of()]]
    alike = dict.fromkeys(range(39, 76), 38)
    assert not detect(make(tmp_path / "s", clips, alike=alike), KNN).copies.scored


def test_select_fit_and_update_say_so(tmp_path: Path) -> None:
    store = make(tmp_path / "s", clips_of(), {7: 2})
    fitted, notes = fit(store, KNN, workers=0)
    assert len(fitted.train) == 29
    assert any("1 training clip has the same content as another training clip" in note for note in notes)
    assert any("1 training clip has the same content" in text for text in training_warnings(store, KNN.members))
    chosen = run("select", tmp_path / "s", "--perturb", "-o", tmp_path / "recipe.toml", "--replicates", "20")
    assert chosen.exit_code == 0, chosen.output
    assert "1 training clip has the same content as another training clip" in chosen.output
    after, new, _ = updated(fitted, store, workers=0)
    assert (new, len(after.train)) == (0, 29)
    more = [*clips_of(), *(replace(clip, path=f"more/{clip.path}") for clip in clips_of(4, 0))]
    grown, new, _ = updated(fitted, make(tmp_path / "t", more, {7: 2, 39: 38, 40: 1}), workers=0)
    assert (new, len(grown.train)) == (2, 31), "of four new clips one repeats a new one, and one an old one"

"""From a store to decisions: which clips train, alignment by key, honest scores, evidence, reproducibility."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ensemble.defaults import default_recipe, single_recipe
from ensemble.output import labelled, measure, score_table, write_detection, year_of
from ensemble.recipe import Member, Recipe, read_recipe
from ensemble.run import Detection, detect, redecided
from featstore.clip import Clip
from featstore.errors import DataError, StoreError
from featstore.exchange.embeddings import import_matrix
from featstore.store import EmbeddingInfo, FeatureStore, ShardData, StoreWriter
from featstore.table import ClipTable

KNN = "knn:k=1"
PLAIN = Recipe((Member("e", KNN), Member("e", "mahalanobis:covariance=ledoit_wolf")))


def listed(machine: str, section: str, train: int = 40, test: int = 20) -> list[Clip]:
    clips = [
        Clip(f"{machine}/{section}/train/{i}.wav", machine, section, "train", "source", "normal") for i in range(train)
    ]
    for i in range(test):
        label, domain = ("normal", "anomaly")[i % 2], ("source", "target")[i // 2 % 2]
        clips.append(Clip(f"{machine}/{section}/test/{i}.wav", machine, section, "test", domain, label))
    return clips


def vectors(clips: list[Clip], seed: int = 0, d: int = 6) -> np.ndarray:
    """Each section has a centre of its own; anomalies are displaced."""
    rng = np.random.default_rng(seed)
    centres = {(clip.machine, clip.section): rng.normal(0, 5, d) for clip in clips}
    X = np.array([centres[clip.machine, clip.section] for clip in clips]) + rng.normal(0, 0.3, (len(clips), d))
    return (X + np.array([[3.0 * (clip.label == "anomaly")] for clip in clips])).astype(np.float32)


def make_store(path: Path, clips: list[Clip], X: np.ndarray | None = None, name: str = "e") -> FeatureStore:
    import_matrix(path, name, vectors(clips) if X is None else X, ClipTable.from_clips(clips))
    return FeatureStore.open(path)


@pytest.fixture
def clips() -> list[Clip]:
    return [*listed("fan", "00"), *listed("fan", "01"), *listed("pump", "00")]


def by_key(detection: Detection) -> dict[str, float]:
    return dict(zip(detection.clips.keys(), detection.score.tolist(), strict=True))


def test_faults_stand_out_and_are_decided(tmp_path: Path, clips: list[Clip]) -> None:
    detection = detect(make_store(tmp_path / "s", clips), PLAIN)
    assert len(detection.clips) == 60
    anomaly = detection.clips.where(label="anomaly")
    assert detection.percentile[anomaly].min() > np.median(detection.percentile[~anomaly])
    assert detection.decision[anomaly].all()
    assert detection.decision[~anomaly].mean() < 0.35
    evaluation, intervals = measure(score_table(detection), labelled(detection.clips)[0], year_of(detection.clips))
    assert evaluation.year == 2023
    assert evaluation.score > 0.95
    assert intervals.score.low <= evaluation.score <= intervals.score.high


def test_labels_change_only_the_metrics(tmp_path: Path, clips: list[Clip]) -> None:
    hidden = [replace(c, label="unknown", domain="unknown") if c.split == "test" else c for c in clips]
    X = vectors(clips)
    shown, blind = make_store(tmp_path / "a", clips, X), make_store(tmp_path / "b", hidden, X)
    for recipe in (PLAIN, default_recipe(shown)):
        a, b = detect(shown, recipe_without_fingerprints(recipe)), detect(blind, recipe_without_fingerprints(recipe))
        np.testing.assert_array_equal(a.score, b.score)
        np.testing.assert_array_equal(a.decision, b.decision)
    assert not len(labelled(b.clips)[0])


def recipe_without_fingerprints(recipe: Recipe) -> Recipe:
    return replace(recipe, members=tuple(replace(member, fingerprint="") for member in recipe.members))


def test_sections_do_not_affect_each_other(tmp_path: Path, clips: list[Clip]) -> None:
    X = vectors(clips)
    whole = by_key(detect(make_store(tmp_path / "a", clips, X), PLAIN))
    fan00 = np.array([clip.machine == "fan" and clip.section == "00" for clip in clips])
    alone = [clip for clip, chosen in zip(clips, fan00, strict=True) if chosen]
    for key, score in by_key(detect(make_store(tmp_path / "b", alone, X[fan00]), PLAIN)).items():
        assert score == pytest.approx(whole[key], abs=1e-9)


def test_the_nearest_clip_is_the_nearest_by_cosine(tmp_path: Path, clips: list[Clip]) -> None:
    X = vectors(clips)
    detection = detect(make_store(tmp_path / "s", clips, X), PLAIN)
    unit = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float64)
    rows = {clip.key: i for i, clip in enumerate(clips)}
    for i, clip in enumerate(detection.clips):
        bank = [
            j
            for j, c in enumerate(clips)
            if c.split == "train" and (c.machine, c.section) == (clip.machine, clip.section)
        ]
        distance = 1 - unit[bank] @ unit[rows[clip.key]]
        assert detection.nearest[i] == clips[bank[int(distance.argmin())]].key
        assert detection.nearest_distance[i] == pytest.approx(distance.min(), abs=1e-5)


def test_without_test_clips_the_training_clips_are_ranked(tmp_path: Path, rng: np.random.Generator) -> None:
    clips = [Clip(f"{i}.wav", "fan", "00", "train") for i in range(50)]
    X = rng.normal(1, 0.1, (50, 4)).astype(np.float32)
    X[17] = (-5, 3, -2, 1)
    detection = detect(make_store(tmp_path / "s", clips, X), PLAIN)
    assert detection.self_ranked
    assert int(detection.percentile.argmax()) == 17
    assert detection.decision[17]
    assert all(near != key for near, key in zip(detection.nearest, detection.clips.keys(), strict=True))
    assert any("ranked among themselves" in note for note in detection.notes)


def test_a_single_clip_of_a_section_is_left_out(tmp_path: Path, rng: np.random.Generator) -> None:
    clips = [Clip(f"{i}.wav", "fan", "00", "train") for i in range(10)] + [Clip("p.wav", "pump", "00", "train")]
    detection = detect(make_store(tmp_path / "s", clips, rng.normal(1, 0.1, (11, 4)).astype(np.float32)), PLAIN)
    assert len(detection.clips) == 10
    assert "pump section 00: left out, because its single clip has nothing to be compared with" in detection.notes


def test_silent_faulty_and_supplemental_clips_never_enter_a_bank(tmp_path: Path) -> None:
    clips = listed("fan", "00")
    odd = [
        Clip("fan/silent.wav", "fan", "00", "train", "source", "normal"),
        Clip("fan/fault.wav", "fan", "00", "train", "source", "anomaly"),
        Clip("fan/noise.wav", "fan", "00", "supplemental", "source", "normal"),
    ]
    X = vectors([*clips, *odd])
    X[-3:] = X[-3:] + 50  # would attract nothing and widen every covariance
    plain = by_key(detect(make_store(tmp_path / "a", clips, X[:-3]), PLAIN))
    info = EmbeddingInfo("e", (6,), "float32", "f", {})
    facts = {"outcome": np.array([b""] * len(clips) + [b"silent", b"", b""])}
    with StoreWriter(tmp_path / "b") as writer:
        writer.commit([ShardData(info, ClipTable.from_clips([*clips, *odd]), X, facts)])
    detection = detect(FeatureStore.open(tmp_path / "b"), PLAIN)
    assert by_key(detection) == plain
    assert any("1 silent training recording" in note for note in detection.notes)


def test_generated_anomalies_change_nothing(tmp_path: Path) -> None:
    clips = listed("fan", "00")
    variants = [replace(clip, label="anomaly", variant="leak@0dB#1") for clip in clips[:9]]
    X = vectors([*clips, *variants])
    plain = detect(make_store(tmp_path / "a", clips, X[: len(clips)]), PLAIN)
    mixed = [*variants[:4], *clips, *variants[4:]]
    rows = np.concatenate([X[len(clips) :][:4], X[: len(clips)], X[len(clips) :][4:]])
    detection = detect(make_store(tmp_path / "b", mixed, rows), PLAIN)
    assert by_key(detection) == by_key(plain)
    assert detection.notes == plain.notes


def test_members_of_several_embeddings_are_aligned_by_key(tmp_path: Path, clips: list[Clip]) -> None:
    X = vectors(clips)
    make_store(tmp_path / "s", clips, X, "a")
    order = np.random.default_rng(3).permutation(len(clips))
    store = make_store(tmp_path / "s", [clips[i] for i in order], X[order], "b")
    scores = [detect(store, Recipe((Member(name, KNN),))) for name in "ab"]
    assert by_key(scores[0]) == pytest.approx(by_key(scores[1]), abs=1e-9)
    both = detect(store, Recipe((Member("a", KNN), Member("b", KNN))))
    np.testing.assert_allclose(both.member_percentiles[0], both.member_percentiles[1], atol=1e-9)


def test_a_clip_that_one_embedding_lacks_is_named(tmp_path: Path, clips: list[Clip]) -> None:
    make_store(tmp_path / "s", clips, name="a")
    store = make_store(tmp_path / "s", clips[:-1], vectors(clips)[:-1], "b")
    with pytest.raises(DataError, match=rf"1 clip of a without a row in b, first '{clips[-1].key}'"):
        detect(store, Recipe((Member("a", KNN), Member("b", KNN))))


def test_a_section_without_training_clips_is_named_and_can_be_pooled(tmp_path: Path) -> None:
    clips = [*listed("fan", "00"), *listed("fan", "07", train=0)]
    store = make_store(tmp_path / "s", clips)
    detection = detect(store, PLAIN)
    assert len(detection.clips) == 20
    assert any("fan section 07 has 0 training clips for 20 test clips" in note for note in detection.notes)
    assert any("--pool-sections" in note for note in detection.notes)
    assert len(detection.unscored) == 20
    assert len(detect(store, replace(PLAIN, pool_sections=True)).clips) == 40


def test_views_one_by_one_or_joined(tmp_path: Path, clips: list[Clip]) -> None:
    X = vectors(clips)
    info = EmbeddingInfo("v", (2, 3), "float32", "f", {}, views=("low", "high"))
    with StoreWriter(tmp_path / "s") as writer:
        writer.commit([ShardData(info, ClipTable.from_clips(clips), X.reshape(-1, 2, 3))])
    make_store(tmp_path / "s", clips, X, "flat")
    store = make_store(tmp_path / "s", clips, np.ascontiguousarray(X[:, 3:]), "half")
    assert by_key(detect(store, single_recipe(store, KNN, "v"))) == by_key(
        detect(store, single_recipe(store, KNN, "flat"))
    )
    high = detect(store, single_recipe(store, KNN, "v@high"))
    assert by_key(high) == by_key(detect(store, single_recipe(store, KNN, "half")))
    with pytest.raises(StoreError, match="no view 'hihg'; its views: low, high"):
        detect(store, single_recipe(store, KNN, "v@hihg"))
    sources = {member.source for member in default_recipe(store).members}
    assert sources == {"v@low", "flat", "half"}, "v@high is a copy of half"


def test_results_are_reproduced_from_their_recipe(tmp_path: Path, clips: list[Clip]) -> None:
    store = make_store(tmp_path / "s", clips)
    first = detect(store, default_recipe(store))
    write_detection(first, tmp_path / "out")
    again = detect(store, read_recipe(tmp_path / "out" / "recipe.toml"))
    np.testing.assert_array_equal(first.score, again.score)
    other = make_store(tmp_path / "other", clips, vectors(clips, seed=5))
    with pytest.raises(StoreError, match="recipe was made with another e"):
        detect(other, read_recipe(tmp_path / "out" / "recipe.toml"))


def test_scores_csv_holds_every_clip_most_anomalous_first(tmp_path: Path, clips: list[Clip]) -> None:
    detection = detect(make_store(tmp_path / "s", clips), PLAIN)
    write_detection(detection, tmp_path / "out")
    with (tmp_path / "out" / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["clip"] for row in rows} == set(detection.clips.keys())
    percentiles = [float(row["percentile"]) for row in rows]
    assert percentiles == sorted(percentiles, reverse=True)
    scores = by_key(detection)
    for row in rows:
        assert float(row["score"]) == scores[row["clip"]]
        assert row["decision"] == str(int(float(row["score"]) > float(row["threshold"])))
        assert row["nearest_normal"].startswith(f"{row['machine']}/{row['section']}/train/")
        assert 0 < float(row[f"e {KNN}"]) < 1


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_the_stated_false_alarm_rate_holds_on_clips_like_the_training_clips(tmp_path: Path, rate: float) -> None:
    clips = listed("fan", "00", train=400, test=0)
    clips += [Clip(f"fan/00/test/{i}.wav", "fan", "00", "test", "source", "normal") for i in range(1000)]
    detection = detect(make_store(tmp_path / "s", clips), replace(PLAIN, false_alarm_rate=rate))
    assert detection.decision.mean() == pytest.approx(rate, abs=0.05)


def dated(n: int, days: int, *, test: int = 0) -> list[Clip]:
    train = [
        Clip(f"fan/2024-05-0{1 + i % days}_{i:03d}.wav", "fan", "00", "train", "source", "normal") for i in range(n)
    ]
    return [*train, *(Clip(f"fan/2024-06-01_{i}.wav", "fan", "00", "test") for i in range(test))]


def by_day(clips: list[Clip], rng: np.random.Generator, spread: float = 2.0) -> np.ndarray:
    """Clips of a day share an offset."""
    days = sorted({clip.path[:14] for clip in clips})
    offsets = 10 + spread * rng.normal(size=(len(days), 6))
    return (offsets[[days.index(clip.path[:14]) for clip in clips]] + rng.normal(size=(len(clips), 6))).astype("f4")


DAY = replace(PLAIN, group="day")


@pytest.mark.parametrize("members", [PLAIN.members[:1], PLAIN.members], ids=["raw scores", "fused"])
def test_reference_scores_leave_out_whole_days(
    tmp_path: Path, rng: np.random.Generator, members: tuple[Member, ...]
) -> None:
    clips = dated(40, 4, test=6)
    X = by_day(clips, rng)
    recipe = replace(DAY, members=members)
    detection = detect(make_store(tmp_path / "s", clips, X), recipe)
    changed = X.copy()
    others = [i for i in range(40) if i % 4 == 1 and i != 5]
    changed[others] += rng.normal(0, 30, (len(others), 6)).astype("f4")
    after = detect(make_store(tmp_path / "c", clips, changed), recipe)
    if len(members) == 1:  # fused positions also depend on the other days' scores, which have changed
        assert after.reference[5] == detection.reference[5]
    assert detection.train.keys() == [clip.key for clip in clips[:40]]
    assert not np.allclose(after.reference[np.arange(40) % 4 != 1], detection.reference[np.arange(40) % 4 != 1])
    usual = detect(make_store(tmp_path / "u", clips, X), replace(recipe, group=""))
    assert np.median(detection.decided.threshold) > np.median(usual.decided.threshold)
    assert detection.decision.sum() < usual.decision.sum()
    assert detection.nearest == usual.nearest, "test clips may be compared with every training clip"
    if len(members) == 1:
        np.testing.assert_array_equal(detection.score, usual.score)


def test_ranked_training_clips_are_compared_with_other_days(tmp_path: Path, rng: np.random.Generator) -> None:
    clips = dated(40, 4)
    X = by_day(clips, rng)
    detection = detect(make_store(tmp_path / "s", clips, X), DAY)
    assert detection.self_ranked
    keys = [clip.key for clip in clips]
    for key, nearest in zip(detection.clips.keys(), detection.nearest, strict=True):
        assert key[:14] != nearest[:14], "the evidence is of another day"
    unit = X.astype(float) / np.linalg.norm(X.astype(float), axis=1, keepdims=True)
    other = np.array([[a[:14] != b[:14] for b in keys] for a in keys])
    distance = np.where(other, 1 - unit @ unit.T, np.inf).min(axis=1)
    order = [keys.index(clip.key) for clip in detection.clips]
    np.testing.assert_allclose(detection.nearest_distance, distance[order], atol=1e-5)
    knn = detect(make_store(tmp_path / "k", clips, X), replace(DAY, members=DAY.members[:1]))
    np.testing.assert_allclose(knn.score, distance[order], atol=1e-6)
    again = redecided(knn, replace(knn.recipe, false_alarm_rate=0.2))
    assert again.decision.sum() >= knn.decision.sum()
    np.testing.assert_array_equal(redecided(knn, knn.recipe).decided.threshold, knn.decided.threshold)
    assert len(set(knn.decided.threshold.tolist())) > 1, "a threshold per day"


def test_a_group_is_kept_in_the_recipe_and_needs_two_blocks(tmp_path: Path, rng: np.random.Generator) -> None:
    clips = dated(40, 4, test=6)
    store = make_store(tmp_path / "s", clips, by_day(clips, rng))
    detection = detect(store, DAY)
    write_detection(detection, tmp_path)
    again = detect(store, read_recipe(tmp_path / "recipe.toml"))
    assert again.recipe.group == "day"
    np.testing.assert_array_equal(again.reference, detection.reference)
    with pytest.raises(DataError, match="no training clip has the attribute 'shift'"):
        detect(store, replace(PLAIN, group="shift"))
    one = dated(40, 1, test=6)
    with pytest.raises(DataError, match=r"are of one day \(machine fan section 00: '2024-05-01'\)"):
        detect(make_store(tmp_path / "one", one, by_day(one, rng)), DAY)


def test_recordings_of_their_own_change_nothing(tmp_path: Path, clips: list[Clip]) -> None:
    store = make_store(tmp_path / "s", clips)
    plain, grouped = detect(store, PLAIN), detect(store, replace(PLAIN, group="recording"))
    for name in ("score", "reference", "decision", "percentile"):
        np.testing.assert_array_equal(getattr(grouped, name), getattr(plain, name))
    assert any("--group recording changes nothing" in note for note in grouped.notes)


def test_copies_of_a_recording_are_one_recording(tmp_path: Path, rng: np.random.Generator) -> None:
    clips = dated(40, 4, test=6)
    X = rng.normal(1, 0.3, (46, 6)).astype("f4")
    X[8] = X[3]
    contents = np.array([f"hash {i}".encode() for i in range(46)])
    contents[8] = contents[3]
    with StoreWriter(tmp_path / "s") as writer:
        info = EmbeddingInfo("e", (6,), "float32", "f", {})
        writer.commit([ShardData(info, ClipTable.from_clips(clips), X, {"content_hash": contents})])
    store = FeatureStore.open(tmp_path / "s")
    recipe = replace(PLAIN, members=PLAIN.members[:1])
    for group in ("", "recording", "day"):
        detection = detect(store, replace(recipe, group=group))
        assert detection.train.keys() == [clip.key for i, clip in enumerate(clips[:40]) if i != 3]
        assert detection.reference.min() > 1e-6

"""Score files of other systems: ranked only, or calibrated and selected, depending on the clips that they cover."""

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from sample_store import make_store
from selection_store import labelled, selection_store

from detectors.metrics.auc import auc
from detectors.metrics.scores import ScoreTable, read_scores, write_scores
from ensemble.cli import main
from ensemble.external import consensus_weights, external_member, fuse_transductive, joined
from ensemble.recipe import Member, Recipe, read_recipe, write_recipe
from ensemble.run import Detection, detect
from ensemble.selection.scoring.held_out import held_out_scores
from ensemble.selection.scoring.validation import plan_validation
from featstore.errors import DataError
from featstore.store import FeatureStore, ShardData
from featstore.table import ClipTable

CLIPS = ClipTable.from_clips(labelled(4))
KEYS = CLIPS.keys()


def scores_of(values: list[float], name: str = "other") -> ScoreTable:
    return ScoreTable(name, tuple(KEYS), np.array(values))


def test_ranks_are_taken_within_sections_and_averaged() -> None:
    one = scores_of([1, 2, 3, 4, 400, 300, 200, 100])
    two = scores_of([4, 2, 3, 1, 8, 7, 6, 5])
    fused = fuse_transductive([one, two], CLIPS, weighted=False)
    np.testing.assert_allclose(fused.scores, [1 / 2, 1 / 3, 2 / 3, 1 / 2, 1, 2 / 3, 1 / 3, 0])


def test_clips_are_found_by_name() -> None:
    one = scores_of([1, 2, 3, 4, 5, 6, 7, 8])
    turned = ScoreTable("turned", one.keys[::-1], one.scores[::-1])
    np.testing.assert_array_equal(fuse_transductive([turned], CLIPS).scores, fuse_transductive([one], CLIPS).scores)


def test_a_missing_clip_is_named() -> None:
    short = ScoreTable("short", tuple(KEYS[1:]), np.arange(7.0))
    with pytest.raises(ValueError, match=r"short: no score for 'fan/test/s0_000\.wav'"):
        fuse_transductive([short], CLIPS)
    with pytest.raises(ValueError, match="at least one"):
        fuse_transductive([], CLIPS)


def test_weights_follow_agreement_with_the_weighted_mean() -> None:
    np.testing.assert_allclose(consensus_weights(np.array([[1, 0.3], [0.3, 1]])), [0.5, 0.5])
    np.testing.assert_allclose(consensus_weights(np.ones((3, 3))), np.full(3, 1 / 3))
    stranger = np.array([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]])
    np.testing.assert_allclose(consensus_weights(stranger), [0.5, 0.5, 0], atol=1e-12)
    np.testing.assert_allclose(consensus_weights(-np.ones((2, 2)) + 2 * np.eye(2)), [0.5, 0.5], err_msg="opposites")
    loading = np.array([0.9, 0.7, 0.5, 0.3])  # correlations of one factor with independent errors
    C = np.outer(loading, loading) + np.diag(1 - loading**2)
    weights = consensus_weights(C)
    np.testing.assert_allclose(weights, (C @ weights) ** 2 / np.sum((C @ weights) ** 2), rtol=1e-6)
    assert (np.diff(weights) < 0).all()


def test_the_weighted_fusion_is_better_where_some_systems_guess(rng: np.random.Generator) -> None:
    """Two of six systems detect the fault; the others guess. Only the agreement of the two shows which."""
    clips = ClipTable.from_clips(labelled(400))
    fault = clips.where(label="anomaly")
    noise = rng.normal(size=(6, len(clips)))
    noise[:2] += 2.0 * fault
    tables = [ScoreTable(str(i), tuple(clips.keys()), scores) for i, scores in enumerate(noise)]
    plain, weighted = (fuse_transductive(tables, clips, weighted=on).scores for on in (False, True))
    assert auc(weighted[~fault], weighted[fault]) > auc(plain[~fault], plain[fault]) + 0.05
    turned = fuse_transductive(tables[::-1], clips).scores
    np.testing.assert_allclose(turned, weighted, err_msg="the order of the systems does not matter")


def test_a_system_with_equal_scores_has_weight_0(rng: np.random.Generator) -> None:
    values = rng.normal(size=8).tolist()
    same, alike, flat = scores_of(values), scores_of(values, "two"), scores_of([1.0] * 8, "flat")
    np.testing.assert_allclose(
        fuse_transductive([same, flat, alike], CLIPS).scores, fuse_transductive([same], CLIPS).scores
    )
    np.testing.assert_allclose(fuse_transductive([flat], CLIPS).scores, 0.5)


OURS = Member("emb", "mahalanobis:covariance=ledoit_wolf", "good")
OTHER = Member("emb", "knn:k=1", "blind")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return selection_store(tmp_path_factory.mktemp("external") / "store")


@pytest.fixture(scope="module")
def alone(store: FeatureStore) -> Detection:
    """Scores of one of our detectors, which serve as those of another system."""
    return detect(store, Recipe((OURS,)))


@pytest.fixture
def theirs(alone: Detection, tmp_path: Path) -> Path:
    """Its test scores and honest training scores in a score file."""
    return write(tmp_path / "theirs.csv", {**by_key(alone.clips, alone.score), **by_key(alone.train, alone.reference)})


def by_key(clips: ClipTable, scores: np.ndarray) -> dict[str, float]:
    return dict(zip(clips.keys(), scores.tolist(), strict=True))


def write(path: Path, scores: dict[str, float]) -> Path:
    write_scores(path, ScoreTable(path.stem, tuple(scores), np.array(list(scores.values()))))
    return path


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_calibrated_file_decides_as_the_detector_that_made_it(
    store: FeatureStore, theirs: Path, tmp_path: Path
) -> None:
    shown = run(store.path, "--scores", theirs, "-o", tmp_path / "file")
    assert shown.exit_code == 0, shown.output
    counts = "32 test clips, 40 training clips, 0 generated anomalies"
    assert f"{counts}: calibrated by its training clips; detect select cannot judge it" in shown.stderr
    assert run(store.path, "-d", OURS.detector, "-e", OURS.source, "-o", tmp_path / "detector").exit_code == 0
    same = ("clip", "score", "percentile", "p_value", "threshold", "decision")
    one, other = (rows(tmp_path / name / "scores.csv") for name in ("file", "detector"))
    assert [[row[key] for key in same] for row in one] == [[row[key] for key in same] for row in other]
    assert any(int(row["decision"]) for row in one)


def test_it_fuses_as_the_detector_that_made_it(store: FeatureStore, theirs: Path) -> None:
    ours = detect(store, Recipe((OTHER, OURS), fusion="fisher"))
    mixed = detect(store, Recipe((OTHER, external_member(theirs)), fusion="fisher"))
    np.testing.assert_array_equal(mixed.score, ours.score)
    np.testing.assert_array_equal(mixed.reference, ours.reference)
    np.testing.assert_array_equal(mixed.decision, ours.decision)
    np.testing.assert_array_equal(mixed.member_percentiles, ours.member_percentiles)
    assert mixed.nearest == ours.nearest
    weighted = joined(Recipe((replace(OTHER, weight=0.2), replace(OURS, weight=0.4)), fusion="weighted_mean"), (), "x")
    assert [one.weight for one in joined(weighted, [external_member(theirs)], "x").members] == pytest.approx(
        [0.2, 0.4, 0.3]
    )


def test_the_recipe_runs_again_from_anywhere_and_refuses_another_content(
    store: FeatureStore, theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = run(store.path, "--ensemble", "-e", "emb@blind", "--scores", "theirs.csv", "-o", tmp_path / "deep" / "out")
    assert first.exit_code == 0, first.output
    recipe = tmp_path / "deep" / "out" / "recipe.toml"
    assert 'detector = "scores:../../theirs.csv"' in recipe.read_text()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = run(store.path, "--recipe", "../deep/out/recipe.toml", "-o", tmp_path / "again")
    assert again.exit_code == 0, again.output
    assert (tmp_path / "again" / "scores.csv").read_bytes() == (recipe.parent / "scores.csv").read_bytes()
    assert "scores theirs.csv" in rows(tmp_path / "again" / "scores.csv")[0]
    theirs.write_text(theirs.read_text().replace("\n", "1\n"))
    refused = run(store.path, "--recipe", recipe, "-o", tmp_path / "never")
    assert refused.exit_code == 1
    assert "another content (SHA-256 " in refused.stderr
    assert not (tmp_path / "never" / "scores.csv").exists()


def test_a_score_file_whose_name_is_not_utf_8_runs_again_from_its_recipe(
    store: FeatureStore, theirs: Path, tmp_path: Path
) -> None:
    odd = theirs.rename(tmp_path / os.fsdecode(b"th\xe9irs.csv"))
    first = run(store.path, "-d", OTHER.detector, "-e", OTHER.source, "--scores", odd, "-o", tmp_path / "out")
    assert first.exit_code == 0, first.output
    again = run(store.path, "--recipe", tmp_path / "out" / "recipe.toml", "-o", tmp_path / "again")
    assert again.exit_code == 0, again.output
    assert (tmp_path / "again" / "scores.csv").read_bytes() == (tmp_path / "out" / "scores.csv").read_bytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: {**s, "fan/test/nowhere.wav": 1.0}, "1 of 73 scores belong to no clip of"),
        (lambda s: {**s, "fan/test/nowhere.wav": 1.0}, "first 'fan/test/nowhere.wav'"),
        (lambda s: {k: v for k, v in s.items() if k != "fan/train/s1_003.wav"}, "1 of 40 training clips have no score"),
        (lambda s: {k: v for k, v in s.items() if k != "fan/train/s1_003.wav"}, "first 'fan/train/s1_003.wav'"),
        (lambda s: {k: v for k, v in s.items() if "test/s0" not in k}, "16 of 32 test clips have no score"),
    ],
)
def test_unknown_and_missing_clips_are_named_and_counted(
    store: FeatureStore, theirs: Path, tmp_path: Path, change: object, words: str
) -> None:
    table = read_scores(theirs)
    assert callable(change)
    write(theirs, change(dict(zip(table.keys, table.scores.tolist(), strict=True))))
    result = run(store.path, "--ensemble", "--scores", theirs, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert words in result.stderr


def test_test_scores_alone_are_ranked_beside_a_detection_and_do_not_affect_decisions(
    store: FeatureStore, alone: Detection, tmp_path: Path
) -> None:
    file = write(tmp_path / "only.csv", by_key(alone.clips, -alone.score))
    member = f'[[member]]\ndetector = "scores:{file.name}"\n'
    plain = run(store.path, "-d", OURS.detector, "-e", OURS.source, "-o", tmp_path / "plain")
    beside = run(store.path, "-d", OURS.detector, "-e", OURS.source, "--scores", file, "-o", tmp_path / "beside")
    assert (plain.exit_code, beside.exit_code) == (0, 0), beside.output
    assert "without scores of training clips, ranking only; it does not affect decisions" in beside.stderr
    assert (tmp_path / "beside" / "scores.csv").read_bytes() == (tmp_path / "plain" / "scores.csv").read_bytes()
    fused = read_scores(tmp_path / "beside" / "fused-transductive.csv")
    np.testing.assert_allclose(fused.scores, 0.5, err_msg="a ranking and its reverse cancel out")
    (tmp_path / "r.toml").write_text(member)
    refused = run(store.path, "--recipe", tmp_path / "r.toml", "-o", tmp_path / "never")
    assert refused.exit_code == 1
    assert "to rank the file beside a detection, remove it from the recipe and pass it with --scores" in refused.stderr
    nothing = run(store.path, "--scores", file, "-o", tmp_path / "never")
    assert nothing.exit_code == 2
    again = run(store.path, "-d", OURS.detector, "-e", OURS.source, "-o", tmp_path / "beside")
    assert again.exit_code == 0
    assert not (tmp_path / "beside" / "fused-transductive.csv").exists(), "of an earlier run"


def candidate(store: FeatureStore, alone: Detection, path: Path, detector: str, view: int) -> Path:
    """Test scores, and held-out scores of the validation by a detector on one view."""
    validation = plan_validation(store.clips("emb"), store.facts("emb"))
    held = held_out_scores(detector, store.matrix("emb")[validation.rows][:, view], validation)
    return write(path, {**by_key(alone.clips, alone.score), **dict(zip(validation.keys, held.tolist(), strict=True))})


def select(store: FeatureStore, folder: Path, *files: Path) -> Result:
    grid = folder / "grid.toml"
    grid.write_text('embeddings = ["emb@blind", "emb@deaf"]\n[[detector]]\nname = "mahalanobis"\n')
    more = [word for file in files for word in ("--scores", file)]
    out = ["-o", folder / "recipe.toml", "--cache", folder / "cache", "--grid", grid]
    return run("select", store.path, *out, "--workers", "0", "--replicates", "20", *more)


def test_a_selection_judges_a_file_with_generated_anomalies_like_any_candidate(
    store: FeatureStore, alone: Detection, tmp_path: Path
) -> None:
    good = candidate(store, alone, tmp_path / "good.csv", OURS.detector, 0)
    poor = candidate(store, alone, tmp_path / "poor.csv", "knn", 2)
    result = select(store, tmp_path, good, poor)
    assert result.exit_code == 0, result.output
    assert "32 test clips, 40 training clips, 320 generated anomalies" in result.stderr
    found = {one["name"]: one["score"] for one in json.loads((tmp_path / "selection.json").read_text())["candidates"]}
    assert set(found) == {f"emb@{view} mahalanobis" for view in ("blind", "deaf")} | {
        "scores good.csv",
        "scores poor.csv",
    }
    assert max(found, key=found.__getitem__) == "scores good.csv"
    chosen = read_recipe(tmp_path / "recipe.toml")
    weight = {member.name: member.weight for member in chosen.members}
    assert weight["scores good.csv"] > 0
    ran = run(store.path, "--recipe", tmp_path / "recipe.toml", "-o", tmp_path / "out")
    assert ran.exit_code == 0, ran.output


def test_a_file_that_repeats_a_candidate_is_left_out(store: FeatureStore, alone: Detection, tmp_path: Path) -> None:
    twin = candidate(store, alone, tmp_path / "twin.csv", "mahalanobis", 1)
    assert select(store, tmp_path, twin).exit_code == 0
    selection = json.loads((tmp_path / "selection.json").read_text())
    names = {row["name"] for row in selection["candidates"]}
    assert "emb@blind mahalanobis" in names
    assert "scores twin.csv" not in names
    assert "1 candidate left out: same order of clips as another" in selection["notes"]


def test_a_selection_says_what_it_cannot_judge(store: FeatureStore, theirs: Path, tmp_path: Path) -> None:
    result = select(store, tmp_path, theirs)
    assert result.exit_code == 0, result.output
    assert "cannot judge it without scores of generated anomalies" in result.stderr
    assert "theirs" not in (tmp_path / "recipe.toml").read_text()
    assert not (tmp_path / "fused-transductive.csv").exists()
    table = read_scores(theirs)
    one = store.clips("emb").keys()[40]
    assert "@" in one
    write(theirs, {**dict(zip(table.keys, table.scores.tolist(), strict=True)), one: 1.0})
    partly = select(store, tmp_path, theirs)
    assert partly.exit_code == 1
    assert "319 of 360 training clips and generated anomalies have no score" in partly.stderr


def test_labels_of_test_clips_never_matter(store: FeatureStore, alone: Detection, tmp_path: Path) -> None:
    file = candidate(store, alone, tmp_path / "theirs.csv", OURS.detector, 0)
    clips = list(store.clips("emb"))
    swapped = {"normal": "anomaly", "anomaly": "normal"}
    turned = [replace(clip, label=swapped[clip.label]) if clip.split == "test" else clip for clip in clips]
    shard = ShardData(
        store.info("emb"), ClipTable.from_clips(turned), store.matrix("emb"), dict(store.facts("emb")), []
    )
    results = []
    for name, one in (("as is", store), ("turned", make_store(tmp_path / "store", shard))):
        (tmp_path / name).mkdir()
        members = ["-d", "mahalanobis", "-e", "emb@deaf", "--scores", file]
        assert run(one.path, *members, "-o", tmp_path / name).exit_code == 0
        assert select(one, tmp_path / name, file).exit_code == 0
        results.append([(tmp_path / name / of).read_bytes() for of in ("scores.csv", "recipe.toml", "selection.json")])
    assert results[0] == results[1]


def test_a_recipe_needs_different_file_names_and_refuses_a_view(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "same.csv", {"x.wav": 1.0})
    with pytest.raises(DataError, match="two score files need different names"):
        Recipe(tuple(external_member(tmp_path / folder / "same.csv") for folder in ("a", "b")))
    with pytest.raises(DataError, match="neither embedding nor view"):
        Member("", "scores:x.csv", "view")
    with pytest.raises(DataError, match="neither embedding nor view"):
        Member("emb", "scores:x.csv")
    one = external_member(tmp_path / "a" / "same.csv")
    write_recipe(Recipe((one,)), tmp_path / "b" / "r.toml")
    read = read_recipe(tmp_path / "b" / "r.toml").members[0]
    assert Path(read.file).resolve() == tmp_path / "a" / "same.csv"
    assert (read.fingerprint, read.name) == (one.fingerprint, one.name)
    with pytest.raises(DataError, match=r"gone\.csv: cannot read the scores"):
        external_member(tmp_path / "gone.csv")

"""`detect select --faults`: the file of labels, what it changes in a choice, and metrics without its clips."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from sample_store import make_store
from selection_store import DIM, VIEWS, labelled, members_of, recordings, selection_store, variants

from ensemble.cli import main
from ensemble.recipe import Recipe, read_recipe
from ensemble.run import detect
from ensemble.selection import faults as module
from ensemble.selection.choose import STRATEGIES
from ensemble.selection.faults import read_faults
from ensemble.selection.scoring.cache import ScoreCache
from ensemble.selection.select import Options, select
from ensemble.selection.standings import DEFAULT
from ensemble.selection.summary import selection_text
from featstore.clip import Clip
from featstore.errors import DataError
from featstore.store import EmbeddingInfo, FeatureStore, ShardData
from featstore.table import ClipTable, encode

FAST = Options(replicates=40, workers=0)
TESTS = labelled(60)
FAULTS = {
    clip.path: clip.label == "anomaly" for clip in TESTS if clip.label == "anomaly" or clip.path.endswith("0.wav")
}


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """A store whose real faults show in another view ("blind") than its generated anomalies ("good")."""
    clips: list[Clip] = [*recordings(), *variants(recordings()), *TESTS]
    X = np.random.default_rng(0).normal(size=(len(clips), len(VIEWS), DIM)).astype(np.float32)
    for i, clip in enumerate(clips):
        if clip.label == "anomaly":
            X[i, 0 if clip.variant else 1, i % DIM] += 4
    info = EmbeddingInfo("emb", (len(VIEWS), DIM), "float32", "f" * 64, views=VIEWS, sample_rate_hz=16000)
    facts = {"content_hash": encode([f"hash of {clip.path}" for clip in clips])}
    root = tmp_path_factory.mktemp("other") / "store"
    return make_store(root, ShardData(info, ClipTable.from_clips(clips), X, facts, []))


def write(path: Path, rows: list[tuple[str, str]], header: str = "clip,label") -> Path:
    path.write_text("".join([header + "\n", *(f"{clip},{label}\n" for clip, label in rows)]))
    return path


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def test_clips_are_named_by_key_or_file_name_and_labels_have_synonyms(other: FeatureStore, tmp_path: Path) -> None:
    rows = [
        ("fan/test/s0_001.wav", "anomaly"),
        ("other/fan/test/s0_055.wav", "Fault"),
        ("fan/test/s0_000.wav", "normal"),
        ("s1_000.wav", "false_alarm"),
        ("fan/test/s0_001.wav", "fault"),
    ]
    with pytest.raises(DataError, match="fits 2 recordings"):
        read_faults(write(tmp_path / "f.csv", rows), other)  # a training and a test clip have that file name
    rows[3] = ("fan/train/s1_000.wav", "false_alarm")
    assert read_faults(write(tmp_path / "f.csv", rows), other) == {
        "fan/test/s0_001.wav": True,
        "fan/test/s0_055.wav": True,
        "fan/test/s0_000.wav": False,
        "fan/train/s1_000.wav": False,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("name;label\na;ok\n", "lacks the column 'clip'; .* got 'name,label'"),
        ("clip,label\n", "no clips"),
        ("clip,score\nfan/test/s0_001.wav,1\n", "lacks the column 'label'"),
        ("clip,label\nnowhere.wav,fault\n", "line 2: 'nowhere.wav' is no recording of"),
        ("clip,label\nfan/train/s0_000.wav#leak@-10dB#0,fault\n", "line 2: .* is no recording of"),
        ("clip,label\nfan/test/s0_001.wav,odd\n", "line 2: the label 'odd'; expected one of abnormal, anomaly"),
        ("clip,label\nfan/test/s0_001.wav\n", "line 2: expected 2 columns, got 1"),
        (
            "clip,label\nfan/test/s0_001.wav,fault\nfan/test/s0_001.wav,normal\n",
            "line 3: 'fan/test/s0_001.wav' has another label on line 2",
        ),
        ('clip,label\n"fan', "not a CSV file"),
    ],
)
def test_errors_name_file_and_line(store: FeatureStore, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "faults.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=f"{path}.*{message}"):
        read_faults(path, store)


def test_a_file_that_is_too_large_is_refused(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 20)
    with pytest.raises(DataError, match="more than 20 bytes"):
        read_faults(write(tmp_path / "f.csv", [("fan/test/s0_001.wav", "fault")]), store)


def test_many_confirmed_faults_change_the_choice(other: FeatureStore, tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path)
    before = select(other, members_of(other), cache, FAST)
    after = select(other, members_of(other), cache, FAST, faults=FAULTS)
    assert {candidate.member.view for candidate in before.candidates[:3]} == {"good"}
    assert {candidate.member.view for candidate in after.candidates[:3]} == {"blind"}
    assert {member.view for member in before.recipe.members} == {"good"}
    assert share_of("blind", after.recipe) > 0.3
    many = "non-negative of 40, fisher"
    assert [many in {row.name for row in one.standings} for one in (before, after)] == [False, True]
    assert dict(after.pairs)["confirmed faults"] == pytest.approx(60 / 100)
    assert after.clips["confirmed faults"] == 60
    assert after.clips["confirmed normal"] == 12
    assert "60 confirmed faults, 12 confirmed normal and 40 normal clips" in selection_text(after)
    assert after.recipe.confirmed_faults == tuple(sorted(key for key, fault in FAULTS.items() if fault))


def share_of(view: str, recipe: Recipe) -> float:
    """Share of a view in the weights of a recipe."""
    weights = {name: sum(m.weight for m in recipe.members if m.view == name) for name in VIEWS}
    return weights[view] / sum(weights.values())


def test_the_best_by_confirmed_faults_are_the_members(
    other: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = {"best 3, fisher": STRATEGIES["best 3, fisher"]}
    monkeypatch.setattr("ensemble.selection.select.strategies", lambda validation: only)
    chosen = select(other, members_of(other), ScoreCache(tmp_path), FAST, faults=FAULTS)
    assert [member.view for member in chosen.recipe.members] == ["blind"] * 3


def test_confirmed_faults_alone_choose_if_there_are_enough(tmp_path: Path) -> None:
    store = selection_store(tmp_path / "store", [*recordings(), *labelled(60)])
    chosen = select(store, members_of(store), ScoreCache(tmp_path), FAST, faults=FAULTS)
    assert chosen.chosen != DEFAULT
    assert {candidate.member.view for candidate in chosen.candidates[:3]} == {"good"}
    assert share_of("good", chosen.recipe) > 0.5
    few = dict(list(FAULTS.items())[:15])
    with pytest.raises(DataError, match=r"\d+ confirmed faults and no generated anomalies; choosing needs at least 20"):
        select(store, members_of(store), ScoreCache(tmp_path), FAST, faults=few)


def test_confirmed_faults_alone_are_judged_by_the_lead_over_the_default(tmp_path: Path) -> None:
    store = selection_store(tmp_path / "store", [*recordings(), *labelled(60)])
    normal = {clip.path: True for clip in TESTS if clip.label == "normal"}  # no candidate can tell them from the others
    kept = select(store, members_of(store), ScoreCache(tmp_path), FAST, faults=normal)
    assert kept.chosen == "fixed default"
    assert "which is within the uncertainty" in kept.reason


def test_the_command_writes_the_clips_and_detect_leaves_them_out(other: FeatureStore, tmp_path: Path) -> None:
    path = write(tmp_path / "f.csv", [(key, "fault" if fault else "false alarm") for key, fault in FAULTS.items()])
    grid = tmp_path / "grid.toml"
    grid.write_text('[[detector]]\nname = "knn"\nk = [1, 3]\n[[detector]]\nname = "lof"\nk = 5\n')
    recipe = tmp_path / "recipe.toml"
    result = run(
        "select", other.path, "-o", recipe, "--grid", grid, "--faults", path, "--replicates", 40, "--workers", 0
    )
    assert result.exit_code == 0, result.output
    assert set(read_recipe(recipe).confirmed_faults) == {key for key, fault in FAULTS.items() if fault}
    assert json.loads((tmp_path / "selection.json").read_text())["clips"]["confirmed faults"] == 60
    result = run(other.path, "--recipe", recipe, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "note: 72 clips that chose this ensemble are left out of the metrics" in result.stderr
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert sum(row["clips"] for row in metrics["false_alarms"]) == 60 - 12
    assert "official_score" not in metrics  # no fault is left that the choice has not seen
    assert read_recipe(tmp_path / "out" / "recipe.toml").confirmed_normal == read_recipe(recipe).confirmed_normal
    with (tmp_path / "out" / "scores.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(TESTS)
    evaluated = run("evaluate", tmp_path / "out" / "scores.csv", other.path, "--recipe", recipe)
    assert evaluated.exit_code != 0
    assert run("evaluate", tmp_path / "out" / "scores.csv", other.path).exit_code == 0


def test_evaluate_leaves_out_the_clips_of_the_recipe(store: FeatureStore, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    members = '[[member]]\nembedding = "emb"\nview = "good"\ndetector = "knn"\n'
    recipe.write_text(
        'confirmed_faults = ["fan/test/s0_001.wav"]\nconfirmed_normal = ["fan/test/s1_002.wav"]\n' + members
    )
    assert run(store.path, "--recipe", recipe, "-o", tmp_path / "out").exit_code == 0
    result = run("evaluate", tmp_path / "out" / "scores.csv", store.path, "--recipe", recipe, "--json")
    assert result.exit_code == 0, result.output
    assert "note: left out of the metrics: 2 clips that chose this ensemble" in result.stderr
    clips = [row["clips"] for row in json.loads(result.stdout)["sections"]]
    assert sum(sum(counts.values()) for counts in clips) == 30


def test_detect_leaves_a_training_clip_confirmed_as_fault_out_of_its_bank(store: FeatureStore, tmp_path: Path) -> None:
    fault = "fan/train/s0_000.wav"
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'confirmed_faults = ["{fault}"]\n[[member]]\nembedding = "emb"\nview = "good"\ndetector = "knn"\n'
    )
    detection = detect(store, read_recipe(recipe))
    assert fault not in detection.train.keys()  # noqa: SIM118 - a table, not a dictionary
    assert len(detection.train) == 39

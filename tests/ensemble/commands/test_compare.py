"""`detect compare` as a user drives it: systems of every kind, the files, and what it refuses."""

import csv
import errno
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result
from compared import both_domains, compared_store
from fitted_plant import INFOS, KNN, rows_of, store_of
from window_store import plant, window_store

from detectors.metrics.scores import ScoreTable, read_scores, write_scores
from ensemble.cli import main
from ensemble.compare import files
from ensemble.recipe import Member, Recipe, write_recipe
from featstore.clip import recording_of
from featstore.store import ShardData, StoreWriter
from featstore.table import ClipTable

ONE, OTHER = "v@low knn", "h mahalanobis"


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def json_of(result: Result) -> dict:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compared_store(tmp_path_factory.mktemp("compared") / "store").path


@pytest.fixture(scope="module")
def results(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a fused recipe, with its scores.csv, recipe.toml and metrics.json."""
    folder = tmp_path_factory.mktemp("runs") / "fused"
    done = run(store, "-d", "knn", "-d", "mahalanobis", "-e", "h", "-o", folder, "--workers", "1")
    assert done.exit_code == 0, done.output
    return folder


def test_a_recipe_and_its_scores_are_the_same_system(store: Path, results: Path, tmp_path: Path) -> None:
    result = run(
        *("compare", store, "--recipe", results / "recipe.toml", "--scores", f"again={results / 'scores.csv'}"),
        *("-d", "knn", "-e", "v@low", "-o", tmp_path / "out", "--json"),
    )
    systems = {system["name"]: system for system in json_of(result)["systems"]}
    assert list(json_of(result)) == ["rule", "clips", "baseline", "replicates", "seeds", "systems", "notes"]
    assert systems.keys() == {"fused", "again", ONE}
    metrics = json.loads((results / "metrics.json").read_text())
    for name in ("fused", "again"):
        assert systems[name]["official_score"] == pytest.approx(metrics["official_score"])
    difference = systems["again"]["difference"]
    assert difference == {"value": 0.0, "low": 0.0, "high": 0.0, "p": 1.0, "p_holm": 1.0}
    assert systems["fused"]["difference"] is None
    with (tmp_path / "out" / "compare.csv").open(newline="") as file:
        rows = {row["system"]: row for row in csv.DictReader(file)}
    assert {name: float(row["score"]) for name, row in rows.items()} == {
        name: system["official_score"]["value"] for name, system in systems.items()
    }
    assert json.loads((tmp_path / "out" / "compare.json").read_text()) == json_of(result)
    assert ElementTree.parse(tmp_path / "out" / "compare.svg").getroot().tag.endswith("svg")


def test_a_grid_makes_systems_and_the_baseline_is_chosen(store: Path, tmp_path: Path) -> None:
    grid = tmp_path / "grid.toml"
    grid.write_text('embeddings = ["v@low", "h"]\n[[detector]]\nname = "knn"\nk = [1, 2]\n')
    result = run("compare", store, "--grid", grid, "--baseline", "h knn:k=2", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    baseline = next(line for line in result.stdout.splitlines() if " baseline" in line)
    assert baseline.startswith("h knn:k=2 ")
    assert "p (Holm): corrected for 3 comparisons" in result.stdout
    assert "to choose a system by this table is to choose on the test set" in result.stderr


def test_seeds_are_a_spread_only_where_something_is_random(store: Path, tmp_path: Path) -> None:
    done = ("compare", store, "-d", "gmm:n_components=4", "-d", "gmm:n_components=1", "-d", "mahalanobis", "-e", "h")
    result = json_of(run(*done, "--seeds", "3", "-o", tmp_path, "--json"))
    spread = {system["name"]: system["seeds"] for system in result["systems"]}
    assert spread["h mahalanobis"] is None
    assert spread["h gmm:n_components=1"]["deviation"] == 0
    random = spread["h gmm:n_components=4"]
    assert len(random["scores"]) == 3
    assert random["deviation"] == pytest.approx(np.std(random["scores"], ddof=1))
    assert random["deviation"] > 0
    alone = json_of(
        run("compare", store, "-d", "gmm:n_components=4,seed=2", "-d", "knn", "-e", "h", "-o", tmp_path, "--json")
    )
    seeded = next(system for system in alone["systems"] if "seed=2" in system["name"])
    assert seeded["official_score"]["value"] == random["scores"][2]
    shown = run(*done, "--seeds", "2", "-o", tmp_path).stdout.splitlines()
    assert next(line for line in shown if line.startswith("h mahalanobis")).endswith("none")
    assert next(line for line in shown if line.startswith("h gmm:n_components=1")).endswith("equal")


def test_systems_are_compared_on_the_clips_that_all_score(store: Path, results: Path, tmp_path: Path) -> None:
    whole = read_scores(results / "scores.csv")
    last = [i for i, key in enumerate(whole.keys) if not key.endswith("_015.wav")]
    part = tmp_path / "part.csv"
    write_scores(part, ScoreTable("part", tuple(whole.keys[i] for i in last), whole.scores[last]))
    result = run("compare", store, "--recipe", results / "recipe.toml", "--scores", part, "-o", tmp_path, "--json")
    assert "compared on the 60 of 64 test clips that all score: part lacks 4" in result.stderr
    assert json_of(result)["clips"] == 60
    assert {system["difference"] and system["difference"]["value"] for system in json_of(result)["systems"]} == {
        None,
        0.0,
    }


def test_scores_of_training_clips_do_not_count(store: Path, results: Path, tmp_path: Path) -> None:
    whole = read_scores(results / "scores.csv")
    train = tuple(clip.path for clip in both_domains() if clip.split == "train")
    more = tmp_path / "more.csv"
    write_scores(more, ScoreTable("more", (*whole.keys, *train), np.concatenate([whole.scores, np.zeros(len(train))])))
    result = run("compare", store, "--recipe", results / "recipe.toml", "--scores", more, "-o", tmp_path, "--json")
    more_row = next(system for system in json_of(result)["systems"] if system["name"] == "more")
    assert more_row["difference"]["value"] == 0.0
    assert json_of(result)["clips"] == 64


def test_confirmed_clips_of_one_recipe_leave_the_metrics_of_all(store: Path, tmp_path: Path) -> None:
    keys = [clip.path for clip in both_domains() if clip.split == "test"][:2]
    recipe = Recipe((Member("h", KNN),), confirmed_normal=(keys[0],), confirmed_faults=(keys[1],))
    write_recipe(recipe, tmp_path / "chosen.toml")
    result = run(
        "compare", store, "--recipe", tmp_path / "chosen.toml", "-d", "knn", "-e", "h", "-o", tmp_path, "--json"
    )
    assert json_of(result)["clips"] == 62
    assert "2 clips that chose a system" in result.stderr


def test_the_clips_of_other_machines_do_not_count(store: Path, tmp_path: Path) -> None:
    result = run("compare", store, "-d", "knn", "-d", "lof", "-e", "h", "--machine", "pump", "-o", tmp_path, "--json")
    assert json_of(result)["clips"] == 32
    assert "compared on" not in result.stderr
    assert {section["machine"] for section in json_of(result)["systems"][0]["sections"]} == {"pump"}


def test_sections_of_one_label_are_left_out_and_named(tmp_path: Path) -> None:
    clips = [
        replace(clip, label="normal") if (clip.machine, clip.section) == ("pump", "01") else clip
        for clip in both_domains()
    ]
    path = store_of(tmp_path / "s", clips).path
    result = run("compare", path, "-d", "knn", "-d", "mahalanobis", "-e", "h", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "left out of the metrics: pump section 01: no anomaly clips" in result.stderr
    assert "48 test clips" in result.stdout


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("unknown", "no test clip has a label; --ground-truth takes"),
        ("normal", "no anomalous test recordings, so no AUC"),
    ],
)
def test_a_store_without_both_labels_is_refused(tmp_path: Path, label: str, message: str) -> None:
    clips = [replace(clip, label=label) if clip.split == "test" else clip for clip in both_domains()]
    path = store_of(tmp_path / "s", clips).path
    result = run("compare", path, "-d", "knn", "-d", "mahalanobis", "-e", "h", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "a comparison needs at least two systems, and none is named"),
        (["-d", "knn", "-e", "h"], "at least two systems, and only 'h knn' is named"),
        (["-d", "knn", "-d", "knn", "-e", "h"], "two systems are called 'h knn'; leave one out"),
        (["-e", "h"], "-e names the embeddings of -d, --grid, --default and --ensemble"),
        (["-d", "knn", "--baseline", "v kn"], "--baseline 'v kn' is none of the systems; did you mean v knn?"),
        (["--recipe", "ustc_tgrams", "--default"], "did you mean ustc_tgram?"),
        (["--recipe", "ustc_tgram", "--default"], "no embedding 'ustc_tgram' of the published system"),
        (["--scores", "=theirs.csv", "--default"], "'=theirs.csv' is neither a file nor NAME=FILE"),
        (["-d", "knn", "--machine", "pomp"], "no machine 'pomp'; it has fan, pump; did you mean pump?"),
    ],
)
def test_what_cannot_be_compared_is_refused(store: Path, tmp_path: Path, words: list[str], message: str) -> None:
    result = run("compare", store, *words, "-o", tmp_path / "out")
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_published_system_runs_on_its_embedding(tmp_path: Path) -> None:
    info, clips = replace(INFOS["h"], name="ustc_tgram"), both_domains()
    with StoreWriter(tmp_path / "s") as writer:
        writer.commit([ShardData(info, ClipTable.from_clips(clips), rows_of(clips)["h"], {}, [])])
    result = run("compare", tmp_path / "s", "--recipe", "ustc_tgram", "-d", "knn", "-o", tmp_path / "out", "--json")
    assert {system["name"] for system in json_of(result)["systems"]} == {"ustc_tgram", "ustc_tgram knn"}


def test_windows_are_compared_by_recording(tmp_path: Path) -> None:
    store = window_store(tmp_path / "s", plant(test=8, count=6)).path
    done = run(store, "-d", "knn", "-e", "e", "-o", tmp_path / "r", "--workers", "1")
    assert done.exit_code == 0, done.output
    windows = read_scores(tmp_path / "r" / "scores.csv")
    names = sorted({recording_of(key) for key in windows.keys})
    highest = [
        max(windows.scores[i] for i, key in enumerate(windows.keys) if recording_of(key) == name) for name in names
    ]
    write_scores(tmp_path / "whole.csv", ScoreTable("whole", tuple(names), np.array(highest)))
    files = ("--scores", f"windows={tmp_path / 'r' / 'scores.csv'}", "--scores", tmp_path / "whole.csv")
    result = json_of(run("compare", store, "-d", "knn", "-e", "e", *files, "-o", tmp_path / "out", "--json"))
    assert result["clips"] == 8
    scores = {system["name"]: system["official_score"]["value"] for system in result["systems"]}
    assert scores.keys() == {"e knn", "windows", "whole"}
    assert len(set(scores.values())) == 1
    metrics = json.loads((tmp_path / "r" / "metrics.json").read_text())
    assert scores["e knn"] == metrics["official_score"]["value"]


def test_a_full_disk_leaves_the_earlier_comparison_whole(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compare(detector: str) -> Result:
        return run("compare", store, "-d", "knn", "-d", detector, "-e", "h", "-o", tmp_path / "out")

    assert compare("mahalanobis").exit_code == 0
    earlier = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    write = files.write_new

    def full(path: Path, data: bytes) -> None:
        if path.suffix == ".svg":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, data)

    monkeypatch.setattr(files, "write_new", full)
    failed = compare("gmm")
    assert failed.exit_code == 5
    assert "compare.svg: No space left on device" in failed.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == earlier

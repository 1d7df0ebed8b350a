"""`detect mark` and `detect marks` as a user drives them, and what runs, reports and selections make of marks."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from selection_store import labelled, recordings, selection_store, variants

from ensemble.cli import main
from ensemble.commands.marks import WORDS
from ensemble.marks.file import FILE, MARKS, read_marks
from ensemble.recipe import read_recipe
from featstore.cli import main as featstore
from featstore.clip import Clip
from featstore.exchange.embeddings import import_matrix
from featstore.table import ClipTable
from featstore.upkeep.verify import notes

KNN = ("-d", "knn", "-e", "emb@good")
NORMAL, FAULT, TRAIN = "fan/test/s0_000.wav", "fan/test/s0_001.wav", "fan/train/s0_000.wav"
ODD = os.fsdecode(b"fan/test/\xff\n.wav")


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def done(*args: object) -> Result:
    result = run(*args)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clips = [*recordings(), *variants(recordings()), *labelled(), Clip(ODD, "fan", "00", "test", "source", "anomaly")]
    return selection_store(tmp_path_factory.mktemp("marks") / "store", clips).path


@pytest.fixture
def store(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "store"))


def scored(out: Path) -> dict[str, dict[str, str]]:
    with (out / "scores.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return {row["clip"]: row for row in csv.DictReader(file)}


def measured(out: Path) -> int:
    """Number of clips that the metrics count."""
    sections = json.loads((out / "metrics.json").read_text())["sections"]
    return sum(sum(row["clips"].values()) for row in sections)


def test_the_words_are_those_of_the_file() -> None:
    assert WORDS == MARKS


def test_marks_are_made_listed_exported_and_taken_back(store: Path, tmp_path: Path) -> None:
    assert "no marked clips" in done("marks", store).stdout
    result = done("mark", store, FAULT, "fault", "--who", "anna", "--note", 'a "knock"\nat 3 s')
    assert f"{FAULT}: fault; from the next run on, it is not used as normal sound" in result.stderr
    done("mark", store, ODD, "ignore")
    done("mark", store, TRAIN, "normal")
    done("mark", store, TRAIN, "none")
    shown = done("marks", store).stdout
    assert FAULT in shown
    assert TRAIN not in shown
    assert "\\udcff\\n" in shown
    done("marks", store, "--csv", tmp_path / "m.csv")
    with (tmp_path / "m.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["clip", "label", "start_s", "end_s", "who", "when", "note"]
    assert [(row["clip"], row["label"], row["start_s"]) for row in rows] == [(FAULT, "fault", ""), (ODD, "ignore", "")]
    assert (rows[0]["who"], rows[0]["note"]) == ("anna", 'a "knock"\nat 3 s')
    listed = json.loads(done("marks", store, "--json").stdout)
    assert [mark["mark"] for mark in listed["marks"]] == ["fault", "ignore", "normal", "none"]
    assert [clip["clip"] for clip in listed["clips"]] == [FAULT, ODD]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["fan/test/s0_0001.wav", "fault"], 1, "did you mean fan/test/s0_001.wav?"),
        ([FAULT, "humming"], 2, "'humming' is no mark; expected normal, fault, ignore, none"),
        ([FAULT, "fault", "--start", "1"], 2, "needs both its start and its end"),
        ([FAULT, "fault", "--start", "2", "--end", "1"], 2, "is empty"),
        ([FAULT, "fault", "--end", "nan", "--start", "0"], 2, "nan"),
        ([FAULT, "normal", "--start", "1", "--end", "2"], 1, "leave --start and --end out"),
        ([FAULT, "fault", "--note", "x" * 5000], 2, "the limit is 4,000"),
    ],
)
def test_mistakes_are_answered_and_mark_nothing(store: Path, args: list[str], code: int, words: str) -> None:
    result = run("mark", store, *args)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert not (store / FILE).exists()


def test_windows_are_marked_by_range_and_by_recording(tmp_path: Path) -> None:
    paths = [f"line/a.wav#t={10 * i},{10 * i + 10}" for i in range(6)]
    clips = [Clip(path, "fan", "00", "train", "source", "normal") for path in paths]
    X = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    import_matrix(tmp_path / "s", "e", X, ClipTable.from_clips(clips))
    assert (
        "3 windows of line/a.wav: fault"
        in done("mark", tmp_path / "s", "a.wav", "fault", "--start", "14", "--end", "35").stderr
    )
    done("mark", tmp_path / "s", paths[1], "normal")
    clips_json = json.loads(done("marks", tmp_path / "s", "--json").stdout)["clips"]
    assert [(row["clip"], row["label"], row["start_s"]) for row in clips_json] == [
        (paths[1], "normal", 10.0),
        (paths[2], "fault", 20.0),
        (paths[3], "fault", 30.0),
    ]
    assert read_marks(tmp_path / "s").items[1].end_s == 20.0
    assert "times of its own" in run("mark", tmp_path / "s", paths[1], "fault", "--start", "1", "--end", "2").output


def test_runs_follow_marks_and_a_recipe_repeats_its_run(store: Path, tmp_path: Path) -> None:
    done(store, *KNN, "-o", tmp_path / "before")
    assert "marks" not in (tmp_path / "before" / "recipe.toml").read_text()
    done("mark", store, NORMAL, "normal")
    done("mark", store, FAULT, "fault")
    done("mark", store, TRAIN, "ignore")
    result = done(store, *KNN, "-o", tmp_path / "marked")
    assert "note: marked clips: 1 normal (used as normal sound, not scored), 1 fault" in result.stderr
    assert set(scored(tmp_path / "before")) - set(scored(tmp_path / "marked")) == {NORMAL}
    assert measured(tmp_path / "before") - measured(tmp_path / "marked") == 2, "both clips are in no metric"
    done(store, *KNN, "--no-marks", "-o", tmp_path / "without")
    assert scored(tmp_path / "without") == scored(tmp_path / "before")

    done("mark", store, "fan/test/s0_002.wav", "normal")
    recipe = tmp_path / "marked" / "recipe.toml"
    result = done(store, "--recipe", recipe, "-o", tmp_path / "now")
    assert "note: the recipe was made with 3 of the 4 marks of" in result.stderr
    assert set(scored(tmp_path / "marked")) - set(scored(tmp_path / "now")) == {"fan/test/s0_002.wav"}
    done(store, "--recipe", recipe, "--recorded-marks", "-o", tmp_path / "again")
    assert (tmp_path / "again" / "scores.csv").read_bytes() == (tmp_path / "marked" / "scores.csv").read_bytes()
    assert (tmp_path / "again" / "recipe.toml").read_bytes() == recipe.read_bytes()
    assert run(store, *KNN, "--recorded-marks", "-o", tmp_path / "x").exit_code == 2
    (store / FILE).unlink()
    assert "marks that" in done(store, "--recipe", recipe, "-o", tmp_path / "lost").stderr
    assert scored(tmp_path / "lost") == scored(tmp_path / "before")


def test_evaluate_leaves_marked_clips_out(store: Path, tmp_path: Path) -> None:
    done(store, *KNN, "-o", tmp_path / "before")
    done("mark", store, NORMAL, "normal")
    done("mark", store, FAULT, "fault")
    done(store, *KNN, "-o", tmp_path / "marked")
    own = json.loads((tmp_path / "marked" / "metrics.json").read_text())["official_score"]["value"]
    scores = tmp_path / "marked" / "scores.csv"
    for options in ((), ("--recipe", tmp_path / "marked" / "recipe.toml")):
        result = done("evaluate", scores, store, "--json", *options)
        assert json.loads(result.stdout)["official_score"]["value"] == pytest.approx(own, abs=1e-12)
        assert "2 marked clips; --no-marks counts them" in result.stderr
    every = json.loads((tmp_path / "before" / "metrics.json").read_text())["official_score"]["value"]
    evaluated = done("evaluate", tmp_path / "before" / "scores.csv", store, "--json", "--no-marks")
    assert json.loads(evaluated.stdout)["official_score"]["value"] == pytest.approx(every, abs=1e-12)
    assert done("evaluate", tmp_path / "before" / "scores.csv", store, "--json").exit_code == 0


def test_a_submission_scores_every_test_clip(original: Path, tmp_path: Path) -> None:
    clips = [*recordings(), *labelled()]
    store = selection_store(tmp_path / "store", clips).path
    done("mark", store, FAULT, "fault")
    done(store, *KNN, "--format", "dcase", "-o", tmp_path / "a")
    done("mark", store, NORMAL, "normal")
    refused = run(store, *KNN, "--format", "dcase", "-o", tmp_path / "b")
    assert refused.exit_code == 2
    assert "add --no-marks" in refused.output
    done(store, *KNN, "--format", "dcase", "--no-marks", "-o", tmp_path / "c")


def test_an_ensemble_is_chosen_again_after_a_mark(store: Path, tmp_path: Path) -> None:
    def ensemble(out: str, *options: str) -> str:
        return done(store, "--ensemble", "-o", tmp_path / out, *options).stderr

    def choices() -> int:
        return len([*store.glob("selection/*/key.json")])

    assert "data: " in ensemble("a")
    assert "kept in" in ensemble("b")
    done("mark", store, FAULT, "fault")
    done("mark", store, ODD, "fault")
    assert choices() == 1
    ensemble("c")
    assert choices() == 2
    recipe = read_recipe(tmp_path / "c" / "recipe.toml")
    assert recipe.marks == read_marks(store).head
    kept = ensemble("d")
    assert "data: " not in kept
    assert read_recipe(tmp_path / "d" / "recipe.toml") == recipe
    assert "data: " not in ensemble("e", "--no-marks"), "the choice without marks is still kept"
    done("mark", store, ODD, "none")
    done("mark", store, FAULT, "none")
    assert "data: " not in ensemble("f"), "marks that were taken back change nothing"
    assert scored(tmp_path / "f") == scored(tmp_path / "a")
    assert choices() == 2


def test_selections_judge_by_marked_faults(store: Path, tmp_path: Path) -> None:
    quick = ("--replicates", "20", "--workers", "0", "--cache", tmp_path / "cache")
    done("mark", store, FAULT, "fault")
    done("mark", store, NORMAL, "normal")
    (tmp_path / "f.csv").write_text(f"clip,label\n{FAULT},fault\nfan/test/s1_001.wav,fault\n")
    result = done("select", store, "-o", tmp_path / "r.toml", "--faults", tmp_path / "f.csv", "--json", *quick)
    assert json.loads(result.stdout)["clips"]["confirmed faults"] == 2
    assert json.loads(result.stdout)["clips"]["normal"] == 41, "the clip marked normal is a training clip"
    recipe = read_recipe(tmp_path / "r.toml")
    assert recipe.confirmed_faults == (FAULT, "fan/test/s1_001.wav")
    assert recipe.marks == read_marks(store).head
    result = done("select", store, "-o", tmp_path / "n.toml", "--no-marks", "--json", *quick)
    assert "confirmed faults" not in json.loads(result.stdout)["clips"]
    (tmp_path / "f.csv").write_text(f"clip,label\n{NORMAL},fault\n")
    result = run("select", store, "-o", tmp_path / "x.toml", "--faults", tmp_path / "f.csv", *quick)
    assert result.exit_code == 1
    assert f"f.csv, line 2: {NORMAL!r} has the label 'fault', but another mark in the store" in result.output
    assert f"({FILE} line 2, normal by " in result.output
    done("mark", store, NORMAL, "ignore")
    done("marks", store, "--csv", tmp_path / "m.csv")
    done("select", store, "-o", tmp_path / "y.toml", "--faults", tmp_path / "m.csv", *quick)
    assert read_recipe(tmp_path / "y.toml").confirmed_faults == (FAULT,)


def test_a_fault_of_a_recipe_that_is_marked_normal_since_joins_the_bank(store: Path, tmp_path: Path) -> None:
    recipe = f'confirmed_faults = ["{TRAIN}"]\n[[member]]\nembedding = "emb"\nview = "good"\ndetector = "knn"\n'
    (tmp_path / "r.toml").write_text(recipe)
    done("mark", store, TRAIN, "normal")
    done(store, "--recipe", tmp_path / "r.toml", "-o", tmp_path / "out")
    after = read_recipe(tmp_path / "out" / "recipe.toml")
    assert (after.confirmed_faults, after.confirmed_normal) == ((), (TRAIN,))
    done(store, *KNN, "--no-marks", "-o", tmp_path / "plain")
    assert scored(tmp_path / "out")[FAULT]["score"] == scored(tmp_path / "plain")[FAULT]["score"]


def test_a_report_says_what_was_marked(store: Path, tmp_path: Path) -> None:
    done("mark", store, NORMAL, "normal")
    done("report", store, *KNN, "-o", tmp_path / "r.html")
    assert "1 normal (used as normal sound, not scored)" in (tmp_path / "r.html").read_text()


def test_upkeep_leaves_marks_alone(store: Path) -> None:
    done("mark", store, FAULT, "fault")
    (store / FILE).write_bytes((store / FILE).read_bytes() + b"{torn")
    assert "incomplete" in done("mark", store, NORMAL, "normal").stderr
    before = {name: (store / name).read_bytes() for name in (FILE, "marks.torn")}
    for command in ("verify", "compact", "repair", "verify"):
        result = CliRunner().invoke(featstore, [command, str(store)])
        assert result.exit_code == 0, result.output
    assert notes(store) == []
    assert {name: (store / name).read_bytes() for name in before} == before
    assert [mark.clip for mark in read_marks(store).items] == [FAULT, NORMAL]


def test_a_damaged_file_stops_a_run_that_does_not_leave_marks_out(store: Path, tmp_path: Path) -> None:
    for clip in (FAULT, NORMAL, TRAIN):
        done("mark", store, clip, "fault")
    lines = (store / FILE).read_bytes().splitlines(keepends=True)
    (store / FILE).write_bytes(b"".join([lines[0], lines[2]]))
    for args in ((store, *KNN, "-o", tmp_path / "a"), ("marks", store), ("mark", store, FAULT, "none")):
        result = run(*args)
        assert result.exit_code == 4
        assert f"{FILE}, line 2: it does not follow the line before it" in result.output
    done(store, *KNN, "--no-marks", "-o", tmp_path / "b")


def test_words_that_people_say(store: Path) -> None:
    assert f"{FAULT}: fault;" in done("mark", store, FAULT, "Anomaly").stderr
    assert f"{FAULT}: normal;" in done("mark", store, FAULT, "false alarm").stderr
    done("mark", store, FAULT, "remove")
    assert "no marked clips" in done("marks", store).stdout


def test_marks_go_to_audacity_and_to_csv_and_come_back(store: Path, original: Path, tmp_path: Path) -> None:
    done("mark", store, FAULT, "fault", "--note", "a knock")
    done("mark", store, TRAIN, "ignore", "--who", "anna")
    result = done("marks", store, "--csv", tmp_path / "m.csv", "--labels", tmp_path / "labels")
    assert "wrote 2 label files below" in result.stderr
    assert (tmp_path / "labels" / f"{FAULT}.txt").read_text() == "0.000000\t0.000000\tfault: a knock\n"
    for number, given in enumerate((["m.csv"], ["labels"], [f"labels/{FAULT}.txt", f"labels/{TRAIN}.txt"])):
        other = Path(shutil.copytree(original, tmp_path / f"other{number}"))
        files = [tmp_path / name for name in given]
        assert "2 marks written" in done("marks", other, "--import", *files, "--who", "bert").stderr
        assert "0 marks written; 2 marks already" in done("marks", other, "--import", *files).stderr
        marks = {mark.clip: (mark.mark, mark.note, mark.who) for mark in read_marks(other).items}
        assert marks[FAULT][:2] == ("fault", "a knock")
        assert marks[TRAIN][2] == ("bert" if number else "anna")


@pytest.mark.parametrize("args", [["--import"], ["FILE"]])
def test_an_import_needs_files_and_files_an_import(store: Path, tmp_path: Path, args: list[str]) -> None:
    (tmp_path / "m.csv").write_text(f"clip,label\n{FAULT},fault\n")
    result = run("marks", store, *[str(tmp_path / "m.csv") if arg == "FILE" else arg for arg in args])
    assert result.exit_code == 2
    assert "--import" in result.output
    assert not (store / FILE).exists()


def test_a_bad_line_of_an_import_is_named(store: Path, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(f"clip,label\n{FAULT},fault\n{FAULT}x,fault\n")
    result = run("marks", store, "--import", tmp_path / "m.csv")
    assert result.exit_code == 1
    assert f"error: nothing was imported:\n{tmp_path}/m.csv, line 3: '{FAULT}x' is no recording" in result.stderr
    assert not (store / FILE).exists()

"""Rejected recordings and thin sections: where they belong, that every result names them, and what a package does."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from fitted_plant import INFOS, listed, rows_of

from ensemble.checks.unscored import Neighbours, Place, belonging, rejected_clips
from ensemble.cli import main
from featstore.building.state import BuildState, write_state
from featstore.clip import Clip
from featstore.store import FeatureStore, Rejection, ShardData, StoreWriter
from featstore.table import ClipTable

BROKEN = "fan/test/section_00_999.wav"


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def make(path: Path, clips: list[Clip], rejected: dict[str, list[str]], root: Path | None = None) -> FeatureStore:
    """A store of the embeddings v and h; `rejected`: paths by embedding, which has no row of them."""
    rows = rows_of(clips)
    shards = []
    for name in ("v", "h"):
        paths = rejected.get(name, [])
        kept = np.array([clip.path not in paths for clip in clips], dtype=bool)
        items = [Rejection(path, "truncated", 1, 1) for path in paths]
        table = ClipTable.from_clips([clip for clip in clips if clip.path not in paths])
        shards.append(ShardData(INFOS[name], table, rows[name][kept], {}, items))
    with StoreWriter(path) as writer:
        writer.commit(shards)
    if root is not None:
        write_state(path, BuildState(str(root), len(clips), finished=True))
    return FeatureStore.open(path)


def score_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


OPTIONS = ("-d", "knn", "-e", "v@low", "--workers", "1")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a rejected test clip and a rejected training clip."""
    path = tmp_path_factory.mktemp("rejected") / "s"
    make(path, listed(), {"v": [BROKEN, "fan/train/section_00_998.wav"], "h": [BROKEN]})
    return path


def test_a_rejected_test_clip_is_listed_last_with_its_reason_and_counted(store: Path, tmp_path: Path) -> None:
    result = run(store, *OPTIONS, "-o", tmp_path)
    assert result.exit_code == 3, result.output
    rows = score_rows(tmp_path)
    assert len(rows) == 25
    last = rows[-1]
    assert (last["clip"], last["machine"], last["section"], last["score"]) == (BROKEN, "fan", "00", "")
    assert last["not_scored"] == "rejected: truncated"
    assert not any(row["not_scored"] for row in rows[:-1])
    assert f"1 clip without a score, listed at the end of scores.csv: {BROKEN}" in result.stderr
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["unscored"] == {"rejected": 1, "sections_left_out": []}


def test_other_machines_and_stores_without_rejections_say_nothing(store: Path, tmp_path: Path) -> None:
    result = run(store, *OPTIONS, "--machine", "pump", "-o", tmp_path)
    assert result.exit_code == 0, result.output
    assert "without a score" not in result.stderr
    assert "not_scored" not in score_rows(tmp_path)[0]


def test_a_package_that_would_lack_a_row_is_refused_before_scoring(store: Path, tmp_path: Path) -> None:
    result = run(store, *OPTIONS, "--format", "dcase", "-o", tmp_path)
    assert result.exit_code == 3
    assert BROKEN in result.stderr
    assert "--fill-missing" in result.stderr
    assert "members" not in result.stderr
    assert not (tmp_path / "dcase").exists()
    assert run(store, *OPTIONS, "--fill-missing", "-o", tmp_path).exit_code == 2


def test_a_filled_row_has_the_highest_score_of_its_section_and_is_an_anomaly(store: Path, tmp_path: Path) -> None:
    result = run(store, *OPTIONS, "--format", "dcase", "--fill-missing", "-o", tmp_path)
    assert result.exit_code == 3, result.output
    folder = next((tmp_path / "dcase" / "task2").iterdir())

    def lines(kind: str, tail: str) -> dict[str, float]:
        text = (folder / f"{kind}_{tail}_test.csv").read_text()
        return {name: float(value) for name, value in (line.split(",") for line in text.splitlines())}

    scores = lines("anomaly_score", "fan_section_00")
    assert len(scores) == 7
    broken = scores.pop("section_00_999.wav")
    assert broken == max(scores.values())
    assert broken != max(lines("anomaly_score", "fan_section_01").values())
    assert lines("decision_result", "fan_section_00")["section_00_999.wav"] == 1
    assert len(lines("anomaly_score", "pump_section_00")) == 6


def test_evaluate_leaves_out_what_the_store_rejected_and_says_so(store: Path, tmp_path: Path) -> None:
    options = (*OPTIONS, "--format", "dcase", "--fill-missing", "-o", tmp_path)
    assert run(store, *options).exit_code == 3
    own = json.loads((tmp_path / "metrics.json").read_text())["official_score"]
    folder = next((tmp_path / "dcase" / "task2").iterdir())
    rows = [(row["clip"], row["score"] or "5") for row in score_rows(tmp_path)]
    (tmp_path / "foreign.csv").write_text("clip,score\n" + "".join(f"{clip},{score}\n" for clip, score in rows))
    for scores in (folder, tmp_path / "foreign.csv", tmp_path / "scores.csv"):
        result = run("evaluate", scores, store, "--json")
        assert result.exit_code == 3, result.output
        assert json.loads(result.stdout)["official_score"] == own, scores
        assert "1 recording that the store rejected: the metrics are of the clips of the store" in result.stderr


def test_a_name_that_is_neither_stored_nor_rejected_is_still_refused(store: Path, tmp_path: Path) -> None:
    assert run(store, *OPTIONS, "-o", tmp_path).exit_code == 3
    rows = [(row["clip"], row["score"]) for row in score_rows(tmp_path)][:-1]
    text = "clip,score\n" + "".join(f"{clip},{score}\n" for clip, score in rows)
    (tmp_path / "foreign.csv").write_text(text + "fan/test/nobody.wav,1\n")
    result = run("evaluate", tmp_path / "foreign.csv", store)
    assert result.exit_code == 1
    assert "nobody.wav' is no test clip" in result.stderr


def test_a_clip_that_one_member_rejected_is_left_out_of_all(tmp_path: Path) -> None:
    clips = listed()
    missing = next(clip.path for clip in clips if clip.split == "test")
    make(tmp_path / "s", clips, {"h": [missing]})
    result = run(tmp_path / "s", "-d", "knn", "-d", "mahalanobis", "-e", "v@low", "-e", "h", "-o", tmp_path / "r")
    assert result.exit_code == 3, result.output
    rows = score_rows(tmp_path / "r")
    assert [row["clip"] for row in rows if not row["score"]] == [missing]
    assert len(rows) == 24


def test_rejections_of_other_data_and_recordings_that_are_gone(tmp_path: Path) -> None:
    clips, data = listed(), tmp_path / "data"
    for clip in clips:
        (data / clip.path).parent.mkdir(parents=True, exist_ok=True)
        (data / clip.path).touch()
    (data / BROKEN).touch()
    make(tmp_path / "s", clips, {"v": [BROKEN, "old/test/a.wav"]}, data)
    first = run(tmp_path / "s", *OPTIONS, "-o", tmp_path / "r")
    assert [row["clip"] for row in score_rows(tmp_path / "r") if not row["score"]] == [BROKEN]
    assert "no longer in" not in first.stderr
    (data / clips[0].path).unlink()
    (data / next(clip.path for clip in clips if clip.split == "test")).unlink()
    gone = run(tmp_path / "s", *OPTIONS, "-o", tmp_path / "r")
    assert f"1 scored clip and 1 training clip of recordings that are no longer in {data}" in gone.stderr
    (data / "fan").rename(data / "elsewhere")
    (data / "pump").rename(data / "elsewhere too")
    moved = run(tmp_path / "s", *OPTIONS, "-o", tmp_path / "r")
    assert "no longer in" not in moved.stderr, "all are gone, so the folder is that of other data"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("fan/test/x.wav", Place("fan", "", "test", "unknown")),
        ("fan/test/section_01_target_test_anomaly_0001.wav", Place("fan", "01", "test", "target")),
        ("fan/train/section_00_0009.wav", Place("fan", "00", "train", "source")),
        ("fan/new/test/x.wav", Place("fan", "", "test", "unknown")),
        ("plain/b.wav", Place("saw", "all", "", "unknown")),
        ("nowhere/b.wav", Place("", "", "", "unknown")),
    ],
)
def test_the_place_of_a_rejected_recording_follows_from_its_neighbours(path: str, expected: Place) -> None:
    clips = [
        Clip("fan/test/section_00_source_test_normal_0001.wav", "fan", "00", "test", "source"),
        Clip("fan/test/section_01_target_test_normal_0001.wav", "fan", "01", "test", "target"),
        Clip("fan/train/section_00_0001.wav", "fan", "00", "train", "source"),
        Clip("plain/a.wav", "saw", "all", "test"),
        Clip("plain/c.wav", "saw", "all", "train"),
    ]
    assert Neighbours(ClipTable.from_clips(clips)).place(path) == expected


def test_a_recording_of_unknown_split_is_never_lost(tmp_path: Path) -> None:
    store = make(tmp_path / "s", listed(), {"v": ["elsewhere/b.wav"]})
    rejected = rejected_clips(store, ["v"], None)
    assert [clip.path for clip in belonging(rejected, "test", ["fan"])] == ["elsewhere/b.wav"]
    result = run(tmp_path / "s", *OPTIONS, "--format", "dcase", "--fill-missing", "-o", tmp_path / "r")
    assert result.exit_code == 3
    assert "its machine and section are unknown" in result.stderr


def thin(path: Path, n: int = 1) -> FeatureStore:
    """One section has `n` training clips, the other three have 24."""
    clips = [clip for clip in listed() if clip.split == "test" or clip.machine != "fan" or clip.section != "01"]
    return make(path, [*clips, *[clip for clip in listed() if clip.path.startswith("fan/train/section_01")][:n]], {})


@pytest.mark.parametrize("n", [0, 1])
def test_a_thin_section_is_left_out_and_named_and_the_others_run(tmp_path: Path, n: int) -> None:
    thin(tmp_path / "s", n)
    result = run(tmp_path / "s", *OPTIONS, "-o", tmp_path / "r")
    assert result.exit_code == 3, result.output
    count = "1 training clip" if n else "0 training clips"
    assert f"fan section 01 has {count} for 6 test clips" in result.stderr
    rows = score_rows(tmp_path / "r")
    assert len(rows) == 24
    assert {(row["machine"], row["section"]) for row in rows if not row["score"]} == {("fan", "01")}
    assert rows[-1]["not_scored"] == f"its section has {count}, 2 are needed"
    metrics = json.loads((tmp_path / "r" / "metrics.json").read_text())
    assert metrics["unscored"]["sections_left_out"] == [{"machine": "fan", "section": "01", "clips": 6}]
    evaluated = run("evaluate", tmp_path / "r" / "scores.csv", tmp_path / "s", "--json")
    assert json.loads(evaluated.stdout)["official_score"] == metrics["official_score"]
    assert "6 clips without a score, as the file says" in evaluated.stderr
    package = run(tmp_path / "s", *OPTIONS, "--format", "dcase", "-o", tmp_path / "p")
    assert package.exit_code == 3
    assert "would lack 6 clips" in package.stderr


def test_a_run_of_thin_sections_only_is_refused(tmp_path: Path) -> None:
    thin(tmp_path / "s")
    result = run(tmp_path / "s", *OPTIONS, "--machine", "fan", "-o", tmp_path / "r")
    assert result.exit_code == 3
    clips = [clip for clip in listed(machines=["fan"]) if clip.split == "test" or clip.path.endswith("_000.wav")]
    make(tmp_path / "t", clips, {})
    none = run(tmp_path / "t", *OPTIONS, "-o", tmp_path / "r")
    assert none.exit_code == 1
    assert "a section needs at least two normal training clips: fan section 00 has 1 training clip for" in none.stderr
